package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const keyedTenant = `tenants:
  - name: acme
    key: env:ACME
    keys:
      - {name: ci, key: env:CI, limits: {rpm: 60}}
      - {name: web, key: literal-web}
budgets:
  - {scope: "key:acme/ci", limit_usd: 5}
  - {scope: "key:acme", limit_usd: 5}
`

// Named keys are secrets as tenants' keys are, one value can be set by name, and
// a change of them applies while running.
func TestTenantKeys(t *testing.T) {
	c := mustLoad(t, keyedTenant, "ACME=a-secret", "CI=ci-secret")
	k := c.Tenants[0].Keys
	if len(k) != 2 || k[0].Name != "ci" || k[0].Key.Reveal() != "ci-secret" || k[0].Limits != (Limits{RPM: 60}) || k[1].Key.Reveal() != "literal-web" {
		t.Fatalf("%s", redacted(t, c))
	}
	if s := redacted(t, c); strings.Contains(s, "ci-secret") || strings.Contains(s, "literal-web") {
		t.Errorf("shown as %s", s)
	}
	if !strings.Contains(strings.Join(c.Warnings, " "), "tenants[0].keys[1].key is written out") {
		t.Errorf("warnings %q", c.Warnings)
	}
	set, err := Load(Sources{Path: write(t, keyedTenant), Environ: []string{"ACME=a", "CI=b"}, Flags: map[string]string{"tenants.acme.keys.ci.limits.rpm": "9"}})
	if err != nil || set.Tenants[0].Keys[0].Limits.RPM != 9 {
		t.Errorf("%v", err)
	}
	if got := NeedsRestart(c, set); got != nil {
		t.Errorf("a restart is needed for %v", got)
	}
	many := "tenants:\n- name: a\n  key: x\n  keys:\n"
	for i := range MaxKeys + 1 {
		many += fmt.Sprintf("  - {name: k%d, key: s%d}\n", i, i)
	}
	if _, err := load(t, many); err == nil || !strings.Contains(err.Error(), "tenants[0].keys: has 101 elements, more than 100") {
		t.Errorf("%v", err)
	}
	bare := mustLoad(t, "tenants: [{name: acme, key: k}]\n")
	if !reflect.DeepEqual(NeedsRestart(c, bare), []string(nil)) || strings.Contains(redacted(t, bare), "keys") {
		t.Errorf("without named keys: %s", redacted(t, bare))
	}
}

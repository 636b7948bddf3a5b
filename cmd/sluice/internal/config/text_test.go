package config

import (
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/workers/text"
)

func tenantYAML(text string) string {
	return "tenants:\n  - name: acme\n    key: env:K\n" + text
}

// What a tenant keeps is nothing by default; all kinds are left out of it where
// it does not say; and what was written comes back as it was.
func TestTenantText(t *testing.T) {
	load := func(yaml string) *Config {
		t.Helper()
		return mustLoad(t, tenantYAML(yaml), "K=k")
	}
	if x := load("").Tenants[0].Text; x != nil {
		t.Errorf("%+v", x)
	}
	x := load("    text: {keep: 30d}\n").Tenants[0].Text
	if x.Keep != 30*24*time.Hour || x.Share != 1 || x.MaxBytes != DefaultTextBytes || len(x.Redact) != len(text.Kinds()) {
		t.Errorf("%+v", x)
	}
	if x = load("    text: {keep: 1h, redact: []}\n").Tenants[0].Text; len(x.Redact) != 0 {
		t.Errorf("%+v", x)
	}
	c := load("    text:\n      keep: 90m\n      share: 0.25\n      max_bytes: 100\n      redact: [email, {pattern: 'ACME-\\d+', as: order}]\n")
	x = c.Tenants[0].Text
	if x.Keep != 90*time.Minute || x.Share != 0.25 || x.MaxBytes != 100 || len(x.Redact) != 2 || x.Rules()[0] != (text.Rule{Kind: "email"}) || x.Rules()[1] != (text.Rule{Pattern: `ACME-\d+`, As: "order"}) {
		t.Errorf("%+v", x)
	}
	out, err := c.Redacted()
	if err != nil || !strings.Contains(out, "- email\n") || !strings.Contains(out, `pattern: ACME-\d+`) {
		t.Errorf("%v\n%s", err, out)
	}
}

// All faults of what is kept are told at once, each with its key.
func TestTenantTextFaults(t *testing.T) {
	_, err := load(t, "clickhouse: {embedded: {enabled: false}}\n"+tenantYAML(`    text:
      keep: 10s
      share: 0
      max_bytes: 10000000
      redacted: [email]
      redact: [emails, {pattern: "(", as: x}, {pattern: "a*", as: x}, {pattern: abc}, {pattern: abc, as: "A B"}, {patern: abc, as: x}]
`), "K=k")
	if err == nil {
		t.Fatal("no fault")
	}
	for _, want := range []string{"tenants[0].text.keep", "tenants[0].text.share", "tenants[0].text.max_bytes", "tenants[0].text.redacted", "did you mean redact?", "tenants[0].text.redact[0]",
		"email, phone, card, iban, key, ip", "tenants[0].text.redact[1]", "RE2", "tenants[0].text.redact[2]", "empty string", "tenants[0].text.redact[3]", "tenants[0].text.redact[4]",
		"tenants[0].text.redact[5].patern", "needs ClickHouse"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
	if _, err := load(t, tenantYAML("    text: {}\n"), "K=k"); err == nil || !strings.Contains(err.Error(), "keep") {
		t.Errorf("without keep: %v", err)
	}
}

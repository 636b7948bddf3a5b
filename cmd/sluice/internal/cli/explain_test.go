package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/cmd/sluice/internal/app"
)

// TestExplain: a running broker and its configuration alone say the same of a
// job, and what the broker then does is that.
func TestExplain(t *testing.T) {
	tm := startBroker(t, "")
	request := filepath.Join(t.TempDir(), "job.json")
	if err := os.WriteFile(request, []byte(`{"model":"soft","messages":[{"role":"user","content":"`+strings.Repeat("many words ", 50)+`"}],"max_tokens":50}`), 0o600); err != nil {
		t.Fatal(err)
	}
	tm.ok("submit", "hello") // the router knows the workers from then on
	alone := *tm
	alone.steering = app.Steering
	for _, c := range []struct {
		name  string
		args  []string
		says  []string
		check func(e *explained) bool
	}{
		{"plain", []string{"chat"}, []string{"job of default for chat, class standard", "rules that failed: broken", "route chat, least_connections: good/m", "chosen: good/m of route chat"},
			func(e *explained) bool { return e.Decision.Pool == "good" && len(e.Decisions) == 1 && e.Rules != nil }},
		{"rules", []string{"chat", "--label", "vip=yes", "--region", "eu"},
			[]string{"class interactive (asked for: standard), deadline ", ", at most 9 attempts", "rules that match: vip, eu", "labels preferred: fast=yes", "chosen: free/x of route unknown-cost"},
			func(e *explained) bool {
				return e.Class == "interactive" && e.AskedClass == "standard" && e.MaxAttempts == 9 && e.Deadline != "" && len(e.Rules) == 2 && e.Decision.Route == "unknown-cost"
			}},
		{"tenant", []string{"chat", "--tenant", "europe", "--class", "batch"}, []string{"job of europe for chat, class batch", "rules that match: eu"},
			func(e *explained) bool { return e.Tenant == "europe" && e.Class == "batch" }},
		{"fallback", []string{"--job", request, "--waited", "1m"}, []string{"zero_weight", "context_too_long", "fallback 2, route chat, at most 5 tokens:", "chosen: good/m of route chat, by fallback 2, at most 5 tokens"},
			func(e *explained) bool { return len(e.Decisions) == 2 && e.MaxTokens == 5 && e.Decision.Fallback == 2 }},
	} {
		var live, offline explained
		wants(t, tm.ok(append([]string{"route", "explain"}, c.args...)...), c.says...)
		tm.json(&live, append([]string{"route", "explain"}, c.args...)...)
		alone.json(&offline, append([]string{"route", "explain", "--offline"}, c.args...)...)
		if live.Source != "broker" || !c.check(&live) {
			t.Errorf("%s: live %+v", c.name, live)
		}
		if offline.Source != "configuration" || !c.check(&offline) {
			t.Errorf("%s: offline %+v", c.name, offline)
		}
	}
	wants(t, tm.ok("route", "explain", "--job", request), "the job would wait, until", "fallback steps left: wait 1ms; route chat, at most 5 tokens")
	wants(t, tm.ok("route", "list"), "soft", "fallback 1", "wait 1ms", "fallback 2", "route chat, at most 5 tokens")
	if r := tm.run("route", "explain", "nowhere"); r.code != 1 || !strings.Contains(r.err, `no route is called "nowhere"`) {
		t.Errorf("%+v", r)
	}
	if r := tm.run("route", "explain", "--class", "urgent"); r.code != 1 || !strings.Contains(r.err, "interactive, standard or batch") {
		t.Errorf("%+v", r)
	}
	out := tm.ok("submit", "hello", "--label", "vip=yes", "--region", "eu", "--id", "eu-job")
	wants(t, tm.ok("job", "trace", "eu-job")+out, "rules vip, eu", "route unknown-cost", "interactive")
	wants(t, tm.ok("submit", "--file", request, "--id", "soft-job")+tm.ok("job", "trace", "soft-job"), "by fallback 2", "route chat")
}

// TestExplainWithoutABroker: the configuration decides where none runs, unless
// one was named.
func TestExplainWithoutABroker(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(path, []byte(brokerConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	tm := &terminal{t: t, env: []string{"SLUICE_CONFIG=" + path, "SLUICE_NATS_EMBEDDED_LISTEN=" + freePort(t)}, steering: app.Steering}
	r := tm.run("route", "explain", "chat", "--region", "eu")
	if r.code != 0 || !strings.Contains(r.err, "no broker was asked") {
		t.Fatalf("%+v", r)
	}
	wants(t, r.out, "rules that match: eu", "chosen: free/x")
	for _, args := range [][]string{{"nowhere"}, {"chat", "--class", "urgent"}, {"chat", "--nats", "nats://" + freePort(t)}, {"chat", "--max-cost", "much"}} {
		if r := tm.run(append([]string{"route", "explain"}, args...)...); r.code != 1 || r.out != "" || !strings.HasPrefix(r.err, "error: ") {
			t.Errorf("%q: %+v", args, r)
		}
	}
}

// TestExplainTiers: routes and rules ask for a pool's tier, region and provider
// as for labels, and a label of that name goes first.
func TestExplainTiers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(path, []byte(`
pools:
  - {name: a, adapter: simulated, models: {m: {}}, tier: premium, region: eu}
  - {name: b, adapter: simulated, models: {m: {}}, tier: basic, region: us}
  - {name: c, adapter: simulated, models: {m: {}}, tier: basic, labels: {tier: premium, region: mars}}
  - {name: d, adapter: simulated, models: {m: {}}, tier: gold-only, tenant_tiers: [gold]}
routes:
  - {model: chat, candidates: [{pool: a}, {pool: b}, {pool: c}], require: {tier: premium}}
  - {model: any, candidates: [{pool: b}, {pool: d}]}
tenants:
  - {name: acme, key: secret-of-acme-0123456789, tier: gold}
  - {name: other, key: secret-of-other-0123456789}
rules:
  - {name: near, when: 'region != ""', then: {require: {region: eu}}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	tm := &terminal{t: t, env: []string{"SLUICE_CONFIG=" + path, "SLUICE_NATS_EMBEDDED_LISTEN=" + freePort(t)}, steering: app.Steering}
	excluded := func(want string, args ...string) {
		t.Helper()
		var e explained
		tm.json(&e, append([]string{"route", "explain", "--offline"}, args...)...)
		var out []string
		for _, c := range e.Decision.Candidates {
			out = append(out, c.Pool+":"+c.Excluded)
		}
		if got := strings.Join(out, " "); got != want {
			t.Errorf("%q: %s, want %s", args, got, want)
		}
	}
	excluded("a: b:label_missing c:", "chat", "--tenant", "acme")
	excluded("a: b:label_missing c:label_missing", "chat", "--tenant", "acme", "--region", "eu")
	excluded("b: d:", "any", "--tenant", "acme")
	excluded("b: d:tier_not_allowed", "any", "--tenant", "other")
}

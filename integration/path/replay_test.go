package path

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/broker/rules"
	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// steered makes a plan of everything that steers: rules, an experiment, a
// fallback chain and a shadow.
func steered(t *testing.T) *steer.Plan {
	t.Helper()
	label := func(name string) string { return `labels[?"` + name + `"].orValue("") == "yes"` }
	set, err := rules.Compile([]rules.Rule{
		{Name: "urgent", When: label("urgent"), Then: rules.Effect{Class: wire.Interactive, Prefer: []router.Label{{Name: "fast", Value: "yes"}}}},
		{Name: "nowhere", When: label("nowhere"), Then: rules.Effect{Require: []router.Label{{Name: "moon", Value: "yes"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return steer.New(steer.Config{
		Rules: set,
		Experiments: map[string]*steer.Experiment{"chat": {Name: "ab", Key: steer.KeyAffinity, Variants: []steer.Variant{
			{Name: "control", Weight: 1}, {Name: "other", Weight: 1, Route: "other"}}}},
		Fallbacks: map[string][]steer.Step{"chat": {{MaxTokens: 2}, {Route: "small"}, {Route: "small", MaxTokens: 1}}},
		Shadows:   map[string]*steer.Shadow{"chat": {Name: "mirror", To: "small", Share: 0.5}},
	})
}

// TestSteeredDecisionsReplay: with rules, an experiment, a fallback chain, a
// shadow and budgets at once, every decision is made again bit for bit, also
// those that sent a job to wait, failed it, or made it a batch job.
func TestSteeredDecisionsReplay(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		flaky := &script{reply: func(int, string) reply {
			if rand.IntN(3) == 0 {
				return reply{status: http.StatusInternalServerError}
			}
			return reply{delay: 50 * time.Millisecond}
		}}
		r := start(t, setup{dir: dir, bare: true, captures: 1, attempts: 20, plan: steered(t), pools: []pool{
			{name: "a", provider: flaky}, {name: "b", provider: flaky, labels: map[string]string{"fast": "yes"}},
			{name: "c", provider: flaky, only: true, routes: []string{"other"}},
			{name: "s", concurrency: 8, provider: &script{}, only: true, routes: []string{"small"}}}})
		jobs := func(label string, n int, policy string) account.Definition {
			return account.Definition{Scope: "label:budget=" + label, LimitJobs: whole(n), Window: "hour", OnExceeded: policy}
		}
		defs := []account.Definition{jobs("reject", 1, "reject"), jobs("wait", 2, "wait"), jobs("cheaper", 1, "cheaper"),
			{Scope: "tenant:acme", LimitUSD: dollars(1_000_000_000), Window: "hour"}}
		r.payer("r1", defs...)
		r.payer("r2", defs...)
		r.worker("w1")
		time.Sleep(time.Second)
		ask := func(headers ...string) string { return r.publish(shortChat, headers...) }
		kinds := map[string][]string{}
		for i := range 12 {
			key := fmt.Sprintf("user-%d", i)
			kinds["plain"] = append(kinds["plain"], ask("Sluice-Affinity", key))
			kinds["urgent"] = append(kinds["urgent"], ask("Sluice-Affinity", key, "Sluice-Label-urgent", "yes"))
		}
		for _, label := range []string{"reject", "wait", "cheaper"} {
			for range 4 {
				kinds[label] = append(kinds[label], ask("Sluice-Label-budget", label))
			}
		}
		kinds["nowhere"] = []string{ask("Sluice-Label-nowhere", "yes")}
		kinds["dear"] = []string{ask("Sluice-Max-Cost", "0.000000001")}
		time.Sleep(30 * time.Second)
		led := map[string]int{}
		for kind, ids := range kinds {
			for _, id := range ids {
				for _, what := range r.replayed(id) {
					led[kind+" "+what]++
				}
				for _, a := range r.attempts(id) {
					led["experiment "+a.Decision.Variant]++
					if a.Decision.Fallback > 0 {
						led["fallback"]++
					}
					led["rules "+strings.Join(a.Decision.Rules, " ")]++
				}
			}
		}
		for _, want := range []string{"plain running", "urgent running", "reject running", "reject failed", "wait running", "wait waiting:budget",
			"cheaper running", "cheaper waiting:budget", "nowhere failed", "dear failed", "experiment control", "experiment other", "fallback", "rules urgent"} {
			if led[want] == 0 {
				t.Errorf("no decision of the kind %q was replayed: %v", want, led)
			}
		}
		if s := r.history(kinds["nowhere"][0]); s[len(s)-1].Entry.Decision == nil || s[len(s)-1].Entry.Decision.Candidates[0].Excluded != router.WrongLabels.String() {
			t.Errorf("the record does not say why nobody took the job: %+v", s[len(s)-1].Entry)
		}
	})
}

// TestWaitingDecisionsReplay: a job that waits for a limit, and one whose
// deadline passes before a pool has room, record the decision that found
// nobody, and it is made again bit for bit.
func TestWaitingDecisionsReplay(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, bare: true, captures: 1, pools: []pool{{name: "a", concurrency: 8, provider: &script{}},
			{name: "slow", concurrency: 1, provider: always(reply{delay: time.Minute}), only: true, routes: []string{"slow"}}}})
		r.router("r1", map[string]observe.Limits{"a": {Requests: 5}})
		r.serve("w1", "a", "slow")
		time.Sleep(time.Second)
		r.allSucceed(r.flood(wire.Standard, 5, chat))
		limited := []string{r.publish(chat), r.publish(chat)}
		for range 2 {
			r.publish(routeTo("slow"))
		}
		late := r.publish(routeTo("slow"), "Sluice-Deadline", "3s")
		time.Sleep(10 * time.Second)
		for _, id := range limited {
			if led := r.replayed(id); !slices.Equal(led, []string{"waiting:limit"}) {
				t.Errorf("replayed %q", led)
			}
		}
		if led := r.replayed(late); !slices.Equal(led, []string{"expired"}) {
			t.Errorf("replayed %q", led)
		}
		r.allSucceed(limited)
		for _, id := range limited {
			if led := r.replayed(id); led[0] != "waiting:limit" || led[len(led)-1] != "running" {
				t.Errorf("replayed %q", led)
			}
		}
	})
}

// TestKilledRoutersDecisionsReplay: whenever a router is killed, what the
// decisions behind its attempts saw is there.
func TestKilledRoutersDecisionsReplay(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, bare: true, captures: 1, attempts: 20, ackWait: 5 * time.Second, pools: []pool{
			{name: "a", concurrency: 16, provider: &script{}}, {name: "b", concurrency: 16, provider: &script{}}}})
		p := r.router("r0", nil)
		r.serve("w1", "a", "b")
		time.Sleep(time.Second)
		var ids []string
		for i := range 30 {
			ids = append(ids, r.flood(wire.Standard, 20, chat)...)
			time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
			p.gate.kill()
			p = r.router(fmt.Sprint("r", i+1), nil)
			time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
		}
		r.allSucceed(ids)
		decisions := 0
		for _, id := range ids {
			decisions += len(r.replayed(id))
		}
		if decisions < len(ids) {
			t.Errorf("%d decisions of %d jobs", decisions, len(ids))
		}
	})
}

package path

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/rules"
	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// planOf makes a plan of rules, given as name, expression, effect.
func planOf(t *testing.T, list ...rules.Rule) *steer.Plan {
	t.Helper()
	set, err := rules.Compile(list)
	if err != nil {
		t.Fatal(err)
	}
	return steer.New(steer.Config{Rules: set})
}

// attempts are the ends of a job's attempts, in their order.
func (r *rig) attempts(job string) (out []*wire.Attempt) {
	for _, s := range r.history(job) {
		if s.EndsAttempt() {
			out = append(out, s.Entry.Attempt)
		}
	}
	return out
}

// TestRulesPickRoutes: what a rule says of the route and of labels decides, and
// the record says which rules did.
func TestRulesPickRoutes(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		eu, us, big := &script{}, &script{}, &script{}
		r := start(t, setup{dir: dir, pools: []pool{
			{name: "eu", provider: eu, labels: map[string]string{"region": "eu"}},
			{name: "us", provider: us, weight: 1000, labels: map[string]string{"region": "us", "fast": "yes"}},
			{name: "big", provider: big, only: true, routes: []string{"vision"}},
		}, plan: planOf(t,
			rules.Rule{Name: "images", When: `"image" in content`, Then: rules.Effect{Route: "vision"}},
			rules.Rule{Name: "alias", When: `model.startsWith("gpt-")`, Then: rules.Effect{Route: "chat"}, Continue: true},
			rules.Rule{Name: "privacy", When: `labels.data == "personal"`, Then: rules.Effect{Require: []router.Label{{Name: "region", Value: "eu"}}}},
			rules.Rule{Name: "speed", When: `labels[?"data"].orValue("") == "public"`, Then: rules.Effect{Prefer: []router.Label{{Name: "fast", Value: "yes"}}}},
			rules.Rule{Name: "gone", When: `tenant == "acme" && input_tokens > 100`, Then: rules.Effect{Route: "no-such-route"}},
		)})
		for _, c := range []struct {
			name, body, label, pool, route string
			rules, failed                  []string
		}{
			{"image", `{"model":"chat","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}`, "public", "big", "vision", []string{"images"}, nil},
			{"required label", chat, "personal", "eu", "chat", []string{"privacy"}, nil},
			{"preferred label", chat, "public", "us", "chat", []string{"speed"}, nil},
			{"no rule, one fails", chat, "", "", "chat", nil, []string{"privacy"}},
			{"a name that is no route", routeTo("gpt-4"), "personal", "eu", "chat", []string{"alias", "privacy"}, nil},
			{"a route that is gone", fmt.Sprintf(`{"model":"chat","messages":[{"role":"user","content":"%0600d"}]}`, 1), "odd", "", "chat", []string{"gone"}, []string{"gone"}},
		} {
			var headers []string
			if c.label != "" {
				headers = []string{"Sluice-Label-Data", c.label}
			}
			id := r.publish(c.body, headers...)
			res := r.result(id)
			if res.Status != wire.Succeeded {
				t.Fatalf("%s: %s", c.name, res.Body)
			}
			a := res.Entry.Attempt
			d := a.Decision
			if c.pool != "" && a.Pool != c.pool || d.Route != c.route || !slices.Equal(d.Rules, c.rules) || !slices.Equal(d.Failed, c.failed) {
				t.Errorf("%s: at %s by route %s, rules %q, failed %q", c.name, a.Pool, d.Route, d.Rules, d.Failed)
			}
			if res.Entry.Meta.Route == "" || res.Entry.Meta.Class != wire.Interactive {
				t.Errorf("%s: %+v", c.name, res.Entry.Meta)
			}
		}
		id := r.publish(routeTo("other"))
		if res := r.result(id); res.Status != wire.Failed || res.Entry.Error != wire.CodeUnknownRoute {
			t.Errorf("%s %s", res.Status, res.Body)
		}
		r.empty()
	})
}

// TestRulesSetAttemptsAndDeadline: both hold at the worker, and over retries.
func TestRulesSetAttemptsAndDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		slow := reply{delay: time.Minute}
		bad, sleepy := always(reply{status: 500}), always(slow)
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: bad}, {name: "s", provider: sleepy, only: true, routes: []string{"slow"}}},
			plan: planOf(t,
				rules.Rule{Name: "once", When: `labels[?"n"].orValue("") == "1"`, Then: rules.Effect{MaxAttempts: 1}},
				rules.Rule{Name: "often", When: `labels[?"n"].orValue("") == "5" && attempt <= 5`, Then: rules.Effect{MaxAttempts: 5}},
				rules.Rule{Name: "short", When: `model == "slow"`, Then: rules.Effect{Deadline: 20 * time.Second}},
			)})
		for n, want := range map[string]int{"1": 1, "5": 5, "0": 3} {
			id := r.publish(chat, "Sluice-Label-N", n)
			if res := r.result(id); res.Status != wire.Failed || len(r.attempts(id)) != want {
				t.Errorf("label %s: %s after %d attempts, want %d", n, res.Status, len(r.attempts(id)), want)
			}
		}
		began := time.Now()
		id := r.publish(routeTo("slow"))
		res := r.result(id)
		if res.Status != wire.Expired {
			t.Errorf("%s", res.Status)
		}
		near(t, "the rule's deadline", time.Since(began), 20*time.Second, time.Second)
		began = time.Now()
		id = r.publish(routeTo("slow"), "Sluice-Deadline", "5s")
		if res := r.result(id); res.Status != wire.Expired {
			t.Errorf("%s", res.Status)
		}
		near(t, "the client's own, earlier deadline", time.Since(began), 5*time.Second, time.Second)
		r.empty()
	})
}

// TestRulesSetClass: the class holds from then on, and a retry is judged by the
// class that was submitted.
func TestRulesSetClass(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		fails := &script{reply: func(n int, _ string) reply {
			if n == 1 {
				return reply{status: 500}
			}
			return reply{}
		}}
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: fails}},
			plan: planOf(t, rules.Rule{Name: "down", When: `class == "interactive" && tenant == "acme"`, Then: rules.Effect{Class: wire.Batch}})})
		id := r.publishAs(wire.Interactive, chat)
		res := r.result(id)
		if res.Status != wire.Succeeded || res.Entry.Meta.Class != wire.Batch || res.Entry.Meta.AskedClass != wire.Interactive {
			t.Errorf("%s as %s, asked for %s", res.Status, res.Entry.Meta.Class, res.Entry.Meta.AskedClass)
		}
		for i, a := range r.attempts(id) {
			if !slices.Equal(a.Decision.Rules, []string{"down"}) {
				t.Errorf("attempt %d by %q", i+1, a.Decision.Rules)
			}
		}
		if st := r.status(id); st.Class != wire.Batch || len(st.History) != 4 || !slices.Equal(st.History[3].Decision.Rules, []string{"down"}) {
			t.Errorf("%+v", st)
		}
		r.empty()
	})
}

// TestPlanChangesWhileJobsWait: jobs in a router's memory follow a new plan at
// once, and those that a rule no longer sends away take the route asked for.
func TestPlanChangesWhileJobsWait(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		stuck, free := &script{reply: func(int, string) reply { return reply{delay: time.Hour, err: errors.New("never")} }}, &script{}
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "free", provider: free}, {name: "stuck", concurrency: 1, provider: stuck, only: true, routes: []string{"stuck"}}},
			plan: planOf(t, rules.Rule{Name: "wrong", When: `true`, Then: rules.Effect{Route: "stuck", Class: wire.Batch}})})
		d := r.dispatcher("d1")
		r.worker("w1")
		ids := r.flood(wire.Standard, 20, chat)
		time.Sleep(2 * time.Second)
		if stuck.count() != 1 || free.count() != 0 {
			t.Fatalf("%d and %d calls", stuck.count(), free.count())
		}
		d.dispatcher.SetPlan(planOf(t, rules.Rule{Name: "never", When: `false`, Then: rules.Effect{Route: "stuck"}}))
		began := time.Now()
		done := 0
		for _, id := range ids {
			if st := r.status(id); st.Status == wire.Running && st.History[len(st.History)-1].Pool == "stuck" {
				continue // since before
			}
			res := r.result(id)
			done++
			if res.Status != wire.Succeeded || res.Entry.Attempt.Pool != "free" || res.Entry.Meta.Class != wire.Standard || res.Entry.Attempt.Decision.Rules != nil {
				t.Errorf("%s: %s at %+v", id, res.Status, res.Entry.Attempt)
			}
		}
		if took := time.Since(began); took > time.Second || done != 19 {
			t.Errorf("%d jobs after %s", done, took)
		}
	})
}

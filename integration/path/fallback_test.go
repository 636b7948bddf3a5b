package path

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/sdk/wire"
)

// chained makes a plan with a fallback chain of the route chat.
func chained(steps ...steer.Step) *steer.Plan {
	return steer.New(steer.Config{Fallbacks: map[string][]steer.Step{"chat": steps}})
}

// took is where the attempts of a job were made, such as "a b small/1:s".
func (r *rig) took(job string) string {
	var out []string
	for _, a := range r.attempts(job) {
		text := a.Pool
		if d := a.Decision; d.Fallback > 0 {
			text = fmt.Sprintf("%s/%d:%s", d.Route, d.Fallback, a.Pool)
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// TestFallBack: what all candidates fail at goes down the chain at once, asks
// for less where the step says so, and the records say by which step.
func TestFallBack(t *testing.T) {
	for name, first := range map[string]reply{
		"500":              {status: 500},
		"429, Retry-After": {status: 429, header: http.Header{"Retry-After": {"30"}}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				bad, other, small := always(first), always(first), &script{}
				r := start(t, setup{dir: dir, pools: []pool{{name: "a", weight: 1000, provider: bad}, {name: "b", provider: other},
					{name: "s", provider: small, only: true, routes: []string{"small"}}},
					plan: chained(steer.Step{Route: "gone"}, steer.Step{Route: "small", MaxTokens: 7})})
				began := time.Now()
				id := r.publish(chat)
				res := r.result(id)
				if got := r.took(id); res.Status != wire.Succeeded || got != "a b small/2:s" {
					t.Fatalf("%s by %s", res.Status, got)
				}
				near(t, "all attempts", time.Since(began), 0, 100*time.Millisecond)
				if c := bad.seen()[0]; !strings.Contains(c.Body, `"max_tokens":10`) {
					t.Errorf("asked the first for %s", c.Body)
				}
				if c := small.seen()[0]; !strings.Contains(c.Body, `"max_tokens":7`) || strings.Contains(c.Body, `"max_tokens":10`) {
					t.Errorf("asked the last for %s", c.Body)
				}
				if a := res.Entry.Attempt; a.MaxTokens != 7 || res.Entry.Meta.Route != "chat" || res.Entry.Meta.MaxTokens != 10 {
					t.Errorf("attempt %+v of %+v", a, res.Entry.Meta)
				}
				r.empty()
			})
		})
	}
}

// TestFallBackWhenAttemptsAreUsedUp: a job whose attempts end before its
// candidates do still has the chain before it; then it is dead.
func TestFallBackWhenAttemptsAreUsedUp(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		bad := func() *script { return always(reply{status: 500}) }
		r := start(t, setup{dir: dir, attempts: 2, pools: []pool{{name: "a", weight: 1000, provider: bad()}, {name: "b", weight: 10, provider: bad()}, {name: "c", provider: bad()},
			{name: "s", provider: bad(), only: true, routes: []string{"small"}}, {name: "t", provider: bad(), only: true, routes: []string{"tiny"}}},
			plan: chained(steer.Step{Route: "small"}, steer.Step{MaxTokens: 5}, steer.Step{Route: "tiny"})})
		id := r.publish(chat)
		res := r.result(id)
		if got := r.took(id); res.Status != wire.Failed || got != "a b small/1:s chat/2:a tiny/3:t" {
			t.Errorf("%s by %s", res.Status, got)
		}
		if !strings.Contains(string(res.Body), "dead letters") || res.Entry.Progress.Attempts != 5 {
			t.Errorf("%s after %+v", res.Body, res.Entry.Progress)
		}
		dead := r.admin("dead.list", "{}")
		if list, _ := dead["dead"].([]any); len(list) != 1 {
			t.Errorf("%v", dead)
		}
	})
}

// TestFallBackOfAnUnavailableRoute: nobody serves it; the job waits as long as
// the chain says and not longer, and goes back to the route for the next job.
func TestFallBackOfAnUnavailableRoute(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		main, small := &script{}, &script{}
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: main}, {name: "s", provider: small, only: true, routes: []string{"small"}}},
			plan: chained(steer.Step{Wait: 30 * time.Second}, steer.Step{Route: "small"})})
		r.router("r1", nil)
		r.serve("w1", "s")
		time.Sleep(20 * time.Second) // that pool a has no worker is known now
		began := time.Now()
		id := r.publish(chat)
		if res := r.result(id); res.Status != wire.Succeeded || r.took(id) != "small/2:s" {
			t.Fatalf("%s by %s", res.Status, r.took(id))
		}
		near(t, "the wait", time.Since(began), 30*time.Second, 2*time.Second)
		began = time.Now()
		id = r.publish(chat)
		time.Sleep(10 * time.Second)
		r.serve("w2", "a")
		if res := r.result(id); res.Status != wire.Succeeded || r.took(id) != "a" {
			t.Fatalf("%s by %s", res.Status, r.took(id))
		}
		near(t, "until the route is back", time.Since(began), 10*time.Second, 2*time.Second)
		r.empty()
	})
}

// TestFullIsWaitedFor: a busy route is no reason to fall back, until the wait
// has passed.
func TestFullIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		slow, small := always(reply{delay: 20 * time.Second}), &script{}
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", concurrency: 1, provider: slow}, {name: "s", provider: small, only: true, routes: []string{"small"}}},
			plan: chained(steer.Step{Wait: 50 * time.Second}, steer.Step{Route: "small"})})
		began := time.Now()
		ids := r.flood(wire.Standard, 10, chat)
		byRoute := map[string]int{}
		for _, id := range ids {
			if res := r.result(id); res.Status != wire.Succeeded {
				t.Errorf("%s", res.Body)
			}
			byRoute[strings.Split(r.took(id), "/")[0]]++
		}
		// Three run at the pool within 60 s, and one is in its queue by then.
		if byRoute["a"] != 4 && byRoute["a"] != 3 || byRoute["a"]+byRoute["small"] != 10 {
			t.Errorf("%v", byRoute)
		}
		if at := small.seen()[0].At.Sub(began); at < 50*time.Second || at > 55*time.Second {
			t.Errorf("fell back after %s", at)
		}
		r.empty()
	})
}

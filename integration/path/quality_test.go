package path

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestQuality: what is reported of answers decides where a route of that
// strategy sends its jobs, at every router; of a job one report counts.
func TestQuality(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		a, b := &script{}, &script{}
		r := start(t, setup{dir: dir, bare: true, strategy: "quality", pools: []pool{{name: "a", concurrency: 50, provider: a}, {name: "b", concurrency: 50, provider: b}}})
		r.router("r1", nil)
		r.serve("w1", "a", "b")
		time.Sleep(time.Second)
		ids := r.flood(wire.Standard, 60, chat)
		r.allSucceed(ids)
		for _, id := range ids {
			score := "0.3"
			if r.result(id).Entry.Attempt.Pool == "b" {
				score = "0.8"
			}
			got := r.admin("quality", `{"tenant":"acme","job":"`+id+`","score":`+score+`}`)
			if s, ok := got["score"].(float64); !ok || s < 0.29 || s > 0.81 {
				t.Fatalf("%v", got)
			}
		}
		if got := r.admin("quality", `{"tenant":"acme","job":"`+ids[0]+`","score":1}`); got["error"] == nil {
			t.Errorf("reported twice: %v", got)
		}
		for _, bad := range []string{`{"tenant":"acme","job":"nobody","score":1}`, `{"tenant":"acme","job":"` + ids[0] + `"}`, `{"pool":"a","model":"m-a","score":1.5}`,
			`{"pool":"x","model":"m-a","score":1}`, `{"tenant":"other","job":"` + ids[0] + `","score":1}`, `{"tenant":"acme","job":"` + ids[1] + `","pool":"a","score":1}`} {
			if got := r.admin("quality", bad); got["error"] == nil {
				t.Errorf("%s: %v", bad, got)
			}
		}
		time.Sleep(time.Second)
		before := a.count()
		r.allSucceed(r.flood(wire.Standard, 40, chat))
		if n := a.count() - before; n > 2 { // now and then one, to renew measurements
			t.Errorf("%d of 40 jobs go to the worse pool", n)
		}
		for range 300 { // it gets better
			r.admin("quality", `{"pool":"a","model":"m-a","score":1}`)
		}
		second := r.router("r2", nil)
		for n := 0; ; n++ { // it knows the reports once it has read the ledger and the scores
			if q := second.observer.Health()["a"].Scores.Quality; q != nil && *q >= 85 {
				break
			}
			if n == 30 {
				t.Fatalf("scores %+v after %d s", second.observer.Health()["a"].Scores, n)
			}
			time.Sleep(time.Second)
		}
		before = b.count()
		r.allSucceed(r.flood(wire.Standard, 40, chat))
		if n := b.count() - before; n > 2 {
			t.Errorf("%d of 40 jobs go to what is the worse pool now", n)
		}
	})
}

// TestReportsTogether: reports at the same time all count.
func TestReportsTogether(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: &script{}}}})
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				if _, err := observe.Report(t.Context(), r.js, r.subj, "a", "org/m:1", float64(i%2), "", ""); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		q, err := observe.Report(t.Context(), r.js, r.subj, "a", "org/m:1", 0.5, "acme", "j1")
		if err != nil || q.Reports != 9 || q.Score < 0.49 || q.Score > 0.51 {
			t.Errorf("%+v, %v", q, err)
		}
		if _, err = observe.Report(t.Context(), r.js, r.subj, "a", "org/m:1", 0.5, "acme", "j1"); !errors.Is(err, observe.ErrReported) {
			t.Errorf("%v", err)
		}
	})
}

// TestAdaptiveWeights: jobs move to the faster pool, and part of them back when
// the other is as fast again.
func TestAdaptiveWeights(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		a, b := newMoody(takes(100*time.Millisecond)), newMoody(takes(300*time.Millisecond))
		r := start(t, setup{dir: dir, bare: true, strategy: "adaptive_weights", pools: []pool{{name: "a", concurrency: 20, provider: &a.script}, {name: "b", concurrency: 20, provider: &b.script}}})
		r.router("r1", nil)
		r.serve("w1", "a", "b")
		time.Sleep(time.Second)
		run := func(d time.Duration) (of int) {
			var ids []string
			before := a.count()
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
				ids = append(ids, r.publish(chat))
			}
			r.allSucceed(ids)
			return 100 * (a.count() - before) / len(ids)
		}
		even := run(10 * time.Second)
		run(60 * time.Second)
		fast := run(20 * time.Second)
		b.set(takes(100 * time.Millisecond))
		run(90 * time.Second)
		again := run(20 * time.Second)
		t.Logf("%d %%, then %d %%, then %d %% at the pool that is faster for a while", even, fast, again)
		if even < 40 || even > 60 || fast < 62 || fast > 90 || again < 40 || again > 67 {
			t.Errorf("%d %%, then %d %%, then %d %%", even, fast, again)
		}
	})
}

// TestCachedPrefix: a conversation goes on where its beginning is cached, if
// that makes it the cheapest.
func TestCachedPrefix(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		a, b := &script{}, &script{}
		r := start(t, setup{dir: dir, bare: true, strategy: "cost", pools: []pool{
			{name: "a", provider: a, price: &wire.Price{Version: "test", Input: 1_000_000, CacheRead: 100_000, Output: 2_000_000}},
			{name: "b", provider: b, price: &wire.Price{Version: "test", Input: 900_000, CacheRead: 900_000, Output: 2_000_000}}}})
		r.router("r1", nil)
		r.serve("w1", "a", "b")
		time.Sleep(time.Second)
		talk := func(want *script, headers ...string) {
			t.Helper()
			for range 3 {
				before := want.count()
				r.allSucceed([]string{r.publish(chat, headers...)})
				if time.Sleep(time.Second); want.count() != before+1 {
					t.Errorf("a job with %q goes to the other pool", headers)
				}
			}
		}
		talk(b)
		if err := observe.Drain(t.Context(), r.js, r.subj, "b"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		talk(a, "Sluice-Affinity", "s1")
		if err := observe.Resume(t.Context(), r.js, r.subj, "b"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		talk(a, "Sluice-Affinity", "s1")
		talk(b, "Sluice-Affinity", "s2")
		talk(b)
		time.Sleep(6 * time.Minute) // caches forget
		talk(b, "Sluice-Affinity", "s1")
	})
}

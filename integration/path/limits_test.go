package path

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// meter is a provider that takes n calls in any minute and answers 429 to
// more.
type meter struct {
	script
	mu      sync.Mutex
	taken   []time.Time
	refused int
	tells   bool // what is left, with every answer
}

func newMeter(n int, tells bool) *meter {
	m := &meter{tells: tells}
	m.script.reply = func(int, string) reply { return m.answer(n) }
	return m
}

func (m *meter) answer(n int) reply {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for len(m.taken) > 0 && now.Sub(m.taken[0]) >= time.Minute {
		m.taken = m.taken[1:]
	}
	rep := reply{delay: 50 * time.Millisecond, header: http.Header{}}
	if len(m.taken) >= n {
		m.refused++
		rep.status, rep.delay = http.StatusTooManyRequests, 0
	} else {
		m.taken = append(m.taken, now)
	}
	if m.tells {
		rep.header.Set("X-Ratelimit-Limit-Requests", strconv.Itoa(n))
		rep.header.Set("X-Ratelimit-Remaining-Requests", strconv.Itoa(n-len(m.taken)))
		rep.header.Set("X-Ratelimit-Reset-Requests", (time.Minute - now.Sub(m.taken[0])).String())
	}
	return rep
}

// TestLimits: four routers and a provider that answers 429 beyond 300 calls in
// any minute, more jobs than that: fewer than 1 % of the calls are refused, no
// job fails, and most of what the provider allows is used. The limit is known
// from the configuration, or from the provider's own headers.
func TestLimits(t *testing.T) {
	for name, tells := range map[string]bool{"configured": false, "told by the provider": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				m := newMeter(300, tells)
				r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", concurrency: 32, provider: &m.script}}})
				limits := map[string]observe.Limits{"a": {Requests: 300}}
				if tells {
					limits = nil
				}
				for i := range 4 {
					r.router(fmt.Sprintf("r%d", i), limits)
				}
				r.serve("w1", "a")
				time.Sleep(time.Second)
				if tells { // the first answers tell
					r.allSucceed(r.flood(wire.Standard, 4, chat))
				}
				began := time.Now()
				ids := r.flood(wire.Standard, 1180, chat)
				r.allSucceed(ids)
				took := time.Since(began)
				t.Logf("1,180 jobs in %s, %d of %d calls refused", took, m.refused, m.count())
				if m.refused*100 >= m.count() {
					t.Errorf("%d of %d calls were refused, want less than 1 %%", m.refused, m.count())
				}
				if took > 4*time.Minute {
					t.Errorf("1,180 jobs at 300 a minute took %s, want little more than 3 minutes", took)
				}
				r.empty()
			})
		})
	}
}

// TestWaitingForALimit: a job that must wait longer than a few seconds for a
// limit says so in its record, and goes on when the limit does.
func TestWaitingForALimit(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		m := newMeter(5, false)
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", concurrency: 8, provider: &m.script}}})
		r.router("r1", map[string]observe.Limits{"a": {Requests: 5}})
		r.serve("w1", "a")
		time.Sleep(time.Second)
		r.allSucceed(r.flood(wire.Standard, 5, chat))
		began := time.Now()
		id := r.publish(chat)
		s := r.reached(id, wire.Waiting)
		near(t, "waiting record", s.At.Sub(began), 2*time.Second, 2*time.Second)
		if s.Reason != wire.ReasonLimit || s.Until.Sub(began) < 55*time.Second || s.Until.Sub(began) > 62*time.Second {
			t.Errorf("waiting for %s until %s from now", s.Reason, s.Until.Sub(began))
		}
		res := r.result(id)
		near(t, "answer", res.At.Sub(began), 58*time.Second, 5*time.Second)
		if got := r.steps(id); got != "waiting/limit running succeeded" {
			t.Errorf("%s", got)
		}
		late := r.publish(chat, wire.HeaderDeadline, "10s")
		for range 4 {
			r.publish(chat)
		}
		if res := r.result(late); res.Status != wire.Succeeded {
			t.Errorf("%s: a job within the limit", res.Status)
		}
		late = r.publish(chat, wire.HeaderDeadline, "10s")
		if res := r.result(late); res.Status != wire.Expired {
			t.Errorf("%s, want expired", res.Status)
		}
	})
}

// TestAllDown: with every provider down jobs wait, do not fail, and are not
// tried like mad; when one is back they run.
func TestAllDown(t *testing.T) {
	for name, down := range map[string]reply{
		"no connection": {err: http.ErrServerClosed}, "503": {status: http.StatusServiceUnavailable},
		"429": {status: http.StatusTooManyRequests, header: http.Header{"Retry-After": {"7"}}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				a, b := newMoody(func(int) reply { return down }), newMoody(func(int) reply { return down })
				r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: &a.script}, {name: "b", provider: &b.script}}})
				r.router("r1", nil)
				r.router("r2", nil)
				r.serve("w1", "a", "b")
				time.Sleep(time.Second)
				ids := r.flood(wire.Standard, 100, chat)
				time.Sleep(5 * time.Minute)
				calls := a.count() + b.count()
				t.Logf("%d calls while all was down", calls)
				if calls > 400 {
					t.Errorf("%d calls in 5 minutes of nothing but failures", calls)
				}
				b.set(takes(100 * time.Millisecond))
				began := time.Now()
				r.allSucceed(ids)
				near(t, "all done", time.Since(began), 0, 60*time.Second)
				r.empty()
			})
		})
	}
}

// TestNoWorkers: a pool without live workers takes no jobs; its jobs go
// elsewhere, or wait until there is one.
func TestNoWorkers(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		a, b := &script{}, &script{}
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: a}, {name: "b", provider: b}}})
		r.router("r1", nil)
		wb := r.serve("w1", "b")
		time.Sleep(time.Second)
		r.allSucceed(r.flood(wire.Standard, 50, chat))
		if a.count() != 0 || b.count() != 50 {
			t.Errorf("%d and %d calls, want 0 and 50", a.count(), b.count())
		}
		wb.stop()
		time.Sleep(20 * time.Second)
		id := r.publish(chat)
		time.Sleep(time.Minute)
		if h := r.history(id); len(h) != 0 {
			t.Errorf("a job without workers: %s", r.steps(id))
		}
		began := time.Now()
		r.serve("w2", "a")
		if res := r.result(id); res.Status != wire.Succeeded || a.count() != 1 {
			t.Errorf("%s after %d calls", res.Status, a.count())
		}
		near(t, "answer", time.Since(began), 0, 2*time.Second)
	})
}

// TestDrainPool: a drained pool finishes what it has and takes no more, at any
// router, until it is resumed.
func TestDrainPool(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		a, b := always(reply{delay: time.Second}), always(reply{delay: time.Second})
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: a}, {name: "b", provider: b}}})
		r.router("r1", nil)
		r.router("r2", nil)
		r.serve("w1", "a", "b")
		time.Sleep(time.Second)
		ids := r.flood(wire.Standard, 16, chat)
		time.Sleep(time.Second / 2)
		if err := observe.Drain(t.Context(), r.js, r.subj, "a"); err != nil {
			t.Fatal(err)
		}
		r.allSucceed(ids)
		before := a.count()
		r.allSucceed(r.flood(wire.Standard, 20, chat))
		if a.count() != before || before == 0 {
			t.Errorf("%d calls of the drained pool, %d before", a.count(), before)
		}
		r.router("r3", nil) // learns it too
		time.Sleep(time.Second)
		r.allSucceed(r.flood(wire.Standard, 20, chat))
		if a.count() != before {
			t.Errorf("%d calls of the drained pool, %d before", a.count(), before)
		}
		if err := observe.Resume(t.Context(), r.js, r.subj, "a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		r.allSucceed(r.flood(wire.Standard, 20, chat))
		if a.count() == before {
			t.Error("the resumed pool takes no jobs")
		}
	})
}

// TestRescue: jobs in the queue of a pool whose workers are gone, or that was
// removed while running, go elsewhere; a pool that is added takes its part.
func TestRescue(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		a, b := always(reply{delay: 2 * time.Second}), always(reply{delay: 100 * time.Millisecond})
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", concurrency: 2, provider: a}, {name: "b", concurrency: 2, provider: b}}})
		both, err := router.NewTable(r.table.Pools(), []router.RouteSpec{r.table.Routes()[0].Spec()})
		if err != nil {
			t.Fatal(err)
		}
		spec := r.table.Routes()[0].Spec()
		spec.Candidates = spec.Candidates[1:]
		onlyB, err := router.NewTable(r.table.Pools()[1:], []router.RouteSpec{spec})
		if err != nil {
			t.Fatal(err)
		}
		p := r.router("r1", nil)
		wa := r.serve("w1", "a")
		r.serve("w2", "b")
		time.Sleep(time.Second)
		reload := func(table *router.Table) {
			p.observer.Set(observe.Setup{Table: table})
			p.dispatcher.SetTable(table)
		}
		ids := r.flood(wire.Standard, 30, chat)
		time.Sleep(time.Second / 2)
		reload(onlyB) // a's workers still finish what is in its queue
		r.allSucceed(ids)
		if n := a.count(); n < 2 {
			t.Errorf("%d calls of a", n)
		}
		before := a.count()
		r.allSucceed(r.flood(wire.Standard, 10, chat))
		if a.count() != before {
			t.Error("a removed pool takes jobs")
		}
		reload(both)
		ids = r.flood(wire.Standard, 30, chat)
		time.Sleep(time.Second / 2)
		if a.count() == before {
			t.Error("a pool that was added takes no jobs")
		}
		reload(onlyB)
		wa.stop() // ends its running calls, and leaves its queue
		began := time.Now()
		r.allSucceed(ids)
		near(t, "all done", time.Since(began), 0, 40*time.Second)
		r.empty()
	})
}

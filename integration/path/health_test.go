package path

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/dispatch"
	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
	"github.com/sluicehq/sluice/workers/run"
)

// router adds a process with the router role that observes the pools.
func (r *rig) router(name string, limits map[string]observe.Limits) *proc {
	r.t.Helper()
	p := r.proc(name)
	js := p.jetstream(r.t)
	o := observe.New(observe.Config{JS: js, Subjects: r.subj, Logger: r.log.With("proc", name), Instance: name}, observe.Setup{Table: r.table, Limits: limits})
	d := dispatch.New(dispatch.Config{JS: js, Subjects: r.subj, Ledger: ledger.New(js, r.subj), Logger: r.log.With("proc", name),
		Held: r.setup.held, RetryBudget: r.setup.budget, Captures: r.setup.captures, Observer: o}, r.table)
	d.SetPlan(r.setup.plan)
	p.observer, p.dispatcher = o, d
	p.goRun(r, o.Run)
	p.goRun(r, d.Run)
	return p
}

// serve adds a process with the worker role that says which pools it serves.
func (r *rig) serve(name string, pools ...string) *proc {
	r.t.Helper()
	p := r.proc(name)
	js := p.jetstream(r.t)
	var served []run.Pool
	for _, x := range r.setup.pools {
		if !slices.Contains(pools, x.name) {
			continue
		}
		e, err := engine.New(engine.Config{Pool: x.name, Adapter: "openai", Transport: x.provider, Timeout: r.setup.timeout})
		if err != nil {
			r.t.Fatal(err)
		}
		served = append(served, run.Pool{Name: x.name, Concurrency: x.concurrency, Endpoint: e})
	}
	w := run.New(run.Config{JS: js, Subjects: r.subj, Ledger: ledger.New(js, r.subj), Logger: r.log.With("proc", name),
		Instance: name, Pools: served, MaxAttempts: r.setup.attempts})
	p.goRun(r, func(ctx context.Context) error {
		return ledger.Announce(ctx, js, r.subj, func() ledger.Node { return ledger.Node{Instance: name, Pools: pools} })
	})
	p.goRun(r, w.Run)
	return p
}

// moody is a provider whose answers a test changes while it runs.
type moody struct {
	script
	mood atomic.Pointer[func(n int) reply]
}

func newMoody(f func(n int) reply) *moody {
	m := &moody{}
	m.set(f)
	m.script.reply = func(n int, _ string) reply { return (*m.mood.Load())(n) }
	return m
}

func (m *moody) set(f func(n int) reply) { m.mood.Store(&f) }

func takes(d time.Duration) func(int) reply { return func(int) reply { return reply{delay: d} } }

// trouble is a run of jobs at a steady pace over three pools, while something
// happens to one of them.
type trouble struct {
	r     *rig
	ill   *moody
	jobs  []string
	began []time.Time
}

func startTrouble(t *testing.T, dir string, routers int) *trouble {
	x := &trouble{ill: newMoody(takes(200 * time.Millisecond))}
	well := func() *script { return always(reply{delay: 200 * time.Millisecond}) }
	x.r = start(t, setup{dir: dir, bare: true, pools: []pool{{name: "ill", concurrency: 8, provider: &x.ill.script},
		{name: "b", concurrency: 8, provider: well()}, {name: "c", concurrency: 8, provider: well()}}})
	for i := range routers {
		x.r.router(fmt.Sprintf("r%d", i), nil)
	}
	x.r.serve("w1", "ill", "b", "c")
	time.Sleep(time.Second)
	return x
}

// run publishes 30 jobs a second for d.
func (x *trouble) run(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		x.jobs = append(x.jobs, x.r.publish(chat))
		x.began = append(x.began, time.Now())
		time.Sleep(time.Second / 30)
	}
}

// worst is the 99th percentile of the times of the jobs that were published
// from one moment to another; every job must have succeeded.
func (x *trouble) worst(from, to time.Time) time.Duration {
	x.r.t.Helper()
	var took []time.Duration
	for i, id := range x.jobs {
		if at := x.began[i]; at.Before(from) || !at.Before(to) {
			continue
		}
		res := x.r.result(id)
		if res.Status != wire.Succeeded {
			x.r.t.Errorf("job %s: %s %s after %s", id, res.Status, res.Body, x.r.steps(id))
		}
		took = append(took, res.At.Sub(x.began[i]))
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// TestTrouble: a provider dies, slows down or fails a part of its calls in the
// middle of a run. No job fails, the 99th percentile is normal again within
// 10 s, and the provider is in use within 30 s of its recovery.
func TestTrouble(t *testing.T) {
	for name, mood := range map[string]func(int) reply{
		"dies":       func(int) reply { return reply{err: http.ErrServerClosed} },
		"refuses":    func(int) reply { return reply{status: 500, delay: 5 * time.Millisecond} },
		"slows down": takes(2 * time.Second),
		"fails 30%": func(int) reply {
			if rand.IntN(10) < 3 {
				return reply{status: 500, delay: 100 * time.Millisecond}
			}
			return reply{delay: 200 * time.Millisecond}
		},
	} {
		for _, routers := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s/%d routers", name, routers), func(t *testing.T) {
				bubble(t, func(t *testing.T, dir string) {
					x := startTrouble(t, dir, routers)
					begin := time.Now()
					x.run(20 * time.Second)
					ill := time.Now()
					x.ill.set(mood)
					x.run(40 * time.Second)
					well := time.Now()
					before := x.ill.count()
					x.ill.set(takes(200 * time.Millisecond))
					x.run(40 * time.Second)
					normal := x.worst(begin, ill)
					during, after := x.worst(ill, ill.Add(10*time.Second)), x.worst(ill.Add(10*time.Second), well)
					back := 0
					for _, c := range x.ill.seen()[before:] {
						if c.At.After(well.Add(30*time.Second)) && c.At.Before(well.Add(40*time.Second)) {
							back++
						}
					}
					t.Logf("p99: normal %s, in the first 10 s %s, then %s, after recovery %s; %d calls in its last 10 s",
						normal, during, after, x.worst(well, time.Now()), back)
					if after > 2*normal {
						t.Errorf("p99 %s from 10 s after, want about %s", after, normal)
					}
					if back < 50 {
						t.Errorf("%d of 300 calls go to the recovered pool from 30 s on, want about 100", back)
					}
				})
			})
		}
	}
}

// TestSlowLongCalls: the provider's calls take a second, and then ten. Nobody
// waits for the first slow one to end before the others get the jobs.
func TestSlowLongCalls(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		x := &trouble{ill: newMoody(takes(time.Second))}
		well := func() *script { return always(reply{delay: time.Second}) }
		x.r = start(t, setup{dir: dir, bare: true, pools: []pool{{name: "ill", concurrency: 24, provider: &x.ill.script},
			{name: "b", concurrency: 24, provider: well()}, {name: "c", concurrency: 24, provider: well()}}})
		x.r.router("r1", nil)
		x.r.router("r2", nil)
		x.r.serve("w1", "ill", "b", "c")
		time.Sleep(time.Second)
		begin := time.Now()
		x.run(20 * time.Second)
		ill := time.Now()
		x.ill.set(takes(10 * time.Second))
		x.run(25 * time.Second)
		normal, after := x.worst(begin, ill), x.worst(ill.Add(8*time.Second), ill.Add(25*time.Second))
		t.Logf("p99: normal %s, from 8 s after on %s", normal, after)
		if after > 2*normal {
			t.Errorf("p99 %s from 8 s after, want about %s", after, normal)
		}
	})
}

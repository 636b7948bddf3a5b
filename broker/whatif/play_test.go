package whatif

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// arbitrary is a random policy, model and load: pools of every size, some that
// fail or are limited, every strategy, tenants, classes, jobs that are given
// up, jobs that never ran, jobs for routes that are not there.
func arbitrary(t testing.TB, seed uint64) (*Policy, *Model, []Job) {
	rng := rand.New(rand.NewPCG(seed, 9))
	var pools []router.Pool
	var list []Recorded
	limits := map[string]observe.Limits{}
	for i := range 1 + rng.IntN(4) {
		p := router.Pool{Name: fmt.Sprint("p", i), Concurrency: rng.IntN(6), Draining: i > 0 && rng.IntN(8) == 0}
		pools = append(pools, p)
		mean, fails := time.Duration(50+rng.IntN(2000))*time.Millisecond, rng.IntN(3) == 0
		part := records(Target{p.Name, "m"}, 50+rng.IntN(300), time.Second, func(int) (int64, time.Duration) {
			n := 1 + rng.Int64N(500)
			return n, time.Duration(float64(mean) * (0.5 + float64(n)/250) * (0.8 + 0.4*rng.Float64()))
		})
		for k := range part {
			if a := &part[k].Attempts[0]; fails && rng.IntN(3) == 0 {
				a.Status = []wire.Status{wire.Failed, wire.Failed, wire.Interrupted}[rng.IntN(3)]
				a.Code = []wire.Code{wire.CodeProviderError, wire.CodeRateLimited, wire.CodeProviderRefused, wire.CodeTimeout}[rng.IntN(4)]
				part[k].Status, part[k].Code = wire.Failed, a.Code
			}
		}
		list = append(list, part...)
		if rng.IntN(4) == 0 {
			limits[p.Name] = observe.Limits{Requests: 100 + rng.Int64N(2000)}
		}
	}
	strategies := router.Strategies()
	table := tableOf(t, pools, routeOver("chat", strategies[rng.IntN(len(strategies))].Name, pools), routeOver("other", "round_robin", pools[:1]))
	p := policyOf(table)
	p.Limits = limits
	jobs := poisson(rng, 300+rng.IntN(700), 1+rng.Float64()*40)
	for i := range jobs {
		j := &jobs[i]
		j.Output = 1 + rng.Int64N(400)
		j.Meta.Tenant, j.Meta.Class = fmt.Sprint("t", rng.IntN(5)), wire.Classes()[rng.IntN(3)]
		switch rng.IntN(20) {
		case 0:
			j.Until, j.Ends = j.Meta.SubmittedAt+rng.Int64N(int64(3*time.Second)), wire.Cancelled
		case 1:
			j.Until, j.Ends = j.Meta.SubmittedAt+rng.Int64N(int64(3*time.Second)), wire.Expired
			j.Meta.Deadline = j.Until
		case 2:
			j.Kept = wire.Failed
		case 3:
			j.Meta.Route = []string{"other", "gone"}[rng.IntN(2)]
		}
	}
	return p, Fit(list, table), jobs
}

// TestPlayHolds: whatever the policy, every job ends once, pools never run more
// than they have slots (I2, I3), queues and depths come to nothing, and the
// sums over jobs are those over pools.
func TestPlayHolds(t *testing.T) {
	for seed := range uint64(50) {
		p, m, jobs := arbitrary(t, seed)
		w := newWorld(p, m, jobs, seed)
		last := w.now
		for turns := 0; w.left > 0 && w.turn(); turns++ {
			if w.now < last {
				t.Fatalf("seed %d: time went back", seed)
			}
			last = w.now
			for i := range w.pools {
				x := &w.pools[i]
				if x.running > x.slots || x.running < 0 || x.depth < x.running+len(x.queue) {
					t.Fatalf("seed %d: pool %d with %d slots: %d run, %d wait, depth %d", seed, i, x.slots, x.running, len(x.queue), x.depth)
				}
			}
			if turns%64 == 0 && len(w.router.all()) != w.router.held {
				t.Fatalf("seed %d: %d jobs held, counted %d", seed, len(w.router.all()), w.router.held)
			}
		}
		w.strand()
		if w.left != 0 {
			t.Fatalf("seed %d: %d jobs have not ended", seed, w.left)
		}
		var jobCost, poolCost wire.NanoUSD
		attempts, parts := 0, 0
		for i := range w.out.Jobs {
			e, j := &w.out.Jobs[i], &jobs[i]
			jobCost += e.Cost
			attempts += e.Attempts
			switch {
			case !e.Status.Terminal():
				t.Fatalf("seed %d: job %d ended as %q", seed, i, e.Status)
			case e.Wait < 0 || e.Wait > e.Total:
				t.Fatalf("seed %d: job %d waited %d of %d", seed, i, e.Wait, e.Total)
			case j.Until != 0 && e.Total > j.Until-j.Meta.SubmittedAt:
				t.Fatalf("seed %d: job %d went on after it was given up", seed, i)
			case j.Meta.Route == "gone" && j.Kept == "" && j.Until == 0 && e.Code != wire.CodeUnknownRoute:
				t.Fatalf("seed %d: job %d of no route: %+v", seed, i, e)
			}
		}
		for _, x := range w.out.Parts {
			poolCost += x.Cost
			parts += x.Attempts
		}
		if jobCost != poolCost || attempts != parts {
			t.Fatalf("seed %d: jobs cost %d in %d attempts, pools %d in %d", seed, jobCost, attempts, poolCost, parts)
		}
	}
}

// TestPlayRepeats: the same arguments give the same outcome, another seed
// another one (I1).
func TestPlayRepeats(t *testing.T) {
	differ := 0
	for seed := range uint64(10) {
		p, m, jobs := arbitrary(t, seed)
		p2, m2, jobs2 := arbitrary(t, seed)
		a, b, c := play(t, p, m, jobs, 1), play(t, p2, m2, jobs2, 1), play(t, p, m, jobs, 2)
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("seed %d: two plays of the same differ", seed)
		}
		if !reflect.DeepEqual(a.Jobs, c.Jobs) {
			differ++
		}
	}
	if differ < 8 {
		t.Errorf("the seed changed only %d of 10 plays", differ)
	}
}

// TestPlayStops: a play can be ended early, and then has no outcome.
func TestPlayStops(t *testing.T) {
	p, m, jobs := arbitrary(t, 1)
	if o, err := Play(p, m, jobs, 1, func() bool { return true }); o != nil || err != nil {
		t.Errorf("%v, %v", o, err)
	}
}

// TestMissing: what was never recorded is not made up (I4), unless no job can
// go there.
func TestMissing(t *testing.T) {
	pools := []router.Pool{{Name: "known", Concurrency: 2}, {Name: "new", Concurrency: 2}, {Name: "off", Concurrency: 2, Draining: true}, {Name: "idle", Concurrency: 2}}
	route := routeOver("chat", "round_robin", pools)
	route.Candidates[3].Weight = 0
	table := tableOf(t, pools, route)
	m := Fit(records(Target{"known", "m"}, 10, time.Second, func(int) (int64, time.Duration) { return 5, time.Second }), table)
	var missing *MissingError
	if _, err := Play(policyOf(table), m, nil, 1, nil); !errors.As(err, &missing) || len(missing.Targets) != 1 || missing.Targets[0] != (Target{"new", "m"}) {
		t.Fatalf("%v", err)
	}
	m.Profiles[Target{"new", "m"}] = m.Profiles[Target{"known", "m"}]
	if o := play(t, policyOf(table), m, nil, 1); len(o.Jobs) != 0 {
		t.Errorf("%+v", o)
	}
}

// TestKept: a job that failed before any attempt fails again, and one whose
// client gave up does so at the same time.
func TestKept(t *testing.T) {
	pools := []router.Pool{{Name: "p", Concurrency: 1}}
	table := tableOf(t, pools, routeOver("chat", "round_robin", pools))
	list := records(Target{"p", "m"}, 60, 20*time.Second, func(int) (int64, time.Duration) { return 10, 10 * time.Second })
	list[1].Status, list[1].Attempts = wire.Failed, nil
	list[2].Status, list[2].Finished = wire.Cancelled, list[2].Submitted+int64(4*time.Second)
	list[2].Attempts[0].Status, list[2].Attempts[0].Ended = wire.Cancelled, list[2].Finished
	list[2].Attempts[0].Taken, list[2].Attempts[0].Usage.Output = 4*time.Second, 4
	o := play(t, policyOf(table), Fit(list, table), Replay(list), 1)
	if e := o.Jobs[1]; e.Status != wire.Failed || e.Attempts != 0 || e.Cost != 0 {
		t.Errorf("%+v", e)
	}
	e := o.Jobs[2]
	if e.Status != wire.Cancelled || e.Attempts != 1 || e.Total != int64(4*time.Second) {
		t.Errorf("%+v", e)
	}
	if done := o.Jobs[3]; done.Status != wire.Succeeded || done.Cost <= e.Cost || e.Cost <= 0 {
		t.Errorf("an answer that was given up costs %d, a whole one %d", e.Cost, done.Cost)
	}
}

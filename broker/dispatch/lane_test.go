package dispatch

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

func testItem(id, route, tenant string, class wire.Class) *item {
	return &item{msg: &delivery{}, source: &source{}, course: steer.Course{Route: route}, asg: wire.Assignment{Meta: wire.Meta{ID: id, Route: route, Tenant: tenant, Class: class}}}
}

// TestLanes: routes and tenants keep their order and their own queue, and an
// empty one is forgotten.
func TestLanes(t *testing.T) {
	l := newLoop(&Dispatcher{})
	hold := func(id, route string, class wire.Class) {
		it := testItem(id, route, "a", class)
		it.asg.Meta.Deadline = int64(len(id))
		l.hold(it)
	}
	hold("xxx", "r", wire.Batch)
	hold("yy", "q", wire.Batch)
	hold("z", "r", wire.Batch)
	hold("ww", "r", wire.Interactive)
	lane := l.classes[wire.Batch]
	r := lane.byName[queueKey{"r", "a", wire.Realtime}]
	if len(lane.queues) != 2 || len(lane.lines) != 1 || len(r.items) != 2 || r.items[0].asg.Meta.ID != "xxx" || l.held != 4 || l.soonest != 1 {
		t.Errorf("%d queues, %d lines, %d held, first deadline %d", len(lane.queues), len(lane.lines), l.held, l.soonest)
	}
	if !lane.has("r") || !lane.has("q") || lane.has("s") {
		t.Error("the lane does not know its routes")
	}
	l.pop(lane.byName[queueKey{"q", "a", wire.Realtime}])
	lane.sweep()
	if len(lane.queues) != 1 || lane.has("q") || len(lane.lines[0].queues) != 1 || l.held != 3 {
		t.Errorf("after a sweep: %d queues, %d held", len(lane.queues), l.held)
	}
	l.pop(r)
	l.pop(r)
	lane.sweep()
	if len(lane.queues)+len(lane.lines)+len(lane.byName)+len(lane.byPays) != 0 {
		t.Error("an empty lane remembers something")
	}
}

// TestTurns (I4): whatever tenants and routes come and go, between two jobs of
// a tenant that waits every other tenant that waits has its turn.
func TestTurns(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	l := newLoop(&Dispatcher{})
	lane := l.classes[wire.Standard]
	waited := map[string]int{} // turns of others since a tenant's last, or since it came
	for n := range 20_000 {
		if rng.IntN(2) == 0 || len(lane.lines) == 0 {
			tenant := fmt.Sprint("t", rng.IntN(rng.IntN(12)+1))
			if lane.byPays[tenant] == nil {
				waited[tenant] = 0
			}
			l.hold(testItem(fmt.Sprint(n), fmt.Sprint("r", rng.IntN(3)), tenant, wire.Standard))
			continue
		}
		ln := lane.next()
		l.pop(ln.next())
		for _, x := range lane.lines {
			waited[x.tenant]++
			if waited[x.tenant] > 12+1 {
				t.Fatalf("step %d: %s had no turn for %d", n, x.tenant, waited[x.tenant])
			}
		}
		waited[ln.tenant] = 0
		lane.sweep()
	}
}

// TestCredit (I5): less urgent jobs that wait earn a turn from more urgent
// ones that are placed, at most one, and none while they do not wait.
func TestCredit(t *testing.T) {
	l := newLoop(&Dispatcher{})
	std, bat := l.classes[wire.Standard], l.classes[wire.Batch]
	for range 100 {
		l.accrue(wire.Interactive)
	}
	if std.credit != 0 || bat.credit != 0 {
		t.Error("an empty lane earned a turn")
	}
	l.hold(testItem("b", "r", "a", wire.Batch))
	for range agedBatch - 1 {
		l.accrue(wire.Standard)
	}
	l.accrue(wire.Batch)
	if bat.credit != agedBatch-1 || std.credit != 0 {
		t.Errorf("credit %d and %d, want %d and 0", bat.credit, std.credit, agedBatch-1)
	}
	for range 100 {
		l.accrue(wire.Interactive)
	}
	if bat.credit != agedBatch {
		t.Errorf("credit %d, want at most %d", bat.credit, agedBatch)
	}
}

// TestEveryones: only reasons that do not depend on the job stop other
// tenants' jobs of the route.
func TestEveryones(t *testing.T) {
	res := func(rs ...router.Reason) *router.Result {
		out := &router.Result{}
		for _, r := range rs {
			out.Candidates = append(out.Candidates, router.Verdict{Excluded: r})
		}
		return out
	}
	if !everyones(res(router.Full, router.Down, router.CircuitOpen, router.ZeroWeight)) {
		t.Error("a full route is full for everyone")
	}
	for _, r := range []router.Reason{router.WrongTenant, router.WrongTier, router.WrongLabels, router.TooLong, router.OverMaxCost, router.PriceUnknown,
		router.NoCapability, router.NoEndpoint, router.RateLimited, router.Eligible, router.Tried} {
		if everyones(res(router.Full, r)) {
			t.Errorf("%s is the job's own affair", r)
		}
	}
}

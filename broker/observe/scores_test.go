package observe

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// newAdaptive has pools a, b and c on one route of moving weights.
func newAdaptive(t *testing.T) *fold {
	t.Helper()
	var pools []router.Pool
	route := router.RouteSpec{Name: "chat", Strategy: adaptStrategy}
	for i, name := range []string{"a", "b", "c"} {
		pools = append(pools, router.Pool{Name: name, Concurrency: 4})
		route.Candidates = append(route.Candidates, router.CandidateSpec{Pool: name, Model: "m", Weight: 1,
			Price: &wire.Price{Input: wire.Rate(1_000_000 * (i + 1)), Output: wire.Rate(2_000_000 * (i + 1))}})
	}
	route.Candidates[2].Quality = 0.5
	table, err := router.NewTable(pools, []router.RouteSpec{route})
	if err != nil {
		t.Fatal(err)
	}
	f := newFold("r1")
	f.set(Setup{Table: table})
	return f
}

func took(ttft, latency int64) func(*wire.Attempt) {
	return func(a *wire.Attempt) { a.TTFTMS, a.LatencyMS = ttft, latency }
}

// TestAdaptiveFactors: the weights follow the measured speed, within bounds,
// and are the same wherever the same records are folded.
func TestAdaptiveFactors(t *testing.T) {
	f, g := newAdaptive(t), newAdaptive(t)
	now := 1000 * second
	factor := func(f *fold, pool string) int32 { return f.factors[target{pool, "m"}] }
	feed := func(latency int64) {
		for i := range 1000 {
			for pool, ms := range map[string]int64{"a": 100, "b": 200, "c": latency} {
				r := end(pool, fmt.Sprint(i), took(50, 50+ms))
				f.record(r, now)
				g.record(r, now)
			}
			now += second / 2
			if i%7 == 0 {
				g.judge(now) // what a router does besides must not matter
			}
		}
	}
	feed(800)
	a, b, c := factor(f, "a"), factor(f, "b"), factor(f, "c")
	if !(a > 1000 && a > b && b > c && c >= 50) {
		t.Errorf("factors %d, %d, %d of pools that take 100, 200 and 800 ms", a, b, c)
	}
	feed(100)
	if later := factor(f, "c"); later < factor(f, "b") || later <= c {
		t.Errorf("%d of a pool that is as fast as the fastest again, %d of a slow one", later, factor(f, "b"))
	}
	for _, p := range []string{"a", "b", "c"} {
		if factor(f, p) != factor(g, p) || factor(f, p) == 0 {
			t.Errorf("pool %s: %d and %d at two routers", p, factor(f, p), factor(g, p))
		}
	}
	s := f.snapshot(now, nil)
	if s.Stats[0].Factor != factor(f, "a") {
		t.Errorf("%d in the snapshot", s.Stats[0].Factor)
	}
	f.adapt(now + int64(time.Hour)) // nothing is known any more
	if got := factor(f, "c"); got < 900 || got > 1100 {
		t.Errorf("%d after an hour without records", got)
	}
}

func TestAdaptingGroups(t *testing.T) {
	var pools []router.Pool
	for _, p := range []string{"a", "b", "c", "d", "e"} {
		pools = append(pools, router.Pool{Name: p})
	}
	route := func(name, strategy string, of ...string) router.RouteSpec {
		r := router.RouteSpec{Name: name, Strategy: strategy}
		for _, p := range of {
			r.Candidates = append(r.Candidates, router.CandidateSpec{Pool: p, Model: "m", Weight: 1})
		}
		return r
	}
	table, err := router.NewTable(pools, []router.RouteSpec{route("1", adaptStrategy, "a", "b"), route("2", adaptStrategy, "c", "d"),
		route("3", adaptStrategy, "b", "c"), route("4", "random", "d", "e"), route("5", adaptStrategy, "e")})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(adapting(table)); got != "[[0 1 2 3] [4]]" {
		t.Error(got)
	}
}

// TestScores compare a pool with its peers.
func TestScores(t *testing.T) {
	f := newAdaptive(t)
	now := 1000 * second
	if s := f.scores(now)[0]; s.Performance != nil || s.Reliability != nil || s.Quality != nil || *s.Cost != 100 {
		t.Errorf("before anything is known: %+v", s)
	}
	for i := range 100 {
		f.record(end("a", fmt.Sprint(i), took(100, 200)), now)
		if change := took(200, 400); i%4 == 0 {
			f.record(end("b", fmt.Sprint(i), failed(wire.CodeProviderError)), now)
		} else {
			f.record(end("b", fmt.Sprint(i), change), now)
		}
	}
	f.quality[target{"b", "m"}] = Quality{Score: 0.9, Reports: 3}
	all := f.scores(now)
	a, b, c := all[0], all[1], all[2]
	near := func(what string, got *float64, want float64) {
		t.Helper()
		if got == nil || *got < want-1 || *got > want+1 {
			t.Errorf("%s: %v, want %g", what, got, want)
		}
	}
	near("performance of a", a.Performance, 100)
	near("performance of b", b.Performance, 50)
	near("reliability of a", a.Reliability, 100)
	near("reliability of b", b.Reliability, 75)
	near("cost of a", a.Cost, 100)
	near("cost of b", b.Cost, 50)
	near("cost of c", c.Cost, 33)
	near("quality of b", b.Quality, 90)
	near("quality of c, as configured", c.Quality, 50)
	if a.Quality != nil || c.Performance != nil {
		t.Errorf("not known: %v, %v", a.Quality, c.Performance)
	}
	if s := f.snapshot(now, nil).Stats[1]; s.Quality != 0.9 {
		t.Errorf("quality %g for decisions", s.Quality)
	}
	f.quality[target{"b", "m"}] = Quality{Score: 0, Reports: 1}
	f.statsAt = 0
	if s := f.snapshot(now, nil).Stats[1]; s.Quality <= 0 {
		t.Error("the worst quality counts as not known")
	}
}

// TestPrefixes: what a conversation has said is where it was answered, for a
// while.
func TestPrefixes(t *testing.T) {
	var p prefixes
	now := 1000 * second
	m := func(tenant, affinity string) *wire.Meta {
		return &wire.Meta{Tenant: tenant, Route: "chat", Affinity: affinity}
	}
	ok := &wire.Attempt{Pool: "a", Status: wire.Succeeded, Usage: wire.Usage{Input: 10, CacheRead: 5, Output: 7, Reasoning: 100}}
	p.note(m("acme", ""), ok, now)
	p.note(m("acme", "s"), &wire.Attempt{Pool: "b", Status: wire.Failed}, now)
	if len(p.by) != 0 {
		t.Errorf("%v", p.by)
	}
	p.note(m("acme", "s"), ok, now)
	if got := p.by[conversation{"acme", "chat", "s"}]; got.pool != "a" || got.tokens != 22 || len(p.by) != 1 {
		t.Errorf("%+v", p.by)
	}
	if _, there := p.by[conversation{"other", "chat", "s"}]; there {
		t.Error("one tenant's conversation is another's")
	}
	for i := range 3 * prefixMost {
		p.note(m("acme", fmt.Sprint(rand.IntN(prefixMost))), ok, now)
		now += int64(time.Millisecond) * int64(i%2)
	}
	if len(p.by) > prefixMost || len(p.order) > prefixMost {
		t.Errorf("%d conversations, %d entries", len(p.by), len(p.order))
	}
	p.note(m("acme", "last"), ok, now+2*prefixFor)
	if len(p.by) != 1 || len(p.order) != 1 {
		t.Errorf("%d conversations after a while", len(p.by))
	}
}

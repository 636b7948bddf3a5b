package router

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

// The conformance suite runs for whatever is registered. Nothing in it knows
// a strategy by name.

func eachStrategy(t *testing.T, run func(t *testing.T, doc StrategyDoc)) {
	for _, doc := range Strategies() {
		t.Run(doc.Name, func(t *testing.T) { run(t, doc) })
	}
}

func TestDocumented(t *testing.T) {
	for _, doc := range Strategies() {
		if doc.Name == "" || doc.Summary == "" || doc.Picker == "" || doc.Weights == "" {
			t.Errorf("strategy without documentation: %+v", doc)
		}
	}
	for _, s := range scorers() {
		if s.name == "" || s.doc == "" {
			t.Errorf("scorer without documentation: %q", s.name)
		}
	}
	if n := len(Strategies()); n != 17 {
		t.Errorf("%d strategies", n)
	}
}

// I1: equal arguments give equal results, whatever the Result held before.
func TestFunctionOfInput(t *testing.T) {
	eachStrategy(t, func(t *testing.T, doc StrategyDoc) {
		rng, seed := newRand(t)
		var reused Result
		for range 300 {
			c := randomCase(rng, doc.Name)
			table, route := c.table(t)
			before := fmt.Sprintf("%+v %+v %+v", c.load, c.in, *c.in.Meta)
			var fresh Result
			table.Decide(route, c.load, &c.in, &fresh)
			table.Decide(route, c.load, &c.in, &reused)
			if !sameResult(&fresh, &reused) {
				t.Fatalf("seed %d: results differ:\n%+v\n%+v", seed, fresh.Candidates, reused.Candidates)
			}
			if after := fmt.Sprintf("%+v %+v %+v", c.load, c.in, *c.in.Meta); after != before {
				t.Fatalf("seed %d: Decide changed its arguments", seed)
			}
			checkResult(t, route, &fresh)
		}
	})
}

func sameResult(a, b *Result) bool {
	return a.Choice == b.Choice && a.Full == b.Full && a.Until == b.Until && a.Explored == b.Explored &&
		reflect.DeepEqual(a.Candidates, b.Candidates)
}

// checkResult checks I3, I4 and that scores are sane.
func checkResult(t *testing.T, route *Route, r *Result) {
	t.Helper()
	if len(r.Candidates) != len(route.Candidates()) {
		t.Fatalf("%d verdicts for %d candidates", len(r.Candidates), len(route.Candidates()))
	}
	eligible := 0
	for i, v := range r.Candidates {
		if v.Excluded == Eligible {
			eligible++
			if route.Candidates()[i].Weight == 0 {
				t.Fatalf("candidate %d of weight 0 is eligible", i)
			}
		}
		if !(v.Score >= 0 && v.Score < 1e300) {
			t.Fatalf("candidate %d has score %v", i, v.Score)
		}
	}
	switch {
	case r.Choice < 0 && eligible > 0:
		t.Fatalf("%d are eligible, none was chosen", eligible)
	case r.Choice >= 0 && r.Candidates[r.Choice].Excluded != Eligible:
		t.Fatalf("chose a candidate that is excluded: %q", r.Candidates[r.Choice].Excluded)
	case r.Choice >= 0 && r.Full:
		t.Fatal("full, though one was chosen")
	}
}

// I2: the order of pools and candidates changes nothing.
func TestStableUnderReordering(t *testing.T) {
	eachStrategy(t, func(t *testing.T, doc StrategyDoc) {
		rng, seed := newRand(t)
		for range 300 {
			c := randomCase(rng, doc.Name)
			want, got := c.outcome(t), c.shuffled(rng).outcome(t)
			if want != got {
				t.Fatalf("seed %d:\n%s\nreordered:\n%s", seed, want, got)
			}
		}
	})
}

// I8: no allocation.
func TestNoAllocation(t *testing.T) {
	eachStrategy(t, func(t *testing.T, doc StrategyDoc) {
		rng, _ := newRand(t)
		c := randomCase(rng, doc.Name)
		table, route := c.table(t)
		var out Result
		table.Decide(route, c.load, &c.in, &out)
		if n := testing.AllocsPerRun(100, func() { table.Decide(route, c.load, &c.in, &out); c.in.Sequence++ }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// Room is used to the last slot, whoever is preferred: nobody starves while
// there is work for all.
func TestFillsEveryPool(t *testing.T) {
	eachStrategy(t, func(t *testing.T, doc StrategyDoc) {
		f := benchFixture(t, doc.Name, 12)
		for i := range f.load {
			f.load[i] = Load{}
		}
		for range 12 * 96 {
			if f.next() == "-" {
				break
			}
			f.load[f.route.Candidates()[f.out.Choice].Pool].Depth++
		}
		for i, l := range f.load {
			if l.Depth != 96 {
				t.Errorf("pool %d has %d jobs, want 96", i, l.Depth)
			}
		}
		if got := f.next(); got != "-" || !f.out.Full {
			t.Errorf("chose %s of full pools", got)
		}
	})
}

// Candidates that look the same split the jobs by weight: chi-square. So do,
// whatever was measured, those of strategies that promise shares.
func TestSharesChiSquare(t *testing.T) {
	weights := []int{1, 2, 3, 0, 10, 4}
	eachStrategy(t, func(t *testing.T, doc StrategyDoc) {
		if doc.LoadAware {
			return // see TestDepthsFollowWeights
		}
		f := simple(t, doc.Name, weights...)
		const n = 20_000
		got := map[string]int{}
		for i := range n {
			f.in.Meta.Affinity = fmt.Sprint("user-", i)
			got[f.next()]++
		}
		if x, limit := chiSquare(got, weights, n), 18.5; x > limit { // 4 degrees of freedom, p = 0.001
			t.Errorf("chi-square %.1f > %.1f: %v", x, limit, got)
		}
		if got["p3"] != 0 {
			t.Errorf("weight 0 was chosen %d times", got["p3"])
		}
		if !doc.Shares {
			return
		}
		g := benchFixture(t, doc.Name, 6)
		unequal, ws := map[string]int{}, []int{1, 2, 3, 4, 5, 6}
		for range n {
			unequal[g.next()]++
		}
		if x := chiSquare(unequal, ws, n); x > 20.5 { // 5 degrees of freedom
			t.Errorf("with measurements: chi-square %.1f: %v", x, unequal)
		}
	})
}

// chiSquare of counts by pool p0, p1, … against weights.
func chiSquare(got map[string]int, weights []int, n int) float64 {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	x := 0.0
	for i, w := range weights {
		if w == 0 {
			continue
		}
		want := float64(n) * float64(w) / float64(sum)
		d := float64(got[fmt.Sprintf("p%d", i)]) - want
		x += d * d / want
	}
	return x
}

// Where depths are compared, what is at the pools follows the weights.
func TestDepthsFollowWeights(t *testing.T) {
	weights := []int{1, 2, 3, 0, 10, 4}
	eachStrategy(t, func(t *testing.T, doc StrategyDoc) {
		if !doc.LoadAware {
			return
		}
		f := simple(t, doc.Name, weights...)
		for range 2000 {
			f.next()
			f.load[f.route.Candidates()[f.out.Choice].Pool].Depth++
		}
		for i, w := range weights {
			want := 2000 * float64(w) / 20
			if got := float64(f.load[i].Depth); got < 0.85*want || got > 1.15*want {
				t.Errorf("p%d of weight %d has %v jobs, want about %v", i, w, got, want)
			}
		}
	})
}

// Strategies that go by measurements renew those of everyone.
func TestExploration(t *testing.T) {
	for _, st := range registry {
		if st.explore == 0 {
			continue
		}
		f := benchFixture(t, st.doc.Name, 4)
		explored, got := 0, map[string]int{}
		for range 20_000 {
			name := f.next()
			if f.out.Explored {
				explored++
				got[name]++
			}
		}
		if explored != 20_000/st.explore {
			t.Errorf("%s: %d explored", st.doc.Name, explored)
		}
		for i := range 4 {
			if want := explored * (i + 1) / 10; got[fmt.Sprintf("p%d", i)] < want/2 {
				t.Errorf("%s: %v", st.doc.Name, got)
			}
		}
		f.route.spec.Params.Explore = -1
		for range 100 {
			if f.next(); f.out.Explored {
				t.Fatalf("%s: explored, though told not to", st.doc.Name)
			}
		}
	}
}

func newRand(t *testing.T) (*rand.Rand, uint64) {
	seed := rand.Uint64()
	if *seedFlag != 0 {
		seed = *seedFlag
	}
	t.Logf("seed %d (repeat with -seed %d)", seed, seed)
	return rand.New(rand.NewPCG(seed, 1)), seed
}

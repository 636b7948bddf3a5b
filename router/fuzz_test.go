package router

import (
	"math/rand/v2"
	"testing"
)

// FuzzOracle looks for a case on which the router and its oracle differ.
func FuzzOracle(f *testing.F) {
	for i := range uint64(64) {
		f.Add(i, i*7)
	}
	names := strategyNames()
	f.Fuzz(func(t *testing.T, seed, which uint64) {
		c := randomCase(rand.New(rand.NewPCG(seed, which)), names[which%uint64(len(names))])
		table, route := c.table(t)
		var r Result
		table.Decide(route, c.load, &c.in, &r)
		o := oracle{snapshot: c}
		choice, explored := o.decide()
		if fault := o.compare(&r, choice, explored); fault != "" {
			t.Fatal(fault)
		}
		checkResult(t, route, &r)
	})
}

// FuzzLimits gives Decide numbers that no caller should.
func FuzzLimits(f *testing.F) {
	f.Add(int32(-1), int64(-1), int64(1<<62), -1.0, uint64(1<<63), 5)
	f.Add(int32(1<<30), int64(1<<62), int64(-1<<62), 1e300, uint64(0), 900)
	f.Fuzz(func(t *testing.T, depth int32, a, b int64, x float64, seq uint64, kind int) {
		doc := Strategies()[uint(kind)%uint(len(registry))]
		g := benchFixture(t, doc.Name, 5)
		g.in.Sequence, g.in.Random = seq, seq*31
		g.in.InputTokens, g.in.OutputTokens, g.in.CachedTokens, g.in.CachedPool = a, b, a^b, "p1"
		g.in.Meta.MaxTokens, g.in.Meta.BodyBytes = b, int(a)
		for i := range g.load {
			g.load[i].Depth, g.load[i].Tokens = depth>>i, Quota{a, b, a}
		}
		for i := range g.in.Stats {
			q := Quantiles{x, -x, x * 2, x / 3, x}
			g.in.Stats[i] = Stats{Success: x, Samples: x, Throughput: x, PeakEWMA: x, CacheShare: x, Quality: x, Factor: depth, TTFT: q, PerToken: q}
		}
		g.decide()
		checkResult(t, g.route, &g.out)
	})
}

// FuzzSchedule compares compiled windows with the calendar's own arithmetic.
func FuzzSchedule(f *testing.F) {
	f.Add(uint8(0), 0, 0, int64(0))
	f.Add(uint8(64), 1400, 100, int64(1e18))
	f.Fuzz(func(t *testing.T, days uint8, from, to int, now int64) {
		w := Hours{Days: days & 127, From: int(uint(from) % minutesPerDay), To: int(uint(to) % (minutesPerDay + 1))}
		if now < 0 {
			now = -(now + 1)
		}
		spec := CandidateSpec{Pool: "p0", Schedule: &Schedule{Windows: []Hours{w}}}
		o := oracle{snapshot: &snapshot{in: Input{Now: now}}, cands: []CandidateSpec{spec}}
		s := compileSchedule(spec.Schedule)
		minute := minuteOfWeek(now, s.location)
		if got, want := s.active(minute), o.onSchedule(0); got != want {
			t.Errorf("%+v at minute %d: %v, want %v", w, minute, got, want)
		}
		if wait := s.wait(minute); !s.active((minute + wait) % minutesPerWeek) {
			t.Errorf("%+v: after the wait of %d minutes it is not open", w, wait)
		}
	})
}

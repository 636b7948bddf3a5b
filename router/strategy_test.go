package router

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// tuned is a fixture whose candidates were changed before it was compiled.
func tuned(t *testing.T, strategy string, n int, change func(pools []Pool, spec *RouteSpec)) *fixture {
	pools, spec := poolsOf(n, 10), specOf(strategy)
	for _, p := range pools {
		spec.Candidates = append(spec.Candidates, CandidateSpec{Pool: p.Name, Model: "m", Weight: 1})
	}
	change(pools, &spec)
	f := newFixture(t, pools, spec)
	f.in.Stats = make([]Stats, len(f.table.Targets()))
	return f
}

func (f *fixture) want(t *testing.T, what, pool string) {
	t.Helper()
	if got := f.next(); got != pool {
		t.Errorf("%s: got %s, want %s (%+v)", what, got, pool, f.out.Candidates)
	}
}

func TestCostCountsTheCache(t *testing.T) {
	f := tuned(t, "cost", 3, func(_ []Pool, spec *RouteSpec) {
		spec.Candidates[0].Price = &wire.Price{Input: 1_000_000, CacheRead: 100_000, Output: 1_000_000}
		spec.Candidates[1].Price = &wire.Price{Input: 800_000, CacheRead: 800_000, Output: 1_000_000}
	})
	f.in.InputTokens, f.in.OutputTokens = 1000, 10
	f.want(t, "cheaper input", "p1")
	f.in.CachedPool, f.in.CachedTokens = "p0", 900
	f.want(t, "cached prefix", "p0")
	if got := f.out.Candidates[0].Score; got != 100*1000+900*100+10*1000 {
		t.Errorf("expected cost %v", got)
	}
	f.in.CachedPool = ""
	f.in.Stats[0].CacheShare = 0.9
	f.want(t, "cache share", "p0")
	f.load[0].Down, f.load[1].Down = true, true
	f.want(t, "unknown price last", "p2")
}

func TestCostBeyondInt64(t *testing.T) {
	f := tuned(t, "cost", 2, func(_ []Pool, spec *RouteSpec) {
		spec.Candidates[0].Price = &wire.Price{Input: 1 << 60, Output: 1 << 60}
		spec.Candidates[1].Price = &wire.Price{Input: 1 << 59}
	})
	f.in.InputTokens = 1 << 50
	f.want(t, "huge", "p1")
}

func TestCostDependsOnTheJob(t *testing.T) {
	f := tuned(t, "cost", 2, func(_ []Pool, spec *RouteSpec) {
		spec.Candidates[0].Price = &wire.Price{Input: 100_000, Output: 2_000_000}
		spec.Candidates[1].Price = &wire.Price{Input: 500_000, Output: 500_000}
	})
	f.in.InputTokens, f.in.OutputTokens = 10_000, 10
	f.want(t, "long prompt", "p0")
	f.in.InputTokens, f.in.OutputTokens = 10, 1000
	f.want(t, "long answer", "p1")
}

func TestGeographic(t *testing.T) {
	change := func(pools []Pool, spec *RouteSpec) {
		pools[0].Region, pools[1].Region, pools[2].Region = "us-east", "us-west", "eu-west"
		spec.Params.Nearness = map[string][]string{"asia": {"us-west", "eu-west"}}
	}
	f := tuned(t, "geographic", 3, change)
	for region, want := range map[string]string{"us-east": "p0", "us-west": "p1", "eu-west": "p2", "eu-north": "p2", "asia": "p1"} {
		f.in.Meta.Region = region
		f.want(t, region, want)
	}
	f.in.Meta.Region = "us-east"
	f.load[0].Depth = 15
	f.want(t, "spill over", "p1")
	f.load[1].Depth = 15
	f.want(t, "spill further", "p2")
	f = tuned(t, "geographic", 3, change)
	f.in.Meta.Region = ""
	if got := f.counts(300); len(got) != 3 {
		t.Errorf("no region: %v", got)
	}
}

func TestPriorityTiers(t *testing.T) {
	f := tuned(t, "priority_tiers", 3, func(_ []Pool, spec *RouteSpec) {
		spec.Candidates[0].Priority, spec.Candidates[1].Priority, spec.Candidates[2].Priority = 2, 1, 1
		spec.Candidates[2].Weight = 3
	})
	if got := f.counts(400); got["p0"] != 0 || got["p2"] < 250 || got["p1"] < 60 {
		t.Errorf("got %v", got)
	}
	f.load[1].Depth, f.load[2].Depth = 15, 15
	f.want(t, "spill over", "p0")
}

func TestTimeBased(t *testing.T) {
	berlin := time.FixedZone("CEST", 2*3600)
	f := tuned(t, "time_based", 2, func(_ []Pool, spec *RouteSpec) {
		// Friday night in Berlin, over midnight.
		spec.Candidates[0].Schedule = &Schedule{Location: berlin, Windows: []Hours{{Days: 1 << time.Friday, From: 22 * 60, To: 6 * 60}}}
	})
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{time.Date(2026, 6, 12, 21, 59, 59, 0, berlin), "p1"},
		{time.Date(2026, 6, 12, 22, 0, 0, 0, berlin), "p0"},
		{time.Date(2026, 6, 12, 21, 0, 0, 0, time.UTC), "p0"},
		{time.Date(2026, 6, 13, 5, 59, 0, 0, berlin), "p0"},
		{time.Date(2026, 6, 13, 6, 0, 0, 0, berlin), "p1"},
		{time.Date(2026, 6, 14, 1, 0, 0, 0, berlin), "p1"},
	} {
		f.in.Now = c.at.UnixNano()
		f.want(t, c.at.String(), c.want)
	}
	f.load[1].Down = true
	f.in.Now = time.Date(2026, 6, 12, 21, 30, 15, 0, berlin).UnixNano()
	f.want(t, "nobody", "-")
	if want := time.Date(2026, 6, 12, 22, 0, 0, 0, berlin).UnixNano(); f.out.Until != want {
		t.Errorf("until %v", time.Unix(0, f.out.Until).In(berlin))
	}
}

// Over the end of the week.
func TestScheduleWraps(t *testing.T) {
	s := compileSchedule(&Schedule{Windows: []Hours{{Days: 1 << time.Saturday, From: 1380, To: 60}}})
	for minute, want := range map[int32]bool{0: true, 59: true, 60: false, minutesPerWeek - 60: true, minutesPerWeek - 61: false} {
		if s.active(minute) != want {
			t.Errorf("minute %d: %v", minute, !want)
		}
	}
	if got := s.wait(60); got != minutesPerWeek-120 {
		t.Errorf("wait %d", got)
	}
	if day := (Hours{From: 60, To: 60}).length(); day != minutesPerDay {
		t.Errorf("from 1:00 to 1:00 is %d minutes", day)
	}
}

func TestMeasuredStrategies(t *testing.T) {
	for _, c := range []struct {
		strategy   string
		good, poor Stats
	}{
		{"latency", Stats{TTFT: Quantiles{P90: 100}, PerToken: Quantiles{P90: 5}}, Stats{TTFT: Quantiles{P90: 50}, PerToken: Quantiles{P90: 20}}},
		{"performance", Stats{TTFT: Quantiles{Mean: 120}, Samples: 1000, Success: 1}, Stats{TTFT: Quantiles{Mean: 100}, Samples: 1000, Success: 0.5}},
		{"throughput", Stats{Throughput: 80}, Stats{Throughput: 50}},
		{"quality", Stats{Quality: 0.9}, Stats{Quality: 0.8}},
		{"power_of_two", Stats{PeakEWMA: 100}, Stats{PeakEWMA: 900}},
		{"multi_dimensional", Stats{TTFT: Quantiles{Mean: 100}}, Stats{TTFT: Quantiles{Mean: 200}}},
	} {
		f := tuned(t, c.strategy, 2, func([]Pool, *RouteSpec) {})
		f.in.Stats[0], f.in.Stats[1] = c.poor, c.good
		if got := f.counts(49); got["p1"] < 30 {
			t.Errorf("%s: %v", c.strategy, got)
		}
		if poor, good := f.out.Candidates[0].Score, f.out.Candidates[1].Score; poor <= good {
			t.Errorf("%s: scores %v and %v", c.strategy, poor, good)
		}
	}
}

// Who was never measured is tried as if it were the best.
func TestUnmeasuredIsTried(t *testing.T) {
	for _, strategy := range []string{"latency", "performance", "throughput"} {
		f := tuned(t, strategy, 3, func([]Pool, *RouteSpec) {})
		f.in.Stats[0] = Stats{TTFT: Quantiles{100, 100, 100, 100, 100}, Throughput: 10}
		f.in.Stats[1] = Stats{TTFT: Quantiles{200, 200, 200, 200, 200}, Throughput: 5}
		if got := f.counts(1000); got["p2"] < 350 || got["p1"] > 60 {
			t.Errorf("%s: %v", strategy, got)
		}
	}
}

func TestHealthBased(t *testing.T) {
	f := tuned(t, "health_based", 2, func([]Pool, *RouteSpec) {})
	f.in.Stats[0] = Stats{Samples: 1e6, Success: 0.5}
	f.in.Stats[1] = Stats{Samples: 1e6, Success: 1}
	if got := f.counts(1250); got["p0"] < 240 || got["p0"] > 260 {
		t.Errorf("got %v, want a fifth at p0", got)
	}
	f.in.Stats[0].Success = 0
	if got := f.counts(5005); got["p0"] < 1 || got["p0"] > 10 {
		t.Errorf("nothing succeeds: %v", got)
	}
}

func TestAdaptiveWeightsFollowFactors(t *testing.T) {
	f := tuned(t, "adaptive_weights", 2, func([]Pool, *RouteSpec) {})
	f.in.Stats[0].Factor, f.in.Stats[1].Factor = 500, 1500
	if got := f.counts(2000); got["p0"] != 500 {
		t.Errorf("got %v", got)
	}
}

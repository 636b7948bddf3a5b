package router

import (
	"math"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

const second = int64(time.Second)

func near(got, want, part float64) bool { return math.Abs(got-want) <= part*math.Abs(want)+1e-12 }

func TestMean(t *testing.T) {
	m := Mean{}
	if m.Value() != 0 || m.Samples(5, second) != 0 {
		t.Error("empty mean")
	}
	m = m.Add(0, 10, second).Add(second, 20, second) // weights 0.5 and 1
	if !near(m.Value(), 25.0/1.5, 1e-9) {
		t.Errorf("mean %v", m.Value())
	}
	if got := m.Samples(2*second, second); !near(got, 0.75, 1e-9) {
		t.Errorf("samples %v", got)
	}
	if late := m.Add(0, 20, second); late.At != second {
		t.Error("a late sample moved time back")
	}
}

func TestPeak(t *testing.T) {
	p := Peak{}.Add(0, 100, second)
	if p = p.Add(0, 400, second); p.Mean != 400 {
		t.Errorf("up at once: %v", p.Mean)
	}
	if p = p.Add(second, 100, second); !near(p.Mean, 250, 1e-9) {
		t.Errorf("down slowly: %v", p.Mean)
	}
	if got := p.Value(2*second, second); !near(got, 125, 1e-9) {
		t.Errorf("falls: %v", got)
	}
}

func TestHistogramQuantiles(t *testing.T) {
	h := Histogram{}
	if h.Quantile(0.5) != 0 {
		t.Error("empty histogram")
	}
	for i := 1; i <= 1000; i++ {
		h.Add(int64(i), float64(i), 60*second)
	}
	for q, want := range map[float64]float64{0.5: 500, 0.9: 900, 0.95: 950, 0.99: 990} {
		if got := h.Quantile(q); !near(got, want, 0.13) {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	for _, x := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		h.Add(0, x, second)
	}
	if !near(h.Total, 1000, 1e-3) {
		t.Errorf("nonsense was counted: %v", h.Total)
	}
	h.Add(0, 1e-9, second)
	h.Add(0, 1e14, second) // beyond the ends: in the last buckets
}

// Old samples give way, also over times at which weights are scaled down.
func TestHistogramForgets(t *testing.T) {
	for _, gap := range []int64{5, 19, 21, 500} {
		h := Histogram{}
		for range 100 {
			h.Add(0, 1000, second)
		}
		for range 20 {
			h.Add(gap*second, 10, second)
		}
		if got := h.Quantile(0.5); !near(got, 10, 0.13) {
			t.Errorf("after %d half-lives: median %v", gap, got)
		}
	}
}

func TestOutcomeOf(t *testing.T) {
	a := wire.Attempt{Status: wire.Succeeded, TTFTMS: 5, LatencyMS: 50, Usage: wire.Usage{Input: 10, CacheRead: 30, Output: 7, Reasoning: 2}}
	o, ok := OutcomeOf(&a, 99)
	if want := (Outcome{At: 99, OK: true, TTFTMS: 5, LatencyMS: 50, Output: 9, Input: 40, CacheRead: 30}); !ok || o != want {
		t.Errorf("got %+v", o)
	}
	for code, counts := range map[wire.Code]bool{
		wire.CodeProviderError: true, wire.CodeTimeout: true, wire.CodeStreamTruncated: true, wire.CodeProviderAuth: true,
		wire.CodeProviderRefused: false, wire.CodeRateLimited: false, wire.CodeContextLength: false,
	} {
		a := wire.Attempt{Status: wire.Failed, ErrorCode: code, LatencyMS: 3}
		if o, ok := OutcomeOf(&a, 1); ok != counts || o.OK || o.LatencyMS != 0 {
			t.Errorf("%s: %+v, %v", code, o, ok)
		}
	}
	for _, s := range []wire.Status{wire.Cancelled, wire.Expired, wire.Interrupted} {
		if _, ok := OutcomeOf(&wire.Attempt{Status: s}, 1); ok {
			t.Errorf("%s counts", s)
		}
	}
}

func TestTrack(t *testing.T) {
	var track Track
	cfg := TrackConfig{}
	if got := track.Stats(cfg, 0); got != (Stats{}) {
		t.Errorf("empty track: %+v", got)
	}
	for i := range int64(100) {
		track.Add(cfg, Outcome{At: i * second / 10, OK: true, TTFTMS: 200, LatencyMS: 1200, Output: 100, Input: 50, CacheRead: 10})
		if i%4 == 3 {
			track.Add(cfg, Outcome{At: i * second / 10})
		}
	}
	s := track.Stats(cfg, 10*second)
	if !near(s.Success, 0.8, 0.01) || !near(s.Throughput, 100, 1e-6) || !near(s.CacheShare, 0.2, 1e-6) {
		t.Errorf("stats %+v", s)
	}
	if !near(s.TTFT.P90, 200, 0.07) || !near(s.PerToken.Mean, 10, 1e-6) || !near(s.PerToken.P50, 10, 0.07) || !near(s.PeakEWMA, 1200, 0.01) {
		t.Errorf("latencies %+v", s)
	}
	if later := track.Stats(cfg, 3600*second); later != (Stats{}) {
		t.Errorf("an hour later: %+v", later)
	}
}

// A sudden change shows in the vital long before it shows in the baseline.
func TestVital(t *testing.T) {
	var track Track
	cfg := TrackConfig{}
	at := int64(0)
	for range 600 {
		at += second / 2
		track.Add(cfg, Outcome{At: at, OK: true, TTFTMS: 100, LatencyMS: 1000, Output: 84})
	}
	if v := track.Vital(cfg, at); !near(v.Slowdown, 1, 0.01) || v.Success != 1 || v.Samples < 10 {
		t.Errorf("steady: %+v", v)
	}
	for range 10 {
		at += second
		track.Add(cfg, Outcome{At: at, OK: true, TTFTMS: 1000, LatencyMS: 10_000, Output: 84})
	}
	if v := track.Vital(cfg, at); v.Slowdown < 4 {
		t.Errorf("ten times slower: %+v", v)
	}
	for range 10 {
		track.Add(cfg, Outcome{At: at})
	}
	if v := track.Vital(cfg, at); v.Success > 0.6 {
		t.Errorf("failing: %+v", v)
	}
	track.Return()
	if v := track.Vital(cfg, at); v.Samples != 0 || v.Slowdown != 1 {
		t.Errorf("after its return: %+v", v)
	}
}

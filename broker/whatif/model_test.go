package whatif

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestFitFindsTheLine: time to first token and speed are found among outliers
// and noise, for all lengths or just one.
func TestFitFindsTheLine(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	pools := []router.Pool{{Name: "p", Concurrency: 4}}
	table := tableOf(t, pools, routeOver("chat", "round_robin", pools))
	k := Target{"p", "m"}
	p := Fit(records(k, 2000, time.Second, func(int) (int64, time.Duration) {
		n := 1 + rng.Int64N(800)
		d := 300 + float64(n-1)/80*1000*(0.9+0.2*rng.Float64())
		if rng.IntN(20) == 0 {
			d *= 5 // stood in a queue of its own
		}
		return n, time.Duration(d * 1e6)
	}), table).Profiles[k]
	if math.Abs(p.First-300) > 60 || math.Abs(1000/p.Each-80) > 3 {
		t.Errorf("time to first token %.0f ms, %.1f tokens/s; want 300, 80", p.First, 1000/p.Each)
	}
	if n, failed := p.Samples(); n != 2000 || failed != 0 {
		t.Errorf("%d samples, %d failed", n, failed)
	}
	for _, c := range []struct {
		n    int
		want float64
	}{{1, 1000.5}, {50, 1000.5}} { // one length only: all of it is the first token
		p := Fit(records(k, c.n, time.Second, func(int) (int64, time.Duration) { return 100, time.Second }), table).Profiles[k]
		if p.First != c.want || p.Each != 0 {
			t.Errorf("%d equal answers: %v ms, %v ms a token", c.n, p.First, p.Each)
		}
	}
}

// TestDrawsAreAsRecorded: attempts that are drawn fail as often, by the same
// errors, and take as long as those recorded near that time; long and short
// answers keep their own spread.
func TestDrawsAreAsRecorded(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	pools := []router.Pool{{Name: "p", Concurrency: 4}}
	table := tableOf(t, pools, routeOver("chat", "round_robin", pools))
	k := Target{"p", "m"}
	lengths := []int64{10, 1000}
	// In the second half the provider fails a fifth of the calls and is twice as
	// slow; short answers vary by half, long ones not at all.
	n := 4000
	list := records(k, n, time.Second, func(i int) (int64, time.Duration) {
		d := 100 + float64(lengths[i%2]-1)*10
		if i%2 == 0 {
			d *= 0.5 + rng.Float64()
		}
		if i >= n/2 {
			d *= 2
		}
		return lengths[i%2], time.Duration(d * 1e6)
	})
	for i := n / 2; i < n; i += 5 {
		a := &list[i].Attempts[0]
		a.Status, a.Code, a.HTTP, a.Taken, a.Usage = wire.Failed, wire.CodeTimeout, 504, 7*time.Second, wire.Usage{}
		a.Ended = begin + int64(i)*int64(time.Second) + int64(a.Taken)
		list[i].Status = wire.Failed
	}
	p := Fit(list, table).Profiles[k]
	for _, c := range []struct {
		half        int
		fails, slow float64
	}{{0, 0, 1}, {1, 0.2, 2}} {
		for which, tokens := range lengths {
			failed, sum, low, high, draws := 0.0, 0.0, math.Inf(1), 0.0, 20_000
			for range draws {
				at := begin + int64((float64(c.half)*0.5+0.05+0.4*rng.Float64())*float64(n)*1e9)
				d := p.draw(rng, at, 500, tokens)
				if d.status != wire.Succeeded {
					if failed++; d.code != wire.CodeTimeout || d.http != 504 || d.taken/1e6 != 7000 || d.usage != (wire.Usage{}) {
						t.Fatalf("%+v", d)
					}
					continue
				}
				if d.usage != (wire.Usage{Input: 500, Output: tokens}) || d.ttft > d.taken {
					t.Fatalf("%+v", d)
				}
				ms := float64(d.taken) / 1e6
				sum, low, high = sum+ms, min(low, ms), max(high, ms)
			}
			name := fmt.Sprintf("half %d, %d tokens", c.half, tokens)
			if share := failed / float64(draws); math.Abs(share-c.fails) > 0.015 {
				t.Errorf("%s: %.3f fail, want %.3f", name, share, c.fails)
			}
			want := c.slow * (100 + float64(tokens-1)*10)
			if mean := sum / (float64(draws) - failed); math.Abs(mean-want) > 0.05*want {
				t.Errorf("%s: %.0f ms, want %.0f", name, mean, want)
			}
			if wide := high / low; which == 0 && wide < 2 || which == 1 && wide > 1.01 {
				t.Errorf("%s: from %.0f to %.0f ms", name, low, high)
			}
		}
	}
}

// TestConfigured: a simulated pool that was never used answers by its figures.
func TestConfigured(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	p := Configure(Target{"p", "m"}, Configured{TTFT: 300 * time.Millisecond, TokensPerSecond: 50, ErrorShare: 0.1, CacheShare: 0.5, ReasoningShare: 0.25,
		Errors: []Fault{{Code: wire.CodeRateLimited, HTTP: 429, After: time.Second}, {Code: wire.CodeConnection, HTTP: 200, Answers: true}}})
	codes := map[wire.Code]int{}
	for range 20_000 {
		d := p.draw(rng, rng.Int64(), 100, 101)
		codes[d.code]++
		whole := wire.Usage{Input: 50, CacheRead: 50, Output: 76, Reasoning: 25}
		switch d.code {
		case "", wire.CodeConnection:
			if d.taken != int64(2300*time.Millisecond) || d.usage != whole || d.code == "" && d.ttft != int64(300*time.Millisecond) {
				t.Fatalf("%+v", d)
			}
		default:
			if d.taken != 0 || d.after != int64(time.Second) || d.usage != (wire.Usage{}) {
				t.Fatalf("%+v", d)
			}
		}
	}
	for _, c := range []wire.Code{wire.CodeRateLimited, wire.CodeConnection} {
		if n := codes[c]; n < 800 || n > 1200 {
			t.Errorf("%s %d times of 20000, want 1000", c, n)
		}
	}
}

// TestReplay: arrivals in order, held-back jobs from when they could run, and
// tokens of those who have none from a neighbour.
func TestReplay(t *testing.T) {
	k := Target{"p", "m"}
	list := records(k, 4, time.Second, func(i int) (int64, time.Duration) { return int64(10 * (i + 1)), time.Second })
	list[0], list[3] = list[3], list[0]
	list[1].Attempts, list[1].Status = nil, wire.Expired // waited in vain
	list[2].Submitted -= int64(time.Hour)                // was to run an hour later
	jobs := Replay(list)
	if jobs[0].Meta.SubmittedAt != begin || jobs[3].Meta.SubmittedAt != begin+3*int64(time.Second) {
		t.Fatalf("%+v", jobs)
	}
	if held := jobs[2]; held.Meta.SubmittedAt != begin+2*int64(time.Second) || held.Output != 30 {
		t.Errorf("%+v", held)
	}
	if lost := jobs[1]; lost.Ends != wire.Expired || lost.Until != list[1].Finished || lost.Output != 10 || lost.Input != 100 || lost.Kept != "" {
		t.Errorf("%+v", lost)
	}
	o := Told(list)
	if e := o.Jobs[2]; e.Total != int64(time.Second) {
		t.Errorf("a job that was held back took %v", time.Duration(e.Total))
	}
	if f := o.Figures(); f.Jobs != 4 || f.Succeeded != 3 || f.Failed != 1 || f.Attempts != 3 || len(f.Targets) != 1 || f.Targets[0].Share != 1 {
		t.Errorf("%+v", f)
	}
}

// TestMean: means over plays, and how far they lie apart.
func TestMean(t *testing.T) {
	a := Figures{Jobs: 10, Cost: 90, Latency: Spread{P95: 100}, Targets: []Share{{Pool: "a", Attempts: 10, Share: 1}}}
	b := Figures{Jobs: 10, Cost: 110, Latency: Spread{P95: 300}, Targets: []Share{{Pool: "b", Attempts: 10, Share: 1}}}
	m, cost, p95 := Mean([]Figures{a, b})
	if m.Jobs != 10 || m.Cost != 100 || m.Latency.P95 != 200 || math.Abs(cost-0.1) > 1e-9 || math.Abs(p95-0.5) > 1e-9 || len(m.Targets) != 2 || m.Targets[0].Share != 0.5 {
		t.Errorf("%+v, %v, %v", m, cost, p95)
	}
}

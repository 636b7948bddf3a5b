package router

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// benchFixture is a route of n candidates of which everything is known.
func benchFixture(b testing.TB, strategy string, n int) *fixture {
	pools, spec := poolsOf(n, 64), RouteSpec{Name: "chat", Strategy: strategy}
	regions := []string{"us-east", "us-west", "eu-west", "ap-south"}
	for i := range pools {
		pools[i].Region = regions[i%len(regions)]
		spec.Candidates = append(spec.Candidates, CandidateSpec{
			Pool: pools[i].Name, Model: "m", Weight: 1 + i%7, Priority: i % 3, Quality: 0.5,
			Price: &wire.Price{Input: wire.Rate(100_000 + i), Output: 400_000},
		})
	}
	f := newFixture(b, pools, spec)
	f.in.Meta.Affinity, f.in.Meta.Region = "user-1", "us-east"
	f.in.Now = 1e18
	for i := range f.load {
		f.load[i] = Load{
			Depth:    int32(mix(uint64(i)) % 64),
			Requests: Quota{Limit: 5000, Used: 100}, Tokens: Quota{Limit: 2_000_000, Used: 5000},
		}
		if i%5 == 4 {
			f.load[i].Circuit, f.load[i].OpenUntil = Open, 1
		}
	}
	for i := range f.table.Targets() {
		x := float64(mix(uint64(i))%1000) + 100
		q := Quantiles{Mean: x, P50: x, P90: 2 * x, P95: 3 * x, P99: 4 * x}
		f.in.Stats = append(f.in.Stats, Stats{
			TTFT: q, PerToken: Quantiles{x / 20, x / 20, x / 10, x / 7, x / 5}, Success: 0.9, Samples: 100,
			Throughput: 5000 / x, PeakEWMA: x, CacheShare: 0.1, Quality: 0.7, Factor: 900,
		})
	}
	return f
}

// decideBound is what a decision may take, by the number of candidates.
var decideBound = map[int]time.Duration{16: time.Microsecond, 1000: 25 * time.Microsecond}

// BenchmarkDecide measures every preset. Beside the mean it gives the fastest
// of groups of decisions, and the bound.
func BenchmarkDecide(b *testing.B) {
	for _, s := range Strategies() {
		for _, n := range []int{16, 1000} {
			b.Run(fmt.Sprintf("%s/%d", s.Name, n), func(b *testing.B) {
				f := benchFixture(b, s.Name, n)
				f.next()
				b.ReportAllocs()
				some, fastest, last := 1+1000/n, time.Hour, time.Now()
				for i := 0; b.Loop(); i++ {
					if i%some == 0 { // what other programs take shows in the mean, not in the fastest
						now := time.Now()
						if i > 0 {
							fastest = min(fastest, now.Sub(last))
						}
						last = now
					}
					f.table.Decide(f.route, f.load, &f.in, &f.out)
					f.in.Sequence++
					f.in.Random += 0x9E3779B97F4A7C15
				}
				b.ReportMetric(float64(fastest)/float64(some), "fastest-ns/op")
				b.ReportMetric(float64(decideBound[n]), "bound-ns/op")
			})
		}
	}
}

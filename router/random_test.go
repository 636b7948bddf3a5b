package router

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

var seedFlag = flag.Uint64("seed", 0, "seed of random cases; 0: a new one each time")

// snapshot is a random case: everything that a decision sees, uncompiled.
type snapshot struct {
	pools []Pool
	spec  RouteSpec
	load  []Load
	in    Input
	stats map[string]Stats // by pool/model
}

func (c *snapshot) table(t testing.TB) (*Table, *Route) {
	t.Helper()
	table, err := NewTable(c.pools, []RouteSpec{c.spec})
	if err != nil {
		t.Fatal(err)
	}
	c.in.Stats = make([]Stats, len(table.Targets()))
	for i, target := range table.Targets() {
		c.in.Stats[i] = c.stats[c.pools[target.Pool].Name+"/"+target.Model]
	}
	return table, table.Routes()[0]
}

// outcome is all of a result by name, so that orders don't matter.
func (c *snapshot) outcome(t testing.TB) string {
	table, route := c.table(t)
	var r Result
	table.Decide(route, c.load, &c.in, &r)
	var b strings.Builder
	if r.Choice >= 0 {
		fmt.Fprintf(&b, "%s/%s ", route.Candidates()[r.Choice].PoolName, route.Candidates()[r.Choice].Model)
	}
	fmt.Fprintln(&b, r.Full, r.Until, r.Explored)
	for i, v := range r.Candidates {
		cand := route.Candidates()[i]
		fmt.Fprintf(&b, "%s/%s %b %s\n", cand.PoolName, cand.Model, v.Score, v.Excluded)
	}
	return b.String()
}

// shuffled is the same case with pools, candidates and lists in another order.
func (c *snapshot) shuffled(rng *rand.Rand) *snapshot {
	d := *c
	d.pools, d.load = slices.Clone(c.pools), slices.Clone(c.load)
	rng.Shuffle(len(d.pools), func(i, j int) {
		d.pools[i], d.pools[j] = d.pools[j], d.pools[i]
		d.load[i], d.load[j] = d.load[j], d.load[i]
	})
	d.spec.Candidates = slices.Clone(c.spec.Candidates)
	rng.Shuffle(len(d.spec.Candidates), func(i, j int) {
		d.spec.Candidates[i], d.spec.Candidates[j] = d.spec.Candidates[j], d.spec.Candidates[i]
	})
	d.spec.Params.Scorers = slices.Clone(c.spec.Params.Scorers)
	slices.Reverse(d.spec.Params.Scorers)
	return &d
}

func oneOf[T any](rng *rand.Rand, list ...T) T { return list[rng.IntN(len(list))] }

func chance(rng *rand.Rand, percent int) bool { return rng.IntN(100) < percent }

var testZones = []*time.Location{nil, time.UTC, time.FixedZone("east", 7*3600+1800), time.FixedZone("west", -8*3600)}

func randomCase(rng *rand.Rand, strategy string) *snapshot {
	c := &snapshot{spec: RouteSpec{Name: "chat", Strategy: strategy}, stats: map[string]Stats{}}
	n := 1 + rng.IntN(6)
	for i := range n {
		c.pools = append(c.pools, randomPool(rng, i))
		c.load = append(c.load, randomLoad(rng))
	}
	for _, p := range c.pools {
		for _, m := range []string{"large", "small"}[:1+rng.IntN(2)] {
			c.spec.Candidates = append(c.spec.Candidates, randomCandidate(rng, p.Name, m))
			c.stats[p.Name+"/"+m] = randomStats(rng)
		}
	}
	c.spec.Params = randomParams(rng)
	if chance(rng, 10) {
		c.spec.Require = []Label{{"gdpr", "yes"}}
	}
	c.in = randomInput(rng, n)
	return c
}

func randomPool(rng *rand.Rand, i int) Pool {
	p := Pool{
		Name: fmt.Sprintf("p%d", i), Region: oneOf(rng, "us-east", "us-west", "eu-west", ""),
		Concurrency: rng.IntN(6), Draining: chance(rng, 5), Down: chance(rng, 5),
		Labels: oneOf(rng, nil, map[string]string{"gdpr": "yes"}, map[string]string{"gdpr": "no", "zdr": "yes"}),
	}
	if chance(rng, 10) {
		p.Endpoints = []wire.Endpoint{oneOf(rng, wire.ChatCompletions, wire.Embeddings)}
	}
	if chance(rng, 20) {
		p.Capabilities = Capability(1 + rng.IntN(7))
	}
	p.Bundles = chance(rng, 15)
	if chance(rng, 10) {
		p.Tenants = oneOf(rng, []string{"acme"}, []string{"globex"}, []string{"globex", "acme"})
	}
	if chance(rng, 10) {
		p.TenantTiers = oneOf(rng, []string{"gold"}, []string{"silver", "gold"})
	}
	return p
}

func randomLoad(rng *rand.Rand) Load {
	l := Load{Depth: int32(rng.IntN(8)), Draining: chance(rng, 3), Down: chance(rng, 3), Unhealthy: chance(rng, 3), Ejected: chance(rng, 10)}
	if chance(rng, 20) {
		l.Circuit, l.Probes, l.OpenUntil = oneOf(rng, Closed, Open, HalfOpen), int32(rng.IntN(3)), int64(rng.IntN(10))*1e18/5
	}
	if chance(rng, 10) {
		l.LimitedUntil = int64(rng.IntN(10)) * 1e18 / 5
	}
	if chance(rng, 10) {
		l.Requests = Quota{Limit: int64(rng.IntN(3)), Used: int64(rng.IntN(3)), Reset: int64(rng.IntN(1e18))}
		l.Tokens = Quota{Limit: int64(rng.IntN(3000)), Used: int64(rng.IntN(2000)), Reset: int64(rng.IntN(1e18))}
	}
	return l
}

func randomCandidate(rng *rand.Rand, pool, model string) CandidateSpec {
	c := CandidateSpec{
		Pool: pool, Model: model, Weight: oneOf(rng, 0, 1, 1, 1, 2, 3, 7, 20), Priority: rng.IntN(3),
		Quality: oneOf(rng, 0, 0.25, 0.5, 0.9), MaxOutput: oneOf[int64](rng, 0, 0, 100, 4096),
	}
	if chance(rng, 80) {
		r := func() wire.Rate { return wire.Rate(rng.IntN(4)) * 500_000 }
		c.Price = &wire.Price{Input: r(), CacheRead: r(), CacheWrite: r(), Output: r(), Reasoning: r()}
	}
	if chance(rng, 10) {
		c.Context = 1000
	}
	if chance(rng, 20) {
		c.Capabilities = Capability(1 + rng.IntN(7))
	}
	if chance(rng, 15) {
		c.Schedule = &Schedule{Location: oneOf(rng, testZones...)}
		for range 1 + rng.IntN(2) {
			c.Schedule.Windows = append(c.Schedule.Windows, Hours{uint8(rng.IntN(128)), rng.IntN(1440), rng.IntN(1441)})
		}
	}
	return c
}

func randomStats(rng *rand.Rand) Stats {
	v := func() float64 {
		return oneOf(rng, 0, 0, 10, 100, 105, 250, 1000*rng.Float64(), math.NaN(), math.Inf(1), -1)
	}
	q := func() Quantiles { return Quantiles{v(), v(), v(), v(), v()} }
	return Stats{
		TTFT: q(), PerToken: q(), Success: oneOf(rng, 0, 0.5, 0.9, 1, math.NaN(), 2), Samples: oneOf(rng, 0, 1, 100, math.NaN()),
		Throughput: v(), PeakEWMA: v(), CacheShare: oneOf(rng, 0, 0.3, 1, -1, math.NaN()), Quality: oneOf(rng, 0, 0, 0.7, math.NaN(), 3),
		Factor: oneOf[int32](rng, 0, 1, 900, 1000, 4000, -5, math.MaxInt32),
	}
}

func randomParams(rng *rand.Rand) Params {
	p := Params{
		Percentile: oneOf(rng, 0, 50, 90, 95, 99), Tolerance: oneOf(rng, 0, 0, -1, 0.5), Explore: oneOf(rng, 0, -1, 3),
		Bound: oneOf(rng, 0, 1, 1.5), OutputTokens: oneOf[int64](rng, 0, 100),
	}
	if chance(rng, 30) {
		p.Nearness = map[string][]string{"us-east": {"eu-west", "us-west"}}
	}
	if chance(rng, 50) {
		names := scorerNames()
		rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, name := range names[:1+rng.IntN(4)] {
			p.Scorers = append(p.Scorers, ScorerWeight{name, float64(rng.IntN(4))})
		}
	}
	return p
}

func randomInput(rng *rand.Rand, n int) Input {
	in := Input{
		Meta: &wire.Meta{
			ID: fmt.Sprint("j", rng.IntN(1000)), Tenant: oneOf(rng, "acme", "initech"),
			Class: oneOf(rng, wire.Interactive, wire.Standard, wire.Batch), Endpoint: wire.ChatCompletions,
			Affinity: oneOf(rng, "", "a", "b", "c"), Region: oneOf(rng, "", "us-east", "eu-west", "mars"),
			Stream: chance(rng, 30), MaxTokens: oneOf[int64](rng, 0, 0, 50, 2000), BodyBytes: rng.IntN(4000),
		},
		Now: int64(1e18) + rng.Int64N(int64(7*24*time.Hour)), Sequence: oneOf(rng, 0, 2, 49, rng.Uint64()), Random: rng.Uint64(),
		Aged: rng.IntN(4) == 0, Tier: oneOf(rng, "", "silver", "gold"), Needs: oneOf(rng, 0, 0, 0, Tools, Vision|Tools),
	}
	if in.Meta.Placement = oneOf(rng, "", wire.Auto, wire.AtProvider); chance(rng, 50) {
		in.Meta.SubmittedAt = in.Now - rng.Int64N(int64(2*time.Hour))
		in.Meta.Deadline = in.Now + rng.Int64N(int64(2*time.Hour))
	}
	if chance(rng, 20) {
		in.Meta.MaxCost = new(wire.NanoUSD)
		*in.Meta.MaxCost = wire.NanoUSD(rng.IntN(6_000_000))
	}
	if chance(rng, 30) {
		in.Progress = &wire.Progress{Spent: wire.NanoUSD(rng.IntN(100_000)), Unknown: chance(rng, 5)}
		for range rng.IntN(3) {
			in.Progress.Tried = append(in.Progress.Tried, fmt.Sprintf("p%d", rng.IntN(n+1)))
			in.Progress.Misfits = append(in.Progress.Misfits, fmt.Sprintf("p%d/%s", rng.IntN(n+1), oneOf(rng, "large", "small")))
		}
	}
	if chance(rng, 10) {
		in.Require = []Label{{"zdr", "yes"}}
	}
	if chance(rng, 20) {
		for range rng.IntN(2 * n) {
			in.Barred = append(in.Barred, oneOf(rng, Eligible, Eligible, PriceUnknown, BeyondBudget, OverBudget))
		}
	}
	if chance(rng, 20) {
		in.Prefer = []Label{{"gdpr", "yes"}}
	}
	if chance(rng, 20) {
		in.InputTokens, in.OutputTokens = int64(rng.IntN(2000)), int64(rng.IntN(2000))
		in.CachedPool, in.CachedTokens = fmt.Sprintf("p%d", rng.IntN(n+1)), int64(rng.IntN(3000))
	}
	return in
}

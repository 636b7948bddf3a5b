package whatif

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// recording plays jobs and tells them as the tables would have them: times in
// whole milliseconds, rounded down.
func recording(t *testing.T, p *Policy, m *Model, jobs []Job, seed uint64) ([]Recorded, *Outcome) {
	t.Helper()
	w := newWorld(p, m, jobs, seed)
	list := make([]Recorded, len(jobs))
	w.heard = func(f *flight) {
		a, r := f.attempt, &list[f.index]
		ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
		depth, crowded := 0, false
		for _, c := range a.Decision.Candidates {
			if c.Pool == a.Pool {
				depth = c.Depth
			}
			crowded = crowded || c.Excluded == router.Full.String()
		}
		r.Attempts = append(r.Attempts, Attempt{Target: Target{a.Pool, a.Model}, Endpoint: f.meta.Endpoint, N: a.N, Ended: w.now, Queue: ms(a.QueueMS),
			TTFT: ms(a.TTFTMS), Taken: ms(a.LatencyMS), Status: a.Status, Code: a.ErrorCode, HTTP: a.HTTP, Usage: a.Usage, Cost: a.Cost, Depth: depth, Crowded: crowded})
	}
	for w.left > 0 && w.turn() {
	}
	w.strand()
	for i := range list {
		j, e := &jobs[i], &w.out.Jobs[i]
		r := &list[i]
		r.Tenant, r.ID, r.Route, r.Class = j.Meta.Tenant, j.Meta.ID, j.Meta.Route, j.Meta.Class
		r.Submitted, r.Finished, r.Status, r.Code = j.Meta.SubmittedAt, j.Meta.SubmittedAt+e.Total, e.Status, e.Code
	}
	return list, w.out
}

// TestForetells makes a world of its own, records a busy half hour of it under one
// policy, and foretells from the records alone what another policy comes to:
// another strategy, other concurrencies, other weights. The world's own answer
// is the truth.
func TestForetells(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 11))
	k := func(pool string) Target { return Target{pool, "m"} }
	world := &Model{Profiles: map[Target]*Profile{}}
	list := []Recorded{}
	for _, x := range []struct {
		name        string
		first, each float64 // milliseconds
		fails       int     // in a hundred
	}{{"east", 300, 12.5, 0}, {"west", 450, 16, 2}, {"fast", 250, 8, 0}, {"spot", 700, 22, 5}} {
		part := records(k(x.name), 1000, 3600*time.Millisecond, func(int) (int64, time.Duration) {
			n := 1 + rng.Int64N(600)
			return n, time.Duration((x.first + x.each*float64(n-1)) * math.Exp(0.25*rng.NormFloat64()) * 1e6)
		})
		for i := range part {
			if a := &part[i].Attempts[0]; rng.IntN(100) < x.fails {
				a.Status, a.Code, a.HTTP, a.Usage, a.Taken = wire.Failed, wire.CodeProviderError, 500, wire.Usage{}, 200*time.Millisecond
			}
		}
		list = append(list, part...)
	}
	policy := func(strategy string, slots ...int) *Policy {
		var pools []router.Pool
		for i, name := range []string{"east", "west", "fast", "spot"} {
			pools = append(pools, router.Pool{Name: name, Concurrency: slots[i]})
		}
		return policyOf(tableOf(t, pools, routeOver("chat", strategy, pools)))
	}
	old := policy("least_connections", 6, 6, 6, 6)
	world = Fit(list, old.Table)
	for range 500 { // what the broker takes
		at := begin + rng.Int64N(3600e9)
		world.Hop.add(at, 1+5*rng.Float64())
		world.Settle.add(at, 2+3*rng.Float64())
		world.Turn.add(at, 1+4*rng.ExpFloat64())
	}
	world.sort()
	jobs := poisson(rng, 8_000, 3.9)
	for i := range jobs {
		jobs[i].Output, jobs[i].Input = 1+rng.Int64N(600), 10+rng.Int64N(3000)
		jobs[i].Meta.Class, jobs[i].Meta.BodyBytes = wire.Classes()[i%3], int(4*jobs[i].Input)
	}
	recorded, _ := recording(t, old, world, jobs, 1)
	model, again := Fit(recorded, old.Table), Replay(recorded)
	for _, next := range []*Policy{old, policy("cost", 4, 5, 6, 9), policy("weighted_round_robin", 6, 8, 5, 12), policy("latency", 8, 4, 7, 2)} {
		var said, is []Figures
		for seed := range uint64(2) {
			said = append(said, play(t, next, model, again, seed).Figures())
			is = append(is, play(t, next, world, jobs, 10+seed).Figures())
		}
		a, _, _ := Mean(said)
		b, spread, _ := Mean(is)
		by := func(x, y float64) float64 { return 100 * (x - y) / y }
		name := next.Table.Routes()[0].Strategy()
		t.Logf("%-22s cost %+.2f %% (the truth ±%.2f %%), p50 %+.1f %%, p95 %+.1f %% of %.0f ms, p99 %+.1f %%, wait p95 %.0f and %.0f ms, failed %.2f and %.2f attempts a hundred", name,
			by(a.Cost, b.Cost), 100*spread, by(a.Latency.P50, b.Latency.P50), by(a.Latency.P95, b.Latency.P95), b.Latency.P95, by(a.Latency.P99, b.Latency.P99),
			a.Wait.P95, b.Wait.P95, 100*a.Attempts/a.Jobs-100, 100*b.Attempts/b.Jobs-100)
		if math.Abs(by(a.Cost, b.Cost)) > 1 || math.Abs(by(a.Latency.P95, b.Latency.P95)) > 15 || math.Abs(by(a.Latency.P50, b.Latency.P50)) > 10 {
			t.Errorf("%s: the prediction is off", name)
		}
		for i := range b.Targets {
			if math.Abs(a.Targets[i].Share-b.Targets[i].Share) > 0.015 {
				t.Errorf("%s: %s has %.3f of the attempts, said was %.3f", name, b.Targets[i].Pool, b.Targets[i].Share, a.Targets[i].Share)
			}
		}
	}
}

// TestHopsAreNotWaits: a batch job that was placed when it found room has waited
// for it, and says nothing of what the broker takes.
func TestHopsAreNotWaits(t *testing.T) {
	pools := []router.Pool{{Name: "p", Concurrency: 4}}
	table := tableOf(t, pools, routeOver("chat", "round_robin", pools))
	list := records(Target{"p", "m"}, 300, time.Second, func(int) (int64, time.Duration) { return 10, 100 * time.Millisecond })
	for i := range list {
		r, a := &list[i], &list[i].Attempts[0]
		queue := 3 * time.Millisecond
		if r.Class = wire.Classes()[i%3]; r.Class == wire.Batch {
			queue = 900 * time.Millisecond
		}
		a.Queue, a.Depth = queue, 3
		a.Ended, r.Finished = a.Ended+int64(queue), r.Finished+int64(queue)
	}
	if m := Fit(list, table); m.Hop.Len() != 200 || m.Hop.ms[0] != 3.5 || median(m.Hop.ms) != 3.5 {
		t.Errorf("%d hops of %v ms", m.Hop.Len(), median(m.Hop.ms))
	}
	var batch []Recorded
	for i := range list { // batch only: the quickest tenth
		if list[i].Class == wire.Batch {
			list[i].Attempts[0].Queue -= time.Duration(i) * time.Millisecond
			batch = append(batch, list[i])
		}
	}
	if m := Fit(batch, table); m.Hop.Len() < 5 || m.Hop.Len() > 15 || median(m.Hop.ms) > 640 {
		t.Errorf("%d hops of %v ms", m.Hop.Len(), median(m.Hop.ms))
	}
}

package observe

import (
	"math"
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
)

// Snapshot is what is known of the pools at a moment. It never changes.
type Snapshot struct {
	Table *router.Table
	// Stats are the measurements by target, for router.Input.
	Stats []router.Stats
	// Pools are the pools' states, by index.
	Pools []Pool
	// Routers that are alive, this one among them, and its place among them.
	Routers, Rank int
}

// Pool is the state of a pool.
type Pool struct {
	Breaker      router.Breaker
	Ejection     router.Ejection
	Workers      int  // live processes that serve it
	Down         bool // that there is none is certain
	Draining     bool
	Ended        int64 // when an attempt of it last ended; 0: none has
	Stalled      bool  // its queue stands still: see Observer.Stall
	LimitedUntil int64
	// Refused says that the provider's last word was to be called less.
	Refused bool
	// Running are the sequences of the work messages whose attempts run, in no
	// order; empty where nobody needs to know.
	Running []uint64
	// Requests and Tokens are what was used by what has started, Each the
	// tokens that an attempt is expected to use.
	Requests, Tokens router.Quota
	Each             int64

	blame blame
	probe ledger.Probe
}

// statsEvery is how often measurements are summed up.
const statsEvery = 250 * time.Millisecond

// snapshot is the fold as others see it. Measurements that are fresh enough
// are taken over from the last one.
func (f *fold) snapshot(now int64, last *Snapshot) *Snapshot {
	table := f.setup.Table
	s := &Snapshot{Table: table, Pools: make([]Pool, len(table.Pools()))}
	workers := f.workers(now)
	s.Routers, s.Rank = f.routers(now)
	for i, rp := range table.Pools() {
		p := f.pools[rp.Name]
		out := Pool{Breaker: p.breaker, Ejection: p.ejection, LimitedUntil: p.until, Refused: p.refusals > 0, Each: int64(p.use.each), blame: p.blame, probe: p.probe, Stalled: p.stalled, Ended: p.ended}
		for _, s := range p.use.running {
			out.Running = append(out.Running, s.work)
		}
		out.Workers, out.Draining = workers[rp.Name], f.drained[rp.Name]
		out.Down = f.known && out.Workers == 0 // I5
		out.Requests, out.Tokens = p.quotas(now)
		s.Pools[i] = out
	}
	if last != nil && last.Table == table && now-f.statsAt < int64(statsEvery) {
		s.Stats = last.Stats
		return s
	}
	f.statsAt = now
	s.Stats = make([]router.Stats, len(table.Targets()))
	for i, t := range table.Targets() {
		s.Stats[i] = f.stats(t, now)
		round(&s.Stats[i])
	}
	return s
}

// round leaves 16 bits of mantissa of what is measured, a fiftieth of a
// thousandth: whoever writes down what decisions saw then writes little.
func round(s *router.Stats) {
	t, p := &s.TTFT, &s.PerToken
	for _, x := range [...]*float64{&s.Success, &s.Samples, &s.Throughput, &s.PeakEWMA, &s.CacheShare,
		&t.Mean, &t.P50, &t.P90, &t.P95, &t.P99, &p.Mean, &p.P50, &p.P90, &p.P95, &p.P99} {
		const low = 52 - 16
		*x = math.Float64frombits((math.Float64bits(*x) + 1<<(low-1)) &^ (1<<low - 1))
	}
}

// Fill writes what is known of pool i into a load whose depth is set; last is
// the work stream's last sequence when the depth was looked at. What started
// later, at another router's hand, is in no depth. If the snapshot is not
// older than the look, no attempt is left out and some may count twice.
func (s *Snapshot) Fill(i int, now int64, last uint64, l *router.Load) {
	p := &s.Pools[i]
	l.Down, l.Draining, l.LimitedUntil = p.Down, p.Draining, p.LimitedUntil
	p.Breaker.Fill(breakerConfig, now, l)
	if p.Refused && l.Circuit == router.Closed { // it opens as carefully as a circuit does
		l.Circuit, l.Probes = router.HalfOpen, max(1-l.Depth, 0)
	}
	l.Probes = min(l.Probes, probes-l.Depth)
	p.Ejection.Fill(ejectConfig, now, l)
	l.Ejected = l.Ejected || p.Stalled
	l.Unhealthy = p.probe.Unhealthy(now)
	l.Probes = int32(s.share(int64(l.Probes), now))
	if p.Requests.Limit|p.Tokens.Limit == 0 {
		l.Requests, l.Tokens = router.Quota{}, router.Quota{}
		return
	}
	waiting := int64(l.Depth) // in the queue, not started
	for _, work := range p.Running {
		if work <= last {
			waiting--
		}
	}
	waiting = max(waiting, 0)
	l.Requests = s.part(p.Requests, waiting, now)
	l.Tokens = s.part(p.Tokens, waiting*p.Each, now)
}

// part is a quota of which only this router's share is left.
func (s *Snapshot) part(q router.Quota, waiting, now int64) router.Quota {
	if q.Limit > 0 {
		q.Used = q.Limit - s.share(q.Limit-q.Used-waiting, now)
	}
	return q
}

// share is this router's part of what is free; the remainder goes round by
// the second (I4).
func (s *Snapshot) share(free, now int64) int64 {
	n := int64(max(s.Routers, 1))
	if free <= 0 || n == 1 {
		return max(free, 0)
	}
	mine := free / n
	if turn := (int64(s.Rank) + now/int64(time.Second)) % n; turn < free%n {
		mine++
	}
	return mine
}

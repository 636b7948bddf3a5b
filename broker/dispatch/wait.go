package dispatch

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// How long a job waits in memory, and what becomes of it then.
const (
	idleLook     = time.Second      // between looks while only clocks and events can make room
	asideFrom    = 5 * time.Second  // a longer wait gets a record and is spent in a schedule
	asideAfter   = 2 * time.Second  // that this is so; the rest of a limit goes round the routers meanwhile
	asideAgain   = 30 * time.Second // the same for a job that has a waiting record already
	asideMost    = 1024             // jobs of a class and route in schedules for one reopening
	retryPerSlot = 15               // retries a minute that are always allowed for each of a route's slots
)

// aside counts the jobs that wait in schedules for a reopening.
type aside struct {
	until int64
	n     int
}

// news is what the loop hears of observations: only while jobs wait for them.
func (l *loop) news() <-chan struct{} {
	if l.d.cfg.Observer == nil || !l.waits() {
		return nil
	}
	return l.d.cfg.Observer.News()
}

// observe fills the loads from what is known now, if that is new or the clock
// has changed what it means.
func (l *loop) observe() {
	o := l.d.cfg.Observer
	if o == nil {
		return
	}
	t := &l.tally
	if s := o.Snapshot(); s != t.facts || t.turn != 0 && time.Now().UnixNano() >= t.turn {
		t.fill(s, time.Now())
	}
}

// input is what a decision about a job sees beside the loads.
func (l *loop) input(route string, it *item, now time.Time) router.Input {
	in := router.Input{Meta: &it.asg.Meta, Progress: &it.asg.Progress, Now: now.UnixNano(), Sequence: l.turn(route), Random: l.random.Uint64(),
		Tier: (*l.d.tiers.Load())[it.asg.Meta.Tenant], Needs: router.Capability(it.asg.Meta.Needs)}
	if l.tally.facts != nil {
		in.Stats = l.tally.facts.Stats
		in.CachedPool, in.CachedTokens = l.d.cfg.Observer.Cached(&it.asg.Meta)
	}
	it.course.Input(&in)
	return in
}

// turn is a route's decision counter.
func (l *loop) turn(route string) uint64 {
	seq, ok := l.sequence[route]
	if !ok { // routers that run side by side start at different places
		seq = uint64(l.random.Uint32())
		l.sequence[route] = seq
	}
	return seq
}

// blockOne notes that a queue cannot go on, and why: l.choice says so.
func (l *loop) blockOne(ctx context.Context, q *queue, now time.Time) {
	q.blocked, q.full, q.until = true, l.choice.Crowded, l.choice.Until
	at := now.UnixNano()
	switch {
	case q.full || l.choice.Opens == 0 || q.until-at < int64(asideFrom):
		q.since = 0
	case q.since == 0:
		q.since = at
	case at-q.since >= int64(asideAfter):
		l.setAside(ctx, q, now)
	}
}

// setAside writes waiting records for the jobs of a queue and moves them to
// schedules that end when the queue's candidates open again: their clients see
// why, and the memory is free. The bound keeps a deep backlog where it is.
func (l *loop) setAside(ctx context.Context, q *queue, now time.Time) {
	key := lot{q.items[0].asg.Meta.Class, q.route}
	a := l.aside[key]
	if now.UnixNano() >= a.until {
		a = aside{}
	}
	a.until = q.until
	kept := q.items[:0]
	for _, it := range q.items {
		told := it.asg.Progress.Expect != 0 && q.until-now.UnixNano() < int64(asideAgain)
		var dec *wire.Decision
		if !told && !it.source.lot && a.n < asideMost {
			dec = l.hopeless(it, now)
		}
		if dec == nil {
			kept = append(kept, it)
			continue
		}
		a.n++
		l.held--
		until := q.until
		l.then(func() {
			l.d.settle(ctx, it, func() error { return l.d.delay(ctx, it, wire.ReasonLimit, dec, until) })
		})
	}
	clear(q.items[len(kept):])
	q.items = kept
	l.aside[key] = a
}

// patience is how long after a look the next one is due while jobs wait: when
// a depth is what they wait for, soon; else when the clock opens something,
// but at least every second.
func (l *loop) patience(now time.Time) time.Duration {
	if l.purse.crowded() && l.purse.full {
		return l.pace
	}
	until := int64(0)
	for _, lane := range l.classes {
		for _, q := range lane.queues {
			if len(q.items) == 0 {
				continue
			}
			if !q.blocked || q.full {
				return l.pace
			}
			if q.until != 0 && (until == 0 || q.until < until) {
				until = q.until
			}
		}
	}
	if until == 0 {
		return idleLook
	}
	return min(max(time.Duration(until-l.tally.seen.UnixNano()), l.pace), idleLook)
}

// doubts reports whether a failure at the candidate is to be excused.
func (l *loop) doubts(c *router.Candidate, it *item, now time.Time) bool {
	return l.tally.facts != nil && l.tally.facts.Doubts(c.Pool, c.Target, &it.asg.Meta, &it.asg.Progress, now.UnixNano())
}

// retry reports whether the job has had an attempt that failed.
func (it *item) retry() bool { return it.asg.Progress.Attempts > it.asg.Progress.Cuts }

// overspent reports whether the queue's first job is a retry that has to wait:
// the route's budget has no room, since where many attempts fail retries must
// not add to the load; or only probes are let through, which jobs that have
// not failed yet shall be.
func (l *loop) overspent(q *queue, route *router.Route, now time.Time) bool {
	if !q.items[0].retry() {
		return false
	}
	if l.probing(route) && slices.ContainsFunc(q.items, func(it *item) bool { return !it.retry() }) {
		return true
	}
	b := l.budgets[q.route]
	if b == nil {
		return false
	}
	floor := 0
	for _, c := range route.Candidates() {
		floor += retryPerSlot * l.tally.table.Pools()[c.Pool].Concurrency
	}
	floor = max(floor, l.d.cfg.RetryMinimum)
	if l.tally.facts != nil { // the routers share it; shares of what each placed need no sharing
		floor = max(floor/max(l.tally.facts.Routers, 1), 1)
	}
	return !b.Allows(now.UnixNano(), int64(100*l.d.cfg.RetryBudget), int64(floor))
}

// probing reports whether the route's candidates take probes at most.
func (l *loop) probing(route *router.Route) bool {
	probes := false
	for _, c := range route.Candidates() {
		load := &l.tally.load[c.Pool]
		if load.Circuit == router.Closed && !load.Down && !load.Draining {
			return false
		}
		probes = probes || load.Circuit == router.HalfOpen
	}
	return probes
}

// spend counts a placed job in its route's retry budget.
func (l *loop) spend(name string, it *item, now time.Time) {
	b := l.budgets[name]
	if b == nil {
		b = &router.RetryBudget{}
		l.budgets[name] = b
	}
	if it.retry() {
		b.Retries.Add(now.UnixNano(), 1)
	} else {
		b.First.Add(now.UnixNano(), 1)
	}
}

// retryLater brings a retry back when the budget may have room.
func (l *loop) retryLater(ctx context.Context, it *item, now time.Time) {
	at := now.Add(time.Second + rand.N(time.Second))
	l.d.rare.Go(func() {
		l.d.settle(ctx, it, func() error {
			asg := it.asg
			return l.d.cfg.Ledger.Requeue(ctx, &asg, it.msg.Data(), at, now)
		})
	})
}

package dispatch

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// How often queues are looked at, how long a job may wait in one and the queue
// stand still, and how many jobs are taken back at a time.
const (
	recallEvery = time.Second
	recallAfter = 10 * time.Second
	recallBatch = 256
	// A pool whose attempts end is looked at once in so many times only: each
	// look asks the server about the pool's queue.
	recallSeldom = 5
)

// standing is how far a pool's queue was when it was last seen to move, with
// all slots taken and jobs waiting.
type standing struct {
	delivered uint64 // stream sequence
	since     time.Time
	stalled   bool
}

// recall takes jobs back that wait in the queue of a pool: whose circuit is
// open, or where they have waited long while another candidate has a slot
// free. What a worker has begun is left to it. It also finds queues that stand
// still, because the provider hangs. Every router looks, and the first of them
// acts; fences make it harmless if two do.
func (d *Dispatcher) recall(ctx context.Context, work jetstream.Stream) {
	seen := map[string]standing{}
	for tick := 0; d.cfg.Observer != nil && ledger.Pause(ctx, recallEvery) == nil; tick++ {
		s := d.cfg.Observer.Snapshot()
		info, err := work.Info(ctx, jetstream.WithSubjectFilter(d.cfg.Subjects.WorkAll()))
		if err != nil {
			continue
		}
		d.cfg.Observer.Depths(s.Table, func(pool string) int { return int(info.State.Subjects[d.cfg.Subjects.Work(pool)]) })
		left := map[string]standing{}
		for i := range s.Table.Pools() {
			p := &s.Table.Pools()[i]
			if was, ok := seen[p.Name]; !d.suspect(s, i) && !was.stalled && (tick+i)%recallSeldom != 0 {
				if ok {
					left[p.Name] = was
				}
				continue
			}
			depth := int(info.State.Subjects[d.cfg.Subjects.Work(p.Name)])
			if stalled, ok := d.recallPool(ctx, work, recalling{s: s, pool: i, depth: depth, depths: info.State.Subjects, was: seen[p.Name]}); ok {
				left[p.Name] = stalled
			}
		}
		seen = left
	}
}

// suspect reports whether a pool's queue is to be looked at soon: the pool is in
// trouble, or none of its attempts has ended for a while.
func (d *Dispatcher) suspect(s *observe.Snapshot, i int) bool {
	now := time.Now()
	state := &s.Pools[i]
	return s.Table.Pools()[i].Draining || state.Troubled(now.UnixNano()) || now.UnixNano()-state.Ended > int64(recallAfter/2)
}

// recalling is what is known of a pool when it is looked at.
type recalling struct {
	s      *observe.Snapshot
	pool   int
	depth  int
	depths map[string]uint64 // of all queues, by subject
	was    standing
}

// recallPool looks at one pool; ok says that its slots are taken, and st since
// when its queue has not moved.
func (d *Dispatcher) recallPool(ctx context.Context, work jetstream.Stream, r recalling) (st standing, ok bool) {
	p := &r.s.Table.Pools()[r.pool]
	now := time.Now()
	trouble := p.Draining || r.s.Pools[r.pool].Troubled(now.UnixNano()) // the table's pools drain to be removed
	if r.depth == 0 || !trouble && r.depth < p.Concurrency {
		d.cfg.Observer.Stall(p.Name, false)
		return st, false
	}
	c, err := work.Consumer(ctx, ledger.WorkConsumer(p.Name))
	if err != nil {
		return r.was, !errors.Is(err, jetstream.ErrConsumerNotFound)
	}
	info := c.CachedInfo()
	if st = r.was; st.since.IsZero() || st.delivered != info.Delivered.Stream || info.NumPending == 0 && !st.stalled {
		st = standing{delivered: info.Delivered.Stream, since: now}
	}
	st.stalled = now.Sub(st.since) >= recallAfter
	d.cfg.Observer.Stall(p.Name, st.stalled)
	if info.NumPending == 0 || r.s.Rank != 0 || p.Bundles && !trouble { // who goes by a batch API has time
		return st, true
	}
	moved := 0
	for seq := info.Delivered.Stream + 1; moved < recallBatch && ctx.Err() == nil; seq++ {
		m, err := work.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(d.cfg.Subjects.Work(p.Name)))
		if err != nil {
			break // there are no more, or the next look finds them
		}
		if !trouble && now.Sub(m.Time) < recallAfter {
			break
		}
		if seq = m.Sequence; d.recallJob(ctx, work, m, r, trouble) {
			moved++
		}
	}
	if moved > 0 {
		d.cfg.Logger.Info("jobs taken back from a pool where they would wait", "pool", p.Name, "jobs", moved, "circuit_open", trouble)
	}
	return st, true
}

// recallJob brings one job back to the backlog: from a pool in trouble always,
// else only if another candidate has a slot for it.
func (d *Dispatcher) recallJob(ctx context.Context, work jetstream.Stream, m *jetstream.RawStreamMsg, r recalling, trouble bool) bool {
	asg, err := wire.DecodeAssignment(m.Header)
	if err != nil || asg.Attempt == nil || !asg.Meta.Valid() {
		return false // the pool's worker says so, and drops it
	}
	if !trouble {
		if !r.roomElsewhere(d.cfg.Subjects, routeOf(&asg)) {
			return false
		}
		if name := r.s.Table.Pools()[r.pool].Name; !slices.Contains(asg.Progress.Tried, name) {
			asg.Progress.Tried = append(asg.Progress.Tried, name)
		}
	}
	if ok, err := d.cfg.Ledger.TakeBack(ctx, &asg, m.Sequence, m.Data); err != nil || !ok {
		return false
	}
	if err := work.DeleteMsg(ctx, m.Sequence); err != nil && ctx.Err() == nil {
		d.cfg.Logger.Debug("work message stays beside the job's copy; one of their claims is refused", "job", asg.Meta.ID, "err", err)
	}
	return true
}

// routeOf is the route that decided about a work message.
func routeOf(a *wire.Assignment) string {
	if a.Attempt != nil && a.Attempt.Decision != nil {
		return a.Attempt.Decision.Route
	}
	return a.Meta.Route
}

// roomElsewhere reports whether another candidate of the route has a free slot
// and no trouble.
func (r *recalling) roomElsewhere(s wire.Subjects, name string) bool {
	route, ok := r.s.Table.Route(name)
	if !ok {
		return false
	}
	now := time.Now().UnixNano()
	return slices.ContainsFunc(route.Candidates(), func(c router.Candidate) bool {
		p, state := &r.s.Table.Pools()[c.Pool], &r.s.Pools[c.Pool]
		return c.Pool != r.pool && c.Weight > 0 && !state.Down && !state.Draining && !state.Stalled && !state.Troubled(now) &&
			state.Breaker.Circuit == router.Closed && int(r.depths[s.Work(p.Name)]) < p.Concurrency
	})
}

package dispatch

import (
	"context"
	"time"

	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/sdk/wire"
)

// SetPlan replaces how jobs are steered, also of those that wait in memory.
// A nil plan steers nothing. Set the table that it refers to first.
func (d *Dispatcher) SetPlan(p *steer.Plan) {
	d.plan.Store(p)
	d.nudge()
}

// Plan is how jobs are steered now; nil: they are not.
func (d *Dispatcher) Plan() *steer.Plan { return d.plan.Load() }

// nudge has the loop look at what is new, if it sleeps.
func (d *Dispatcher) nudge() {
	select {
	case d.replanned <- struct{}{}:
	default:
	}
}

// steer takes a job's course.
func (d *Dispatcher) steer(it *item, now time.Time) {
	m := &it.asg.Meta
	it.course = d.plan.Load().Steer(d.table.Load(), m, (*d.tiers.Load())[m.Tenant], it.asg.Progress.Attempts+1, now)
}

// mirror queues a copy of a job whose first attempt has begun, if the plan wants
// one. The copy is a job of its own, but for its records: see wire.Meta.Shadow.
// Whatever becomes of it, the job itself has nothing to do with it.
func (l *loop) mirror(ctx context.Context, it *item, now time.Time) {
	m := l.plan.Mirror(&it.asg.Meta, &it.asg.Progress, &it.course, now)
	if m == nil {
		return
	}
	body := it.msg.Data()
	l.d.rare.Go(func() {
		if err := l.d.cfg.Ledger.Requeue(ctx, &wire.Assignment{Meta: *m}, body, now, now); err != nil && ctx.Err() == nil {
			l.d.cfg.Logger.Debug("job not mirrored", "shadow", m.Shadow, "job", m.ID, "err", err)
		}
	})
}

// resteer takes the course of every job in memory anew if the plan has
// changed: some are then of another class or route.
func (l *loop) resteer() {
	p := l.d.plan.Load()
	if p == l.plan {
		return
	}
	l.plan = p
	now := time.Now()
	var all []*item
	for _, lane := range l.classes {
		for _, q := range lane.queues {
			all = append(all, q.items...)
			q.items = nil
		}
		lane.sweep()
	}
	l.held -= len(all)
	all = append(all, l.purse.take()...)
	for _, it := range all {
		l.d.steer(it, now)
		l.hold(it)
	}
}

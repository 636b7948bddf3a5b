package dispatch

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// lot names the parked jobs of one class and route.
type lot struct {
	class wire.Class
	route string
}

// keptUnparked is how many of the oldest jobs of a class's blocked queues stay
// in memory when the rest are parked, so that no pool runs dry meanwhile.
const keptUnparked = 32

// unclog parks the jobs of blocked routes where they fill the class's places
// in memory while another route has room: the jobs behind them could be
// placed, if they were seen.
func (l *loop) unclog(ctx context.Context, class wire.Class) {
	lane := l.classes[class]
	if len(lane.queues) == 0 || !l.full(lane) || !l.roomElsewhere(class, lane) {
		return
	}
	kept := max(keptUnparked/len(lane.queues), 1)
	for _, q := range lane.queues {
		if len(q.items) <= kept || !l.openLot(ctx, lot{class, q.route}) {
			continue
		}
		keep := q.items[:0]
		for i, it := range q.items {
			if i < kept || it.source.lot {
				keep = append(keep, it)
			} else {
				l.leaving = append(l.leaving, it)
				l.held--
			}
		}
		clear(q.items[len(keep):])
		q.items = keep
	}
}

// full reports whether every queue of the lane is blocked and one of their
// sources has no free place.
func (l *loop) full(lane *lane) bool {
	full := false
	for _, q := range lane.queues {
		if !q.blocked {
			return false
		}
		for _, it := range q.items {
			full = full || len(it.source.free) == 0 && !it.source.lot
		}
	}
	return full
}

// roomElsewhere reports whether a route without jobs in the lane has a
// candidate with room.
func (l *loop) roomElsewhere(class wire.Class, lane *lane) bool {
	t := l.tally.table
	for _, r := range t.Routes() {
		if lane.has(r.Name()) {
			continue
		}
		for _, c := range r.Candidates() {
			if p := &t.Pools()[c.Pool]; l.hasRoom(p, c, class) {
				return true
			}
		}
	}
	return false
}

func (l *loop) hasRoom(p *router.Pool, c router.Candidate, class wire.Class) bool {
	load := &l.tally.load[c.Pool]
	return c.Weight > 0 && !p.Down && !p.Draining && !load.Down && !load.Draining && load.Circuit == router.Closed && int(l.tally.load[c.Pool].Depth) < p.Allowance(class)
}

// openLot makes sure that the parked jobs of a class and route are followed.
// From then on new jobs of that route are parked behind them, so that their
// order stays.
func (l *loop) openLot(ctx context.Context, k lot) bool {
	if l.lots[k] {
		return true
	}
	if ctx.Err() != nil {
		return false
	}
	l.lots[k] = true
	l.d.rare.Go(func() { l.d.followLot(ctx, k) })
	return true
}

// leave publishes as many parked jobs as may be under way at once.
func (l *loop) leave() {
	for len(l.leaving) > 0 && l.sending < maxSending {
		it := l.leaving[0]
		future, err := l.d.publishParked(it)
		if err != nil {
			l.d.cfg.Logger.Debug("job not parked yet", "job", it.asg.Meta.ID, "err", err)
			return
		}
		l.leaving[0] = nil
		l.leaving = l.leaving[1:]
		l.sending++
		l.d.sent <- sending{it: it, pool: parked, future: future, until: time.Now().Add(sendTimeout)}
	}
}

// parked stands for the backlog in the place of a pool's index.
const parked = -1

func (d *Dispatcher) publishParked(it *item) (*ledger.Future, error) {
	h := wire.EncodeAssignment(&it.asg)
	m := &it.asg.Meta
	return d.pub.Publish(&nats.Msg{Subject: d.cfg.Subjects.Backlog(m.Class, it.course.Route, m.Tenant), Header: h, Data: it.msg.Data()})
}

// lotIdle is how long a lot must bring nothing before it is looked at whether
// it is empty.
const lotIdle = 2 * time.Second

// followLot takes parked jobs of one class and route until there are none.
func (d *Dispatcher) followLot(ctx context.Context, k lot) {
	defer func() {
		select {
		case d.emptied <- k:
		case <-ctx.Done():
		}
	}()
	for ctx.Err() == nil {
		s, err := topology.Backlog(ctx, d.cfg.JS, d.cfg.Subjects, k.class, k.route)
		if err != nil {
			d.cfg.Logger.Warn("parked jobs cannot be read, trying again", "route", k.route, "err", err)
			if ledger.Pause(ctx, time.Second) != nil {
				return
			}
			continue
		}
		src := newSource(s, lotHeld)
		src.lot = true
		empty := func() bool {
			info, err := s.Consumer.Info(ctx)
			return err == nil && info.NumPending == 0 && ledger.Taken(info) == 0
		}
		if d.intakeUntil(ctx, src, lotIdle, empty) {
			return
		}
	}
}

// lotHeld is how many parked jobs of a lot are in memory at a time.
const lotHeld = 256

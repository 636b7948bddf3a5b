package dispatch

import (
	"context"
	"slices"
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// queue is the jobs of one class, route, tenant and placement, oldest first.
type queue struct {
	key     queueKey
	route   string
	items   []*item
	blocked bool  // no room at the last try
	full    bool  // and a depth is among the reasons: a look may help at any moment
	until   int64 // when the clock alone makes room, 0: not known
	since   int64 // since when it is far off, 0: it is not
}

// queueKey names a queue: jobs that wait for a provider's batch API do not stand
// before those that do not.
type queueKey struct {
	route, tenant string
	placed        wire.Placement
}

// line is a tenant's queues in a lane, which take turns.
type line struct {
	tenant string
	queues []*queue
	turn   int
}

// lane is the jobs of a class. Its tenants take turns, a job each, whatever
// they have queued (I4).
type lane struct {
	class  wire.Class
	queues []*queue // all, in no order
	byName map[queueKey]*queue
	lines  []*line
	byPays map[string]*line
	turn   int
	credit int  // placements of more urgent jobs while these wait
	denied bool // not even the most urgent job finds room, by the last look
}

func newLane(c wire.Class) *lane {
	return &lane{class: c, byName: map[queueKey]*queue{}, byPays: map[string]*line{}}
}

// add puts a job behind the others of its route and tenant.
func (lane *lane) add(it *item) *queue {
	m := &it.asg.Meta
	key := queueKey{it.course.Route, m.Tenant, m.Placed()}
	q := lane.byName[key]
	if q == nil {
		q = &queue{key: key, route: it.course.Route}
		lane.byName[key] = q
		lane.queues = append(lane.queues, q)
		ln := lane.byPays[m.Tenant]
		if ln == nil {
			ln = &line{tenant: m.Tenant}
			lane.byPays[m.Tenant] = ln
			// Behind all that wait: at the end of the list, those that come
			// again and again would stand before the first for ever.
			lane.lines = slices.Insert(lane.lines, lane.turn, ln)
			lane.turn = (lane.turn + 1) % len(lane.lines)
		}
		ln.queues = append(ln.queues, q)
	}
	q.items = append(q.items, it)
	return q
}

// sweep forgets empty queues and the lines that have none.
func (lane *lane) sweep() {
	lane.queues = keep(lane.queues, func(_ int, q *queue) bool {
		if len(q.items) == 0 {
			delete(lane.byName, q.key)
		}
		return len(q.items) > 0
	})
	turn := lane.turn
	lane.lines = keep(lane.lines, func(i int, ln *line) bool {
		ln.queues = keep(ln.queues, func(_ int, q *queue) bool { return len(q.items) > 0 })
		if len(ln.queues) == 0 {
			delete(lane.byPays, ln.tenant)
			if i < turn {
				lane.turn--
			}
		}
		return len(ln.queues) > 0
	})
	if lane.turn >= len(lane.lines) {
		lane.turn = 0
	}
}

// keep leaves in list what f agrees to.
func keep[T any](list []*T, f func(int, *T) bool) []*T {
	kept := list[:0]
	for i, x := range list {
		if f(i, x) {
			kept = append(kept, x)
		}
	}
	clear(list[len(kept):])
	return kept
}

// next is the line whose turn it is.
func (lane *lane) next() *line {
	ln := lane.lines[lane.turn]
	lane.turn = (lane.turn + 1) % len(lane.lines)
	return ln
}

// next is the queue of the line whose turn it is.
func (ln *line) next() *queue {
	q := ln.queues[ln.turn%len(ln.queues)]
	ln.turn = (ln.turn + 1) % len(ln.queues)
	return q
}

// has reports whether jobs of a route wait.
func (lane *lane) has(route string) bool {
	for _, q := range lane.queues {
		if q.route == route && len(q.items) > 0 {
			return true
		}
	}
	return false
}

// placeLane assigns jobs of a lane, one of each tenant in turn, until none
// finds room; false: too much is under way.
func (l *loop) placeLane(ctx context.Context, lane *lane) bool {
	for idle := 0; idle < len(lane.lines); {
		if l.sending >= maxSending {
			return false
		}
		if idle++; l.placeOne(ctx, lane.next()) {
			idle = 0
		}
	}
	return true
}

// placeOne assigns one job of a tenant, of its routes in turn.
func (l *loop) placeOne(ctx context.Context, ln *line) bool {
	for range ln.queues {
		q := ln.next()
		if len(q.items) > 0 && !q.blocked && l.step(ctx, q, false) {
			return true
		}
	}
	return false
}

// Ageing: a job that has waited so long may use the room of the most urgent
// class, once for so many more urgent jobs that were placed meanwhile.
const (
	agedAfter    = 10 * time.Second
	agedStandard = 8
	agedBatch    = 16
)

func (lane *lane) agedEvery() int {
	if lane.class == wire.Batch {
		return agedBatch
	}
	return agedStandard
}

// accrue counts a placed job for the less urgent ones that wait.
func (l *loop) accrue(class wire.Class) {
	urgent := false
	for _, c := range wire.Classes() {
		if lane := l.classes[c]; urgent && len(lane.queues) > 0 {
			lane.credit = min(lane.credit+1, lane.agedEvery())
		}
		urgent = urgent || c == class
	}
}

// placeAged assigns one job of each lane whose turn has come by its age, so
// that nothing starves however many urgent jobs there are (I5).
func (l *loop) placeAged(ctx context.Context) {
	old := time.Now().Add(-agedAfter).UnixNano()
	for _, c := range wire.Classes()[1:] {
		lane := l.classes[c]
		if lane.credit < lane.agedEvery() || lane.denied || l.sending >= maxSending {
			continue
		}
		lane.denied = true
		for range lane.lines {
			if l.placeOld(ctx, lane.next(), old) {
				lane.credit, lane.denied = 0, false
				break
			}
		}
	}
}

// placeOld assigns a tenant's job that has waited since old at least.
func (l *loop) placeOld(ctx context.Context, ln *line, old int64) bool {
	for range ln.queues {
		q := ln.next()
		if len(q.items) > 0 && q.items[0].asg.Progress.ReadyAt <= old && l.step(ctx, q, true) {
			return true
		}
	}
	return false
}

// everyones reports whether the result would be the same for other jobs of the
// route: whatever excludes its candidates does not depend on the job.
func everyones(r *router.Result) bool {
	for i := range r.Candidates {
		switch r.Candidates[i].Excluded {
		case router.ZeroWeight, router.OffSchedule, router.Draining, router.Down, router.Unhealthy, router.CircuitOpen, router.Full:
		default:
			return false
		}
	}
	return true
}

// block notes that a queue cannot go on: l.choice says why. Where that holds
// for every job of the route, it holds for the other tenants' too; what is
// left of a fallback chain depends on the job.
func (l *loop) block(ctx context.Context, q *queue, now time.Time) {
	lane := l.classes[q.items[0].asg.Meta.Class]
	l.blockOne(ctx, q, now)
	if len(lane.lines) > 1 && l.choice.Left == 0 && everyones(l.choice.Result) {
		for _, x := range lane.queues {
			if x != q && x.route == q.route && !x.blocked && len(x.items) > 0 {
				l.blockOne(ctx, x, now)
			}
		}
	}
}

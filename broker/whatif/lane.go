package whatif

import (
	"slices"

	"github.com/sluicehq/sluice/sdk/wire"
)

// queue is the jobs of one class, route and tenant, in the order in which the
// router got them.
type queue struct {
	route, tenant string
	items         []*flight
	blocked       bool  // no room at the last try
	full          bool  // and a depth is among the reasons
	until         int64 // when the clock alone makes room, 0: not known
}

// line is a tenant's queues in a lane, which take turns.
type line struct {
	tenant string
	queues []*queue
	turn   int
}

// lane is the jobs of a class, whose tenants take turns, as in package
// dispatch.
type lane struct {
	class  wire.Class
	byName map[[2]string]*queue
	lines  []*line
	turn   int
	credit int  // placements of more urgent jobs while these wait
	denied bool // not even the most urgent job finds room, by the last look
}

func (l *lane) add(f *flight) {
	key := [2]string{f.course.Route, f.meta.Tenant}
	q := l.byName[key]
	if q == nil {
		q = &queue{route: key[0], tenant: key[1]}
		l.byName[key] = q
		i := slices.IndexFunc(l.lines, func(x *line) bool { return x.tenant == q.tenant })
		if i < 0 { // behind all that wait
			i = l.turn
			l.lines = slices.Insert(l.lines, i, &line{tenant: q.tenant})
			l.turn = (l.turn + 1) % len(l.lines)
		}
		l.lines[i].queues = append(l.lines[i].queues, q)
	}
	q.items = append(q.items, f)
}

// sweep forgets empty queues and the lines that have none.
func (l *lane) sweep() {
	turn := l.turn
	kept := l.lines[:0]
	for i, x := range l.lines {
		x.queues = slices.DeleteFunc(x.queues, func(q *queue) bool {
			if len(q.items) == 0 {
				delete(l.byName, [2]string{q.route, q.tenant})
			}
			return len(q.items) == 0
		})
		if len(x.queues) > 0 {
			kept = append(kept, x)
		} else if i < turn {
			l.turn--
		}
	}
	clear(l.lines[len(kept):])
	if l.lines = kept; l.turn >= len(l.lines) {
		l.turn = 0
	}
}

func (l *lane) next() *line {
	x := l.lines[l.turn]
	l.turn = (l.turn + 1) % len(l.lines)
	return x
}

func (x *line) next() *queue {
	q := x.queues[x.turn%len(x.queues)]
	x.turn = (x.turn + 1) % len(x.queues)
	return q
}

func (q *queue) pop() {
	q.items[0] = nil
	q.items = q.items[1:]
}

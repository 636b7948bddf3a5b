package dispatch

import (
	"container/heap"
	"context"
	"time"

	"github.com/sluicehq/sluice/broker/peek"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Jobs deep in the backlog have a deadline too. What has waited for a while is
// read once, where it stands, and its deadline noted; then it is ended there.
// A queue that moves is never read.
const (
	overdueEvery = time.Second
	overdueRead  = 5 * time.Second  // between two looks at what has come
	overdueAfter = 10 * time.Second // what is younger is not read yet
	overdueBatch = 1000
	overdueBytes = 4 << 20
	overduePause = 50 * time.Millisecond // between two reads: 20,000 jobs a second at most
	overdueAgain = 30 * time.Second      // between two passes from the start
	overdueMost  = 1 << 16               // noted deadlines, 32 bytes each
)

// due is a queued job and its deadline.
type due struct {
	at  int64
	seq uint64
	in  int // index of the backlog that it stands in
}

// dues is a heap, the earliest first.
type dues []due

func (h dues) Len() int           { return len(h) }
func (h dues) Less(i, j int) bool { return h[i].at < h[j].at }
func (h dues) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dues) Push(x any)        { *h = append(*h, x.(due)) }
func (h *dues) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// backlog is one kind of waiting job.
type backlog struct {
	stream, filter string
	class          wire.Class // "" for parked jobs of all classes
	lot            bool
	next           uint64 // first sequence that was not read
}

// overdue is the state of the search.
type overdue struct {
	d        *Dispatcher
	backlogs []backlog
	noted    dues
	most     int
	again    int64 // an earlier deadline was not noted for want of room; 0: none
	began    time.Time
}

func newOverdue(d *Dispatcher) *overdue {
	s := d.cfg.Subjects
	o := &overdue{d: d, most: overdueMost, began: time.Now()}
	for _, c := range wire.Classes() {
		o.backlogs = append(o.backlogs,
			backlog{stream: s.Stream(wire.StreamJobs), filter: s.Jobs("*", c), class: c},
			backlog{stream: s.Stream(wire.StreamSched), filter: s.Requeue("*", c), class: c})
	}
	o.backlogs = append(o.backlogs, backlog{stream: s.Stream(wire.StreamJobs), filter: s.BacklogAll(), lot: true})
	return o
}

// endOverdue ends jobs whose deadline passes while they wait in a stream, until
// ctx ends. The first router does it for all; a second one would do no harm.
func (d *Dispatcher) endOverdue(ctx context.Context) {
	o := newOverdue(d)
	var read time.Time
	for ledger.Pause(ctx, overdueEvery) == nil {
		if _, rank := d.peers(); rank != 0 {
			o.noted, o.again = nil, 0
			o.restart()
			continue
		}
		now := time.Now()
		o.end(ctx, now)
		if now.Sub(read) >= overdueRead {
			for i := range o.backlogs {
				o.read(ctx, i)
			}
			read = now
		}
		if o.again != 0 && now.UnixNano() >= o.again && now.Sub(o.began) >= overdueAgain {
			o.noted, o.again = o.noted[:0], 0
			o.restart()
		}
	}
}

func (o *overdue) restart() {
	o.began = time.Now()
	for i := range o.backlogs {
		o.backlogs[i].next = 0
	}
}

// read notes the deadlines of what has come to a backlog and has waited.
func (o *overdue) read(ctx context.Context, in int) {
	b := &o.backlogs[in]
	// The first message tells whether there is anything old enough.
	for batch := 1; ctx.Err() == nil; batch = overdueBatch {
		until, young, n := time.Now().Add(-overdueAfter), false, 0
		w := peek.Walk{Conn: o.d.cfg.JS.Conn(), Stream: b.stream, Subject: b.filter, From: b.next, Batch: batch, Bytes: overdueBytes}
		more, err := w.Run(ctx, func(m peek.Message) {
			if young = young || m.At.After(until); young {
				return
			}
			b.next, n = m.Seq+1, n+1
			if at := o.deadline(b, m); at != 0 {
				o.note(due{at: at, seq: m.Seq, in: in})
			}
		}, func() bool { return true })
		if err != nil && ctx.Err() == nil {
			o.d.cfg.Logger.Debug("deadlines in the backlog not read", "err", err)
		}
		if err != nil || young || !more || n == 0 || batch > 1 && ledger.Pause(ctx, overduePause) != nil {
			return
		}
		o.end(ctx, time.Now())
	}
}

// deadline is when a queued job ends, 0 if never.
func (o *overdue) deadline(b *backlog, m peek.Message) int64 {
	plan := o.d.plan.Load()
	if !b.lot && b.stream == o.d.cfg.Subjects.Stream(wire.StreamJobs) && plan == nil && m.Header.Get(wire.HeaderDeadline) == "" {
		return 0
	}
	it := o.item(b, m, nil)
	if fault, readable := it.parse(o.d.cfg.Subjects); fault != nil || !readable {
		return 0
	}
	o.d.steer(it, time.Now())
	return it.asg.Meta.Deadline
}

func (o *overdue) item(b *backlog, m peek.Message, free chan struct{}) *item {
	src := &source{Source: topology.Source{Class: b.class}, free: free, lot: b.lot}
	return &item{source: src, msg: &delivery{m: m.Msg, lifted: &lifted{Message: m, conn: o.d.cfg.JS.Conn(), stream: b.stream}}}
}

func (o *overdue) note(x due) {
	if len(o.noted) < o.most {
		heap.Push(&o.noted, x)
	} else if o.again == 0 || x.at < o.again {
		o.again = x.at
	}
}

// end ends the noted jobs whose deadline has passed, if they still wait.
func (o *overdue) end(ctx context.Context, now time.Time) {
	for len(o.noted) > 0 && o.noted[0].at <= now.UnixNano() && ctx.Err() == nil {
		x := o.noted[0]
		b := &o.backlogs[x.in]
		m, there, err := peek.At(ctx, o.d.cfg.JS.Conn(), b.stream, x.seq)
		if err != nil {
			return // again at the next look
		}
		heap.Pop(&o.noted)
		if !there {
			continue
		}
		it := o.item(b, m, make(chan struct{}, 1))
		if _, readable := it.parse(o.d.cfg.Subjects); !readable {
			continue
		}
		o.d.steer(it, now)
		if it.asg.Meta.Expired(now) {
			o.d.settle(ctx, it, func() error { return o.d.expire(ctx, it) })
		}
	}
}

// expect notes a held job's deadline.
func (l *loop) expect(it *item) {
	if d := it.asg.Meta.Deadline; d != 0 && (l.soonest == 0 || d < l.soonest) {
		l.soonest = d
	}
}

// expire ends the jobs in memory whose deadline has passed, also those that wait
// for budgets.
func (l *loop) expire(ctx context.Context) {
	now := time.Now()
	if l.soonest == 0 || now.UnixNano() < l.soonest {
		return
	}
	l.soonest = 0
	for _, lane := range l.classes {
		for _, q := range lane.queues {
			before := len(q.items)
			q.items = l.unexpired(ctx, q.items, now)
			l.held -= before - len(q.items)
		}
	}
	if l.purse.crowded() {
		l.purse.crowd = l.unexpired(ctx, l.purse.crowd, now)
	}
}

// unexpired leaves the jobs in list that may go on, and ends the others.
func (l *loop) unexpired(ctx context.Context, list []*item, now time.Time) []*item {
	return keep(list, func(_ int, it *item) bool {
		if it.asg.Meta.Expired(now) {
			it.last = l.hopeless(it, now)
			l.then(func() { l.d.admit(ctx, it) }) // says so in a record
			return false
		}
		l.expect(it)
		return true
	})
}

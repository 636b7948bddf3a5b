package dispatch

import (
	"cmp"
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/broker/peek"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// A queue gives out its jobs in the order they came. Where one tenant has
// filled the memory, others' jobs behind its own are lifted: read where they
// stand, past what the queue has given out, and deleted there when their work
// message is stored. Until then they are the queue's as much as ours, so
// nothing is lost with us, and what the queue gives to somebody meanwhile is a
// copy that its claim drops.
const (
	liftEvery   = 100 * time.Millisecond // between looks while memory is full
	liftAgain   = 20 * time.Millisecond  // after a look that lifted something
	liftIdle    = 3 * time.Second        // while there is room
	liftShare   = 128                    // most jobs of a tenant and class in memory by lifting
	liftTenants = 64                     // of a queue, at a look
	liftBytes   = 4 << 20                // of one read
)

// lifts says what of whom is in memory.
type lifts struct {
	full    atomic.Int32  // intakes that wait for a place
	crowded chan struct{} // one has begun to
	lifted  atomic.Int64  // jobs lifted that are still here

	mu    sync.Mutex
	held  map[payer]int        // every job in memory, lifted or not
	spots map[string]*liftSpot // by subject
}

// payer is a tenant in the class that its jobs are queued in.
type payer struct {
	class  wire.Class
	tenant string
}

// payerOf is who pays for the jobs of a subject: all keys of a tenant have one
// share together.
func payerOf(class wire.Class, name string) payer {
	tenant, _ := wire.SplitPayer(name)
	return payer{class, tenant}
}

// liftSpot is where lifting stands in a subject.
type liftSpot struct {
	last uint64              // lifted up to here
	here map[uint64]struct{} // and still in memory, by sequence
	not  time.Time           // not again before
}

func newLifts() *lifts {
	return &lifts{crowded: make(chan struct{}, 1), held: map[payer]int{}, spots: map[string]*liftSpot{}}
}

// enter counts a job that has come into memory; false: it is here already,
// lifted.
func (l *lifts) enter(it *item) bool {
	if it.counted {
		return true
	}
	if it.msg.lifted == nil && l.lifted.Load() > 0 {
		md, err := it.msg.Metadata()
		l.mu.Lock()
		defer l.mu.Unlock()
		if s := l.spots[it.msg.Subject()]; err == nil && s != nil {
			if _, here := s.here[md.Seq]; here {
				return false
			}
		}
	} else {
		l.mu.Lock()
		defer l.mu.Unlock()
	}
	it.counted = true
	l.held[payer{it.source.Class, it.asg.Meta.Tenant}]++
	return true
}

// exit takes a job out of the count. One that was lifted and given back may be
// lifted again after a while.
func (l *lifts) exit(it *item, back bool, after time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if it.counted {
		it.counted = false
		p := payer{it.source.Class, it.asg.Meta.Tenant}
		if l.held[p]--; l.held[p] == 0 {
			delete(l.held, p)
		}
	}
	if s := it.spot; s != nil {
		l.lifted.Add(-1)
		delete(s.here, it.msg.lifted.Seq)
		if back {
			s.last, s.not = min(s.last, it.msg.lifted.Seq-1), time.Now().Add(after)
		}
		it.spot = nil
	}
}

// crowd is a queue whose jobs belong to several tenants.
type crowd struct {
	stream, queue string
	class         wire.Class
	lot           bool
	waiting       map[string]uint64 // jobs by tenant, of new ones by wire.Payer
	subject       func(tenant string) string
}

// lift looks for tenants whose jobs stand behind those of others, and for lots
// of other routers or of an earlier run, until ctx ends.
func (d *Dispatcher) lift(ctx context.Context) {
	places := map[wire.Class]*source{}
	for _, c := range wire.Classes() {
		places[c] = newSource(topology.Source{Class: c}, d.cfg.Held)
	}
	routers, rank := 1, 0
	for {
		if n, r := d.peers(); n != routers || r != rank {
			routers, rank = n, r
			d.lifts.forget()
		}
		lifted := 0
		for _, c := range d.crowds(ctx) {
			lifted += d.liftCrowd(ctx, c, places[c.class], routers, rank)
		}
		pause := liftEvery
		if lifted > 0 {
			pause = liftAgain
		}
		if ledger.Pause(ctx, pause) != nil {
			return
		}
		if lifted > 0 || d.lifts.full.Load() > 0 {
			continue
		}
		select {
		case <-d.lifts.crowded:
		case <-time.After(liftIdle):
		case <-ctx.Done():
			return
		}
	}
}

// peers is how many routers there are, and the place of this one.
func (d *Dispatcher) peers() (routers, rank int) {
	if d.cfg.Observer == nil {
		return 1, 0
	}
	s := d.cfg.Observer.Snapshot()
	return max(s.Routers, 1), max(s.Rank, 0)
}

// forget has every subject looked at from the start again: the share of this
// router is another one now.
func (l *lifts) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.spots {
		s.last = 0
	}
}

// crowds reads what waits, and tells the loop which lots there are.
func (d *Dispatcher) crowds(ctx context.Context) []*crowd {
	s := d.cfg.Subjects
	var out []*crowd
	found := map[string]*crowd{}
	at := func(stream, queue string, class wire.Class, lot bool, tenant string, n uint64, subject func(string) string) {
		c := found[stream+" "+queue]
		if c == nil {
			c = &crowd{stream: stream, queue: queue, class: class, lot: lot, waiting: map[string]uint64{}, subject: subject}
			found[stream+" "+queue] = c
			out = append(out, c)
		}
		c.waiting[tenant] = n
	}
	jobs, sched := s.Stream(wire.StreamJobs), s.Stream(wire.StreamSched)
	waiting, err := topology.Waiting(ctx, d.cfg.JS, jobs, ">")
	if err == nil {
		var requeued map[string]uint64
		requeued, err = topology.Waiting(ctx, d.cfg.JS, sched, s.Requeue("*", "*"))
		for subject, n := range requeued {
			if tenant, class, ok := s.SplitJobs(subject); ok {
				at(sched, topology.ClassQueue(class), class, false, tenant, n, func(t string) string { return s.Requeue(t, class) })
			}
		}
	}
	if err != nil && ctx.Err() == nil {
		d.cfg.Logger.Debug("backlog not looked at", "err", err)
	}
	lots := map[lot]bool{}
	for subject, n := range waiting {
		if class, route, tenant, ok := s.SplitBacklog(subject); ok {
			lots[lot{class, route}] = true
			if tenant != "" {
				at(jobs, topology.BacklogQueue(class, route), class, true, tenant, n, func(t string) string { return s.Backlog(class, route, t) })
			}
		} else if tenant, class, ok := s.SplitJobs(subject); ok && subject == s.Jobs(tenant, class) {
			at(jobs, topology.ClassQueue(class), class, false, tenant, n, func(t string) string { return s.Jobs(t, class) })
		}
	}
	for k := range lots {
		select {
		case d.found <- k:
		case <-ctx.Done():
		}
	}
	d.lifts.sweep(waiting)
	return out
}

// sweep forgets the subjects that are empty.
func (l *lifts) sweep(waiting map[string]uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for subject, s := range l.spots {
		if len(s.here) == 0 && waiting[subject] == 0 && time.Now().After(s.not) {
			delete(l.spots, subject)
		}
	}
}

// liftCrowd lifts jobs of those tenants that have less than their share in
// memory, and returns how many.
func (d *Dispatcher) liftCrowd(ctx context.Context, c *crowd, src *source, routers, rank int) int {
	if len(c.waiting) < 2 {
		return 0
	}
	share := max(min(liftShare, d.cfg.Held/len(c.waiting)), 1)
	behind := d.lifts.behind(c, share)
	if len(behind) == 0 {
		return 0
	}
	cons, err := d.cfg.JS.Consumer(ctx, c.stream, c.queue)
	if err != nil || cons.CachedInfo().NumPending == 0 {
		return 0 // gone, or everything in it is in some router's hands
	}
	from := cons.CachedInfo().Delivered.Stream + 1
	if c.lot {
		src = &source{Source: src.Source, free: src.free, lot: true}
	}
	lifted := 0
	for _, tenant := range behind[:min(len(behind), liftTenants)] {
		want := src.take(share)
		if want == 0 || ctx.Err() != nil {
			break
		}
		n := d.liftFrom(ctx, c, tenant, src, from, want, uint64(routers), uint64(rank))
		src.release(want - n)
		lifted += n
	}
	return lifted
}

// behind lists the tenants that have less than their share in memory, those
// with the least first.
func (l *lifts) behind(c *crowd, share int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for tenant, n := range c.waiting {
		have := l.held[payerOf(c.class, tenant)]
		spot := l.spots[c.subject(tenant)]
		if have < share && n > uint64(have) && (spot == nil || !time.Now().Before(spot.not)) {
			out = append(out, tenant)
		}
	}
	slices.Sort(out) // a map's order, and then another one, are not a shuffle
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	slices.SortStableFunc(out, func(a, b string) int {
		return cmp.Compare(l.held[payerOf(c.class, a)], l.held[payerOf(c.class, b)])
	})
	return out
}

// liftFrom lifts jobs of a tenant from a sequence on. Of several routers each
// lifts those sequences that are its own.
func (d *Dispatcher) liftFrom(ctx context.Context, c *crowd, tenant string, src *source, from uint64, want int, routers, rank uint64) int {
	subject := c.subject(tenant)
	l := d.lifts
	l.mu.Lock()
	spot := l.spots[subject]
	if spot == nil {
		spot = &liftSpot{here: map[uint64]struct{}{}}
		l.spots[subject] = spot
	}
	from = max(from, spot.last+1)
	l.mu.Unlock()
	var got []*item
	w := peek.Walk{Conn: d.cfg.JS.Conn(), Stream: c.stream, Subject: subject, From: from, Batch: min(want*int(routers), 1024), Bytes: liftBytes}
	_, err := w.Run(ctx, func(m peek.Message) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, here := spot.here[m.Seq]; len(got) == want || m.Stored != subject {
			return
		} else if spot.last = m.Seq; here || m.Seq%routers != rank {
			return
		}
		spot.here[m.Seq] = struct{}{}
		l.lifted.Add(1)
		got = append(got, &item{spot: spot, msg: &delivery{m: m.Msg, lifted: &lifted{Message: m, conn: d.cfg.JS.Conn(), stream: c.stream}}, source: src})
	}, func() bool { return true })
	if err != nil && ctx.Err() == nil {
		d.cfg.Logger.Debug("jobs behind those of others not read", "tenant", tenant, "err", err)
	}
	for _, it := range got {
		d.admit(ctx, it)
	}
	return len(got)
}

// lifted is a job that was read where it stands in its queue.
type lifted struct {
	peek.Message
	conn   *nats.Conn
	stream string
}

// remove deletes the job from its queue: fire and forget, as acknowledgements
// are. One that stays is a copy whose claim is refused.
func (l *lifted) remove() error {
	b, err := json.Marshal(map[string]any{"seq": l.Seq, "no_erase": true})
	if err != nil {
		return err
	}
	return l.conn.Publish(strings.Join([]string{"$JS.API.STREAM.MSG.DELETE", l.stream}, "."), b)
}

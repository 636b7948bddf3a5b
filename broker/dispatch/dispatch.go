package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/budget"
	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/internal/tracing"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"golang.org/x/sync/errgroup"
)

// Config says what a dispatcher works with.
type Config struct {
	JS       jetstream.JetStream
	Subjects wire.Subjects
	Ledger   *ledger.Ledger
	Logger   *slog.Logger
	// Held is the most jobs per class and stream kept in memory.
	// Defaults to 512.
	Held int
	// Captures is the share of the jobs of which every decision is kept with all
	// that it saw, so that it can be replayed. Defaults to none.
	Captures float64
	// RetryBudget is the share of a route's first attempts that its retries may
	// be, over a minute. RetryMinimum retries a minute are allowed in any case,
	// or 15 for each slot of the route's pools if that is more, over all routers. Default to 0.25
	// and 60.
	RetryBudget  float64
	RetryMinimum int
	// NoWebhooks refuses jobs that ask for a webhook: nobody would call it.
	NoWebhooks bool
	// Budgets say what jobs may cost. Nil: anything.
	Budgets *budget.Book
	// Tracer makes a span of each decision. Nil: none.
	Tracer *tracing.Tracer
	// Observer says how the pools do. Nil: nothing is known but their depths.
	Observer *observe.Observer
}

// Dispatcher assigns jobs to pools. Make one with New, start it with Run.
type Dispatcher struct {
	cfg   Config
	pub   *ledger.Publisher
	table atomic.Pointer[router.Table]
	tiers atomic.Pointer[map[string]string] // by tenant
	plan  atomic.Pointer[steer.Plan]        // nil: nothing is steered

	arrived chan *item
	acked   chan outcome
	sent    chan sending
	depths  chan depths
	emptied chan lot      // a lot has no more jobs
	found   chan lot      // a lot has jobs
	asks    chan []*ask   // for holds
	held    chan []*ask   // answered
	wake    chan struct{} // asks for a fresh look at the queue depths
	lifts   *lifts

	replanned chan struct{} // there is a new plan

	captures     chan keeping
	keepingBytes atomic.Int64  // of blocks in captures
	uncaptured   atomic.Uint64 // blocks, since it was last said
	lost         atomic.Bool   // a block was not stored

	placed atomic.Uint64
	rare   sync.WaitGroup // jobs that leave the loop another way than to a pool
}

// item is a job in the dispatcher's hands.
type item struct {
	msg     *delivery
	source  *source
	asg     wire.Assignment
	course  steer.Course
	counted bool           // in lifts
	spot    *liftSpot      // that it was lifted from, nil: it was not
	last    *wire.Decision // when its deadline passed: why nobody took it; nil: nobody was asked
}

// sending is a work message on its way, outcome what became of it.
type sending struct {
	it     *item
	pool   int
	table  *router.Table
	future *ledger.Future
	until  time.Time // when its acknowledgement counts as lost
}

type outcome struct {
	it    *item
	pool  int
	table *router.Table
	seq   uint64
	err   error
}

// maxSending bounds the work messages without an acknowledgement.
const maxSending = 1024

// New makes a dispatcher; it does no I/O.
func New(cfg Config, table *router.Table) *Dispatcher {
	if cfg.Held <= 0 {
		cfg.Held = 512
	}
	if cfg.RetryBudget <= 0 {
		cfg.RetryBudget = 0.25
	}
	if cfg.RetryMinimum <= 0 {
		cfg.RetryMinimum = 60
	}
	d := &Dispatcher{
		cfg:      cfg,
		pub:      ledger.NewPublisher(cfg.JS.Conn()),
		arrived:  make(chan *item, 256),
		acked:    make(chan outcome, maxSending),
		sent:     make(chan sending, maxSending),
		depths:   make(chan depths, 1),
		emptied:  make(chan lot, 1),
		found:    make(chan lot, 1),
		asks:     make(chan []*ask, 1),
		held:     make(chan []*ask),
		wake:     make(chan struct{}, 1),
		captures: make(chan keeping, maxCaptures),
		lifts:    newLifts(),

		replanned: make(chan struct{}, 1),
	}
	d.table.Store(table)
	d.tiers.Store(&map[string]string{})
	return d
}

// SetTable replaces pools and routes, from the next decision on.
func (d *Dispatcher) SetTable(t *router.Table) { d.table.Store(t) }

// SetTiers replaces the tenants' tiers, by tenant; the map is not to be
// changed any more.
func (d *Dispatcher) SetTiers(tiers map[string]string) { d.tiers.Store(&tiers) }

// Tier is the tenant's tier, empty if it has none.
func (d *Dispatcher) Tier(tenant string) string { return (*d.tiers.Load())[tenant] }

// Table is the current pools and routes.
func (d *Dispatcher) Table() *router.Table { return d.table.Load() }

// Placed is how many jobs this dispatcher has given to pools.
func (d *Dispatcher) Placed() uint64 { return d.placed.Load() }

// Run dispatches until ctx ends. Jobs in its hands then go back to the
// backlog. It returns nil after that, and an error if the queues cannot be
// set up.
func (d *Dispatcher) Run(ctx context.Context) error {
	var sources []topology.Source
	err := topology.Persist(ctx, func(ctx context.Context) (err error) {
		sources, err = topology.Sources(ctx, d.cfg.JS, d.cfg.Subjects)
		return err
	})
	var work jetstream.Stream
	if err == nil {
		work, err = d.cfg.JS.Stream(ctx, d.cfg.Subjects.Stream(wire.StreamWork))
	}
	switch {
	case ctx.Err() != nil:
		return nil // stopped before it began
	case err != nil:
		return fmt.Errorf("dispatcher: %w", err)
	}
	if d.cfg.Budgets != nil {
		select {
		case <-d.cfg.Budgets.Known():
		case <-ctx.Done():
			return nil
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	l := newLoop(d)
	for _, s := range sources {
		src := newSource(s, d.cfg.Held)
		src.lifts = d.lifts
		g.Go(func() error { d.intake(ctx, src); return nil })
	}
	g.Go(func() error { d.lift(ctx); return nil })
	g.Go(func() error { d.endOverdue(ctx); return nil })
	g.Go(func() error { d.watchDepths(ctx, work); return nil })
	g.Go(func() error { d.rescue(ctx, work); return nil })
	g.Go(func() error { d.recall(ctx, work); return nil })
	g.Go(func() error { d.takeHolds(ctx); return nil })
	g.Go(func() error { l.run(ctx); close(d.sent); close(d.captures); return nil })
	g.Go(func() error { d.ack(); return nil })
	g.Go(func() error { d.keepCaptures(ctx); return nil })
	err = g.Wait()
	d.rare.Wait()
	d.handBackLate()
	return err
}

// handBackLate returns what came for the loop when it had ended. Nobody else
// runs any more.
func (d *Dispatcher) handBackLate() {
	for o := range d.acked {
		if o.err != nil {
			d.giveBack(o.it, 0)
		}
	}
	close(d.arrived)
	for it := range d.arrived {
		d.giveBack(it, 0)
	}
}

// ack waits for work publishes in the order they were sent and acknowledges
// the job message behind each (I1). It ends when sent is closed.
//
// Each has its own time-out from when it was sent: where a stream without a
// leader loses hundreds, all are given up together and not one after the other.
func (d *Dispatcher) ack() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for s := range d.sent {
		timer.Reset(time.Until(s.until))
		o := outcome{it: s.it, pool: s.pool, table: s.table}
		select {
		case <-s.future.Done():
		case <-timer.C:
		}
		select {
		case <-s.future.Done():
			if o.seq, o.err = s.future.Result(); o.err == nil {
				if s.pool != parked {
					d.placed.Add(1)
				}
				d.done(s.it)
			}
		default:
			s.future.Forget()
			// Stored or not, nobody knows. Given back the job comes again, and
			// a second work message is harmless.
			o.err = errNoAck
		}
		d.acked <- o
	}
	close(d.acked)
}

// sendTimeout bounds the wait for a work publish.
const sendTimeout = 10 * time.Second

var errNoAck = errors.New("no acknowledgement from the work stream")

// done acknowledges a job message and frees its place.
func (d *Dispatcher) done(it *item) {
	if err := it.msg.Ack(); err != nil {
		d.cfg.Logger.Debug("job message not acknowledged; it will come again", "job", it.asg.Meta.ID, "err", err)
	}
	d.lifts.exit(it, false, 0)
	it.source.release(1)
}

// giveBack returns a job message to its queue.
func (d *Dispatcher) giveBack(it *item, after time.Duration) {
	var err error
	if after > 0 {
		err = it.msg.NakWithDelay(after)
	} else {
		err = it.msg.Nak()
	}
	if err != nil {
		d.cfg.Logger.Debug("job message not returned; it will come again", "job", it.asg.Meta.ID, "err", err)
	}
	d.lifts.exit(it, true, after)
	it.source.release(1)
}

// publish sends the work message for a decision.
func (d *Dispatcher) publish(it *item, a *wire.Attempt) (*ledger.Future, error) {
	asg := it.asg
	asg.Attempt, asg.Progress.Told = a, 0
	h := wire.EncodeAssignment(&asg)
	return d.pub.Publish(&nats.Msg{Subject: d.cfg.Subjects.Work(a.Pool), Header: h, Data: it.msg.Data()})
}

package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/internal/tracing"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
	"github.com/sluicehq/sluice/workers/text"
	"golang.org/x/sync/errgroup"
)

// Config says what a runner works with. Zero durations and counts take their
// defaults.
type Config struct {
	JS       jetstream.JetStream
	Subjects wire.Subjects
	Ledger   *ledger.Ledger
	Logger   *slog.Logger
	Instance string // this process, unique over restarts; required
	Pools    []Pool
	Tracer   *tracing.Tracer // makes a span of each attempt; nil: none
	Texts    *text.Keeper    // keeps what was said, for tenants that want it; nil: nobody does

	AckWait     time.Duration // lease on a work message; defaults to 30 s
	MaxAttempts int           // failed attempts before a job is dead; defaults to 3
	MaxCuts     int           // interrupted attempts before a job is dead; defaults to ledger.MaxCuts
	Backoff     time.Duration // before the second attempt at the same pools; defaults to 500 ms
	BackoffMax  time.Duration // defaults to ledger.BackoffMax
	Drain       time.Duration // how long running calls may go on after a stop; defaults to 30 s
}

// Pool is a queue to serve.
type Pool struct {
	Name        string
	Concurrency int // over all workers
	Endpoint    *engine.Endpoint
	// Bundle has jobs go by the provider's own batch API; nil: a call each.
	Bundle *Bundling
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.AckWait, 30*time.Second)
	def(&c.Backoff, 500*time.Millisecond)
	def(&c.BackoffMax, ledger.BackoffMax)
	def(&c.Drain, 30*time.Second)
	if c.MaxAttempts == 0 {
		c.MaxAttempts = 3
	}
	if c.MaxCuts == 0 {
		c.MaxCuts = ledger.MaxCuts
	}
	return c
}

// Runner serves pools. Make one with New, start it with Run.
type Runner struct {
	cfg Config

	// final is where ends of attempts are written: a result is paid for, and
	// written even while the worker stops, up to Config.Drain after it cut its
	// calls off. Set by Run.
	final context.Context

	stored stored

	mu       sync.Mutex
	running  map[string]*call // by tenant.job
	bundlers []*bundler
	retired  chan struct{} // closed by Retire
	once     sync.Once
}

// call is an attempt under way.
type call struct {
	msg     jetstream.Msg
	workSeq uint64
	cancel  context.CancelCauseFunc
}

// Why a call is stopped.
var (
	errAborted  = errors.New("the job was cancelled")
	errDraining = errors.New("the worker is stopping")
)

// New makes a runner; it does no I/O.
func New(cfg Config) *Runner {
	return &Runner{cfg: cfg.withDefaults(), running: map[string]*call{}, retired: make(chan struct{})}
}

// Retire has the runner take no more jobs. Run returns when the calls under way
// have ended, however long that takes, or its context.
func (r *Runner) Retire() { r.once.Do(func() { close(r.retired) }) }

// Run serves the pools until ctx ends, then stops taking jobs, lets running
// calls finish for Config.Drain, cuts the rest off (each an `interrupted`
// attempt that goes back to the routers) and returns nil.
func (r *Runner) Run(ctx context.Context) error {
	hard, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	var drop context.CancelFunc
	r.final, drop = context.WithCancel(context.WithoutCancel(ctx))
	defer drop()
	defer context.AfterFunc(hard, func() { time.AfterFunc(r.cfg.Drain, drop) })()
	abort, err := r.cfg.JS.Conn().Subscribe(r.cfg.Subjects.Abort("*", "*"), r.onAbort)
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	defer func() { _ = abort.Unsubscribe() }()
	g, gctx := errgroup.WithContext(ctx)
	take, stop := context.WithCancel(gctx)
	g.Go(func() error {
		defer stop()
		select {
		case <-r.retired:
		case <-gctx.Done():
		}
		return nil
	})
	for _, p := range r.cfg.Pools {
		if p.Bundle != nil {
			g.Go(func() error { return r.bundle(gctx, take, hard, cut, p) })
			continue
		}
		g.Go(func() error { return r.serve(gctx, take, hard, cut, p) })
	}
	g.Go(func() error { r.pulse(take, hard); return nil })
	return g.Wait()
}

// serve consumes one pool's queue until take ends; from the end of ctx on, its
// calls have Config.Drain to end.
func (r *Runner) serve(ctx, take, hard context.Context, cut context.CancelCauseFunc, p Pool) error {
	calls := newCrew(func(m jetstream.Msg) { r.handle(hard, p, m) })
	for {
		cons, err := ledger.OpenQueue(take, r.cfg.JS, r.cfg.Subjects, wire.StreamWork,
			ledger.WorkConsumerConfig(r.cfg.Subjects, p.Name, p.Concurrency, r.cfg.AckWait))
		if err == nil {
			err = r.consume(take, cons, p, calls)
		}
		if take.Err() != nil {
			break
		}
		r.cfg.Logger.Warn("pool queue lost, opening it again", "pool", p.Name, "err", err)
		if ledger.Pause(take, time.Second) != nil {
			break
		}
	}
	done := make(chan struct{})
	go func() { calls.wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-done:
	case <-time.After(r.cfg.Drain):
		cut(errDraining)
		<-done
	}
	return nil
}

// consume handles each message beside the others: the server never gives out
// more than the pool's concurrency. It returns when ctx ends or the consumer
// is gone.
func (r *Runner) consume(ctx context.Context, cons jetstream.Consumer, p Pool, calls *crew) error {
	failed := make(chan error, 1)
	take := func(m jetstream.Msg) {
		if r.cfg.Subjects.IsPin(m.Subject()) {
			return
		}
		if ctx.Err() == nil {
			calls.take(m)
		} else if err := m.Nak(); err != nil { // for another worker, at once
			r.cfg.Logger.Debug("work message not given back; it will come again", "pool", p.Name, "err", err)
		}
	}
	cc, err := cons.Consume(take, jetstream.PullMaxMessages(max(p.Concurrency, 2)), jetstream.PullExpiry(5*time.Second),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			if errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound) {
				select {
				case failed <- err:
				default:
				}
			}
		}))
	if err != nil {
		return err
	}
	defer func() {
		cc.Drain() // not Stop, which drops what is on its way
		<-cc.Closed()
	}()
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// pulse extends the leases of all running calls three times per ack wait, and
// goes on until the last of them has ended after a stop.
func (r *Runner) pulse(ctx, hard context.Context) {
	tick := time.NewTicker(r.cfg.AckWait / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-hard.Done():
			return
		case <-ctx.Done():
			if r.count() == 0 {
				return
			}
			if ledger.Pause(hard, 50*time.Millisecond) != nil {
				return
			}
			select {
			case <-tick.C:
			default:
				continue
			}
		}
		r.extend()
	}
}

func (r *Runner) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.running)
}

func (r *Runner) extend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.running {
		if err := c.msg.InProgress(); err != nil {
			r.cfg.Logger.Debug("lease not extended", "err", err)
		}
	}
}

// onAbort stops the call of a job that was cancelled, if it runs here.
func (r *Runner) onAbort(m *nats.Msg) {
	tenant, job, ok := r.cfg.Subjects.SplitTenantJob(m.Subject)
	if !ok {
		return
	}
	r.mu.Lock()
	c, bundlers := r.running[tenant+"."+job], r.bundlers
	r.mu.Unlock()
	if c != nil {
		c.cancel(errAborted)
		return
	}
	for _, b := range bundlers {
		b.aborted()
	}
}

// enter registers a call; false: the job already runs here.
func (r *Runner) enter(key string, c *call) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running[key] != nil {
		return false
	}
	r.running[key] = c
	return true
}

// leave is the end of enter. It may be repeated, and does nothing to another
// call of the same job.
func (r *Runner) leave(key string, c *call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running[key] == c {
		delete(r.running, key)
	}
}

// runs reports whether this process runs the job from that work message.
func (r *Runner) runs(key string, workSeq uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.running[key]
	return c != nil && c.workSeq == workSeq
}

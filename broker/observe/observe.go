package observe

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"golang.org/x/sync/errgroup"
)

// Config says what an observer works with.
type Config struct {
	JS       jetstream.JetStream
	Subjects wire.Subjects
	Logger   *slog.Logger
	// Instance names this router among the live processes, unique over
	// restarts. Required.
	Instance string
	// Tail reads the ledger for this process, from History back, and starts
	// after New. Nil: the observer reads for itself.
	Tail *ledger.Tail
}

// History is how far back the ledger is read at the start.
const History = 5 * time.Minute

// Limits are what a pool's provider allows in a minute; 0: not limited, or not
// known.
type Limits struct{ Requests, Tokens int64 }

// Setup is what an observer is to observe. It is not changed after it was
// given away.
type Setup struct {
	Table  *router.Table
	Limits map[string]Limits // by pool
}

// Observer follows the ledger and the presence of processes.
type Observer struct {
	cfg     Config
	current atomic.Pointer[Snapshot]
	news    chan struct{}
	dirty   chan struct{}
	folded  atomic.Uint64 // ledger sequence; every record's only while starts are counted
	counts  atomic.Bool   // whether they are; the fold says so

	own      bool   // the tail is run here
	unfollow func() // ends hearing of the ledger

	mu    sync.Mutex
	state *fold
}

// New makes an observer; it does no I/O.
func New(cfg Config, s Setup) *Observer {
	o := &Observer{cfg: cfg, news: make(chan struct{}, 1), dirty: make(chan struct{}, 1), state: newFold(cfg.Instance)}
	if o.own = cfg.Tail == nil; o.own {
		o.cfg.Tail = ledger.NewTail(cfg.JS, cfg.Subjects, History, cfg.Logger)
	}
	o.unfollow = o.cfg.Tail.Follow(o.heard)
	o.Set(s)
	return o
}

// Set replaces what is observed; what is known of pools and models that stay
// is kept.
func (o *Observer) Set(s Setup) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state.set(s)
	o.counts.Store(o.state.counting)
	o.publish(time.Now())
}

// Tail is where the observer hears the ledger, for others of this process.
func (o *Observer) Tail() *ledger.Tail { return o.cfg.Tail }

// Snapshot is what is known now. It never changes (I1).
func (o *Observer) Snapshot() *Snapshot { return o.current.Load() }

// Fresh is what is known now, with everything folded that has come. It takes a
// lock, so it is for moments and not for each decision.
func (o *Observer) Fresh() *Snapshot {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state.unseen {
		o.publish(time.Now())
	}
	return o.current.Load()
}

// CatchUp waits, for a moment at most, until everything is folded that the
// ledger holds now, if starts and ends must be known exactly: for the limits.
// An attempt that a queue has forgotten by then has ended in the fold too.
func (o *Observer) CatchUp(ctx context.Context) {
	o.mu.Lock()
	counting := o.state.counting
	o.mu.Unlock()
	if !counting {
		return
	}
	s, err := o.cfg.JS.Stream(ctx, o.cfg.Subjects.Stream(wire.StreamLedger))
	if err != nil {
		return // what is not known is asked for again soon
	}
	last := s.CachedInfo().State.LastSeq
	for i := range catchUpTries {
		if o.folded.Load() >= last || ledger.Pause(ctx, catchUpPause) != nil {
			return
		}
		if i == catchUpTries/5 {
			o.cfg.Tail.Doubt() // another process writes
		}
	}
}

// How long CatchUp waits.
const (
	catchUpTries = 100
	catchUpPause = 500 * time.Microsecond
)

// News has an element when there is a newer snapshot than the last reader of
// News has seen. It is for one reader.
func (o *Observer) News() <-chan struct{} { return o.news }

// How often what was folded is published at most, and peers are compared.
const (
	publishEvery = 5 * time.Millisecond
	judgeEvery   = 500 * time.Millisecond
)

// Run observes until ctx ends and returns nil then; an error means that the
// streams are missing.
func (o *Observer) Run(ctx context.Context) error {
	defer o.unfollow()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return o.announce(ctx) })
	if o.own {
		g.Go(func() error { return o.cfg.Tail.Run(ctx) })
	}
	g.Go(func() error { return o.watchNodes(ctx) })
	g.Go(func() error { return o.watchDrained(ctx) })
	g.Go(func() error { return o.watchProbes(ctx) })
	g.Go(func() error { return o.watchQuality(ctx) })
	g.Go(func() error { o.tick(ctx); return nil })
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("observer: %w", err)
	}
	return nil
}

// announce makes this router one of those that share the limits.
func (o *Observer) announce(ctx context.Context) error {
	node := ledger.Node{Instance: o.cfg.Instance, Router: true, Roles: []string{"router"}, Started: time.Now().UTC().Format(time.RFC3339)}
	return ledger.Announce(ctx, o.cfg.JS, o.cfg.Subjects, func() ledger.Node { return node })
}

// tick publishes what was folded, and compares the pools.
func (o *Observer) tick(ctx context.Context) {
	judge := time.NewTicker(judgeEvery)
	defer judge.Stop()
	for {
		select {
		case <-o.dirty:
			o.mu.Lock()
			o.publish(time.Now())
			o.mu.Unlock()
			if ledger.Pause(ctx, publishEvery) != nil {
				return
			}
		case <-judge.C:
			now := time.Now()
			o.mu.Lock()
			if o.state.judge(now.UnixNano()) {
				o.publish(now)
			}
			o.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// publish makes a snapshot of the state, which the caller has locked.
func (o *Observer) publish(now time.Time) {
	o.state.unseen = false
	o.current.Store(o.state.snapshot(now.UnixNano(), o.current.Load()))
	select {
	case o.news <- struct{}{}:
	default:
	}
}

// changed asks for a new snapshot soon.
func (o *Observer) changed() {
	select {
	case o.dirty <- struct{}{}:
	default:
	}
}

// heard folds a record of the ledger.
func (o *Observer) heard(m *ledger.Seen) {
	if !o.counts.Load() && first(m.Header, wire.HeaderStatus) == string(wire.Running) {
		return // half of all records, of which nobody needs to know
	}
	o.mu.Lock()
	news := o.state.record(m, m.At.UnixNano())
	o.counts.Store(o.state.counting)
	o.mu.Unlock()
	o.folded.Store(m.Seq)
	if news {
		o.changed()
	}
}

package batch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/lease"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Config says what a Service works with. JS, Instance and StatusOf must be
// set.
type Config struct {
	JS       jetstream.JetStream
	Subjects wire.Subjects
	// Ledger defaults to one on JS.
	Ledger *ledger.Ledger
	// Logger defaults to slog.Default().
	Logger *slog.Logger
	// Instance is this process, unlike any other or earlier one.
	Instance string
	// Replicas of the bucket of leases. Defaults to 1.
	Replicas int
	// Routes says whether there is a route for a model. Nil: a line with a
	// model that there is none for fails when it runs.
	Routes func(model string) bool
	// StatusOf is the HTTP status for an error code; provider is the
	// provider's own status, 0 if there was none.
	StatusOf func(code wire.Code, provider int) int

	// MaxLines is the most lines of a batch. Defaults to 5,000,000.
	MaxLines int64
	// Window is the most lines of a batch on their way, and eight times that
	// where a provider's batch API may take them. Defaults to 8192.
	Window int
	// MaxActive is the most batches that this process runs at a time; others
	// wait, unless another process takes them. Defaults to 8.
	MaxActive int
	// LeaseTTL is how long after the death of a batch's owner another one may
	// go on. Defaults to 10 seconds.
	LeaseTTL time.Duration
}

// Service runs batches, together with those of other processes. Make one with
// New, start it with Run.
type Service struct {
	cfg   Config
	store *Store
	pub   *ledger.Publisher

	ctx     context.Context // of Run
	reading sync.WaitGroup  // followers

	mu        sync.Mutex
	followers map[string]*follower // by tenant
}

// New makes a Service; it does no I/O.
func New(cfg Config) *Service {
	if cfg.Ledger == nil {
		cfg.Ledger = ledger.New(cfg.JS, cfg.Subjects)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	cfg.MaxLines = cmp.Or(cfg.MaxLines, 5_000_000)
	cfg.Window = cmp.Or(cfg.Window, 8192)
	cfg.MaxActive = cmp.Or(cfg.MaxActive, 8)
	cfg.LeaseTTL = cmp.Or(cfg.LeaseTTL, 10*time.Second)
	return &Service{cfg: cfg, store: NewStore(cfg.JS, cfg.Subjects), pub: ledger.NewPublisher(cfg.JS.Conn()), followers: map[string]*follower{}}
}

// Run runs batches until ctx ends, gives back those that it has and returns
// nil. Jobs on their way go on, and their results are folded by the next
// owner. An error means that the bucket is not there.
func (s *Service) Run(ctx context.Context) error {
	kv, err := s.store.bucket(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("batches: %w", err)
	}
	s.ctx = ctx
	var all sync.WaitGroup
	defer s.reading.Wait()
	defer all.Wait()
	all.Go(func() { s.clean(ctx) })
	k := &keeper{s: s, batches: map[string]*held{}, ended: make(chan *held), all: &all}
	for ctx.Err() == nil {
		w, err := kv.Watch(ctx, key(kindBatch, "*", "*"))
		if err == nil {
			err = k.watch(ctx, w)
			_ = w.Stop() // fails where the connection has
		}
		if err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("batches are not watched, trying again", "err", err)
			_ = ledger.Pause(ctx, time.Second) // ends with ctx, as the loop does
		}
	}
	k.drain()
	return nil
}

// lookEvery is how often a batch that waits, for its owner to die or for a
// place here, is looked at.
const lookEvery = 2 * time.Second

// keeper knows the batches that have not ended, and which of them run here.
// It belongs to Run's goroutine.
type keeper struct {
	s       *Service
	batches map[string]*held // by key
	running int
	ended   chan *held
	all     *sync.WaitGroup
}

// held is a batch that has not ended.
type held struct {
	m     *Manifest
	run   *run // nil: not here
	err   error
	after time.Time     // not to be tried before
	pause time.Duration // after the next failure
}

// watch follows the bucket until it fails or ctx ends.
func (k *keeper) watch(ctx context.Context, w jetstream.KeyWatcher) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	complete := false
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return errors.New("the watch has ended")
			case e == nil:
				complete = true
			default:
				k.changed(e)
			}
		case h := <-k.ended:
			k.end(h)
		case <-look.C:
		case <-ctx.Done():
			return nil
		}
		if complete {
			k.start(ctx)
		}
	}
}

// changed takes a new version of a manifest.
func (k *keeper) changed(e jetstream.KeyValueEntry) {
	h := k.batches[e.Key()]
	var m Manifest
	if e.Operation() != jetstream.KeyValuePut || json.Unmarshal(e.Value(), &m) != nil || m.Status.Terminal() {
		if h != nil && h.run == nil {
			delete(k.batches, e.Key())
		}
		return
	}
	if h == nil {
		h = &held{}
		k.batches[e.Key()] = h
	}
	h.m = &m
	if m.Status == Cancelling && h.run != nil {
		h.run.stopped()
	}
}

// start takes batches that nobody runs, while there is room: of the tenant
// that has the fewest here, the oldest.
func (k *keeper) start(ctx context.Context) {
	now := time.Now()
	for k.running < k.s.cfg.MaxActive {
		busy := map[string]int{}
		for _, h := range k.batches {
			if h.run != nil {
				busy[h.m.Tenant]++
			}
		}
		var next *held
		for _, h := range k.batches {
			if h.run != nil || now.Before(h.after) {
				continue
			}
			if next == nil || cmp.Or(cmp.Compare(busy[h.m.Tenant], busy[next.m.Tenant]), cmp.Compare(h.m.order(), next.m.order())) < 0 {
				next = h
			}
		}
		if next == nil {
			return
		}
		k.running++
		next.run = &run{s: k.s, m: next.m, cancel: make(chan struct{}),
			log: k.s.cfg.Logger.With("batch", next.m.ID, "tenant", next.m.Tenant)}
		k.all.Go(func() {
			next.err = k.s.own(ctx, next.run)
			k.ended <- next
		})
	}
}

// order sorts batches of all APIs by creation.
func (m *Manifest) order() string {
	_, id, _ := cutPrefix(m.ID)
	return fmt.Sprintf("%012d %s", m.At[Validating], id)
}

const (
	pauseFirst = time.Second
	pauseLast  = 30 * time.Second
)

// end takes back a batch that does not run here any more.
func (k *keeper) end(h *held) {
	k.running--
	ended := h.run.m.Status.Terminal()
	h.run = nil
	switch err := h.err; {
	case err == nil && ended:
		delete(k.batches, key(kindBatch, h.m.Tenant, h.m.ID))
	case err == nil, errors.Is(err, lease.ErrHeld):
		h.after, h.pause = time.Now().Add(lookEvery), 0
	default:
		if k.s.ctx.Err() == nil {
			k.s.cfg.Logger.Warn("batch stopped, it will go on", "batch", h.m.ID, "tenant", h.m.Tenant, "err", err)
		}
		h.pause = min(max(2*h.pause, pauseFirst), pauseLast)
		h.after = time.Now().Add(h.pause)
	}
}

// drain waits until nothing runs here.
func (k *keeper) drain() {
	for k.running > 0 {
		k.end(<-k.ended)
	}
}

// own runs a batch under its lease.
func (s *Service) own(ctx context.Context, r *run) error {
	l, err := lease.Try(ctx, lease.Config{JS: s.cfg.JS, Subjects: s.cfg.Subjects, Key: "batch." + r.m.Tenant + "." + r.m.ID,
		Instance: s.cfg.Instance, TTL: s.cfg.LeaseTTL, Replicas: s.cfg.Replicas})
	if err != nil {
		return err
	}
	ctx, lost := context.WithCancelCause(ctx)
	var kept sync.WaitGroup
	kept.Go(func() { l.Keep(ctx, lost) })
	err = r.run(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	lost(nil)
	kept.Wait()
	if rerr := l.Release(); rerr != nil {
		r.log.Debug("the lease was not given back and lapses by itself", "err", rerr)
	}
	return err
}

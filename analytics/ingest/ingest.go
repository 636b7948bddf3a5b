package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/lease"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Store is what the ingester needs of package store.
type Store interface {
	// Migrate brings the tables up to date. It may run again.
	Migrate(ctx context.Context) error
	// MaxSeq is a table's position.
	MaxSeq(ctx context.Context, t store.Table) (uint64, error)
	// InsertAttempts and InsertJobs add rows of one partition as a whole or
	// not at all, and refuse if the table does not stand where they continue.
	InsertAttempts(ctx context.Context, rows []store.Attempt) error
	InsertJobs(ctx context.Context, rows []store.Job) error
	// InsertScores adds reports of how good answers were. Some may be there.
	InsertScores(ctx context.Context, rows []store.Score) error
	// InsertTexts adds what was said in attempts that the table does not have,
	// and says how many these were.
	InsertTexts(ctx context.Context, rows []store.Text) (added int, err error)
	// ForgetTexts deletes what was said by a tenant, or in one job of it.
	ForgetTexts(ctx context.Context, tenant, job string) error
	// ShortenTexts has what was said by a tenant go after at most that time.
	ShortenTexts(ctx context.Context, tenant string, keep time.Duration) error
}

// Config is what an ingester needs. Zero values mean the defaults.
type Config struct {
	// JS is the connection to the ledger. Required.
	JS jetstream.JetStream
	// Subjects names the streams.
	Subjects wire.Subjects
	// Tail is what else of this process reads the ledger's newest records;
	// then they are read once for both. May be nil.
	Tail *ledger.Tail
	// Store is where rows go. Required.
	Store Store
	// Instance names this process, different from every other that runs. A
	// process that keeps its name over a restart takes its own lease back at
	// once; otherwise it waits for it to lapse. Required.
	Instance string
	// Logger defaults to slog.Default.
	Logger *slog.Logger

	// FlushInterval is the longest that a row waits for company, and ten of
	// them where it is one of very many, or where inserts take so long that
	// they would take more than a twentieth of the time. Defaults to 500 ms.
	FlushInterval time.Duration
	// MaxRows in memory cause a flush; as many more may be on their way to
	// ClickHouse. Defaults to 20,000.
	MaxRows int
	// MaxBytes of records in memory cause a flush, likewise. Defaults to 32 MiB.
	MaxBytes int
	// InsertTimeout bounds one insert. Defaults to 1 min.
	InsertTimeout time.Duration
	// LeaseTTL is how long after the active ingester's last sign of life
	// another takes over, at least 2 s. Defaults to 10 s.
	LeaseTTL time.Duration
	// Retention is how long records stay in the ledger once they are in
	// ClickHouse. Defaults to 24 h.
	Retention time.Duration
	// TextsKept says how long tenants keep texts, of those that do; nil: nobody
	// does. It is asked from any goroutine.
	TextsKept func() map[string]time.Duration
	// RetryMax is the longest pause between two tries while ClickHouse or
	// NATS is away. Defaults to 5 s.
	RetryMax time.Duration
	// Replicas of the lease bucket. Defaults to 1.
	Replicas int
}

// janitorInterval is how often old records are purged.
const janitorInterval = time.Minute

// stopGrace is how long a stop waits for the last insert.
const stopGrace = 5 * time.Second

// remindInterval is how often a lasting failure is logged.
const remindInterval = time.Minute

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	def(&c.FlushInterval, 500*time.Millisecond)
	def(&c.MaxRows, 20_000)
	def(&c.MaxBytes, 32<<20)
	def(&c.InsertTimeout, time.Minute)
	def(&c.LeaseTTL, 10*time.Second)
	c.LeaseTTL = max(c.LeaseTTL, 2*time.Second)
	def(&c.Retention, 24*time.Hour)
	def(&c.RetryMax, 5*time.Second)
	def(&c.Replicas, 1)
	return c
}

func def[T int | time.Duration](v *T, value T) {
	if *v <= 0 {
		*v = value
	}
}

// Ingester is made by [New]. Its methods may be called from any goroutine.
type Ingester struct {
	cfg      Config
	log      *slog.Logger
	progress progress
	began    time.Time // written by Run, before anything else
}

// New makes an ingester; it does no I/O.
func New(cfg Config) (*Ingester, error) {
	switch {
	case cfg.JS == nil:
		return nil, errors.New("ingest: Config.JS is missing")
	case cfg.Store == nil:
		return nil, errors.New("ingest: Config.Store is missing")
	case cfg.Instance == "":
		return nil, errors.New("ingest: Config.Instance is missing")
	}
	cfg = cfg.withDefaults()
	in := &Ingester{cfg: cfg, log: cfg.Logger.With("part", "ingest")}
	in.progress.init()
	return in, nil
}

// Run stands by, and ingests while it holds the lease, until ctx ends. What
// is in memory by then is written if ClickHouse takes it, and the lease is
// given back. It returns nil then: whatever else fails is logged and tried
// again.
func (in *Ingester) Run(ctx context.Context) error {
	in.began = time.Now()
	retry := backoff{max: in.cfg.RetryMax}
	for ctx.Err() == nil {
		held, err := in.acquire(ctx)
		if err != nil {
			in.report(ctx, &retry, waiting, err)
			retry.pause(ctx)
			continue
		}
		retry.reset()
		in.progress.setActive(true)
		in.log.Info("ingester is active")
		err = in.active(ctx, held)
		in.progress.setActive(false)
		if err != nil && ctx.Err() == nil {
			in.log.Warn("ingester stands by again", "error", err)
		}
	}
	return nil
}

// active runs sessions for as long as the lease is held.
func (in *Ingester) active(ctx context.Context, l *lease.Lease) error {
	held, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { l.Keep(held, stop) })
	wg.Go(func() {
		select {
		case <-held.Done():
		case <-ctx.Done():
			_ = ledger.Pause(held, stopGrace)
			stop(errStopped)
		}
	})
	wg.Go(func() { in.clean(held, ctx.Done()) })
	wg.Go(func() { in.scores(ctx, held) })
	wg.Go(func() { in.texts(ctx, held) })
	err := in.sessions(ctx, held, l)
	stop(errStopped)
	wg.Wait()
	if err == nil {
		if err := l.Release(); err != nil {
			in.log.Debug("the lease was not given back and lapses by itself", "error", err)
		}
	}
	return err
}

// sessions returns nil when ctx has ended, or why the lease is gone.
func (in *Ingester) sessions(ctx, held context.Context, l *lease.Lease) error {
	retry := backoff{max: in.cfg.RetryMax}
	for {
		s := &session{in: in, lease: l, retry: &retry}
		err := s.run(ctx, held)
		switch {
		case ctx.Err() != nil:
			return nil
		case held.Err() != nil:
			return context.Cause(held)
		case errors.Is(err, lease.ErrLost):
			return err
		}
		in.report(ctx, &retry, waiting, err)
		retry.pause(ctx)
	}
}

// startGrace is how long ClickHouse may take to come up beside the ingester
// before that is worth a warning.
const startGrace = 5 * time.Second

const waiting = "ingestion waits and tries again; records stay in the ledger until they are written"

// report logs a failure when it is new and then once a while.
func (in *Ingester) report(ctx context.Context, b *backoff, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	in.progress.setError(err)
	if errors.Is(err, store.ErrUnreachable) && time.Since(in.began) < startGrace {
		in.log.Debug(what, "error", err)
		return
	}
	if now := time.Now(); b.reported.IsZero() || now.Sub(b.reported) >= remindInterval {
		b.reported = now
		in.log.Warn(what, "error", err)
	}
}

var errStopped = errors.New("stopped")

// backoff counts failures in a row.
type backoff struct {
	max      time.Duration
	next     time.Duration
	reported time.Time
}

func (b *backoff) reset() { b.next, b.reported = 0, time.Time{} }

// pause waits from 100 ms, doubling, up to max.
func (b *backoff) pause(ctx context.Context) {
	b.next = min(max(2*b.next, 100*time.Millisecond), b.max)
	t := time.NewTimer(b.next)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

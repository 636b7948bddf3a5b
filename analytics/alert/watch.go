package alert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/lease"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Config is what a Watcher works with. All but Logger and Replicas must be set.
type Config struct {
	JS       jetstream.JetStream
	Subjects wire.Subjects
	Store    Store
	Instance string // this process, unlike any other
	Logger   *slog.Logger
	Replicas int // of the bucket; default 1
	// Budgets are asked for at every look: those that were set while running,
	// each in place of the rules' of the same ID. Optional.
	Budgets func(context.Context) ([]Budget, error)
}

// Watcher looks and tells. Any number of processes may run one: one of them
// looks. It is safe for use by several goroutines.
type Watcher struct {
	cfg   Config
	rules atomic.Pointer[Rules]
}

// New makes a Watcher; it does no I/O.
func New(cfg Config, r Rules) *Watcher {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	w := &Watcher{cfg: cfg}
	w.Set(r)
	return w
}

// Set changes the rules, from the next look on.
func (w *Watcher) Set(r Rules) { w.rules.Store(&r) }

// leaseTTL is how long after the last sign of life of the one that looks another
// takes over; off is how often rules are read that say not to look.
const (
	leaseTTL = 15 * time.Second
	off      = 5 * time.Second
	patience = 30 * time.Second // for one look
)

// Run looks while it holds the lease, until ctx ends, and returns nil: whatever
// fails is tried again.
func (w *Watcher) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		l, err := lease.Take(ctx, lease.Config{JS: w.cfg.JS, Subjects: w.cfg.Subjects, Key: "alerts", Instance: w.cfg.Instance, TTL: leaseTTL, Replicas: w.cfg.Replicas})
		if err == nil {
			err = w.hold(ctx, l)
		}
		if err != nil && ctx.Err() == nil {
			w.cfg.Logger.Warn("alerts are not looked for, and will be in a moment", "err", err)
			_ = ledger.Pause(ctx, off) // ends with ctx
		}
	}
	return nil
}

// hold looks until ctx ends or the lease is gone.
func (w *Watcher) hold(ctx context.Context, l *lease.Lease) error {
	held, lost := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { l.Keep(held, lost) })
	err := w.watch(held)
	lost(nil)
	wg.Wait()
	if l.Check() == nil {
		_ = l.Release() // else it lapses by itself
	}
	return err
}

func (w *Watcher) watch(ctx context.Context) error {
	b := &book{js: w.cfg.JS, subjects: w.cfg.Subjects, replicas: w.cfg.Replicas}
	if err := b.read(ctx); err != nil {
		return err
	}
	l := &looker{store: w.cfg.Store, baselines: map[string]baseline{}}
	told := false
	for {
		r := w.rules.Load()
		pause := r.Every
		if pause <= 0 {
			pause = off
		}
		if ledger.Pause(ctx, pause) != nil {
			return nil
		}
		if r = w.rules.Load(); r.Every <= 0 {
			continue
		}
		found, err := w.ask(ctx, l, r)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil: // ClickHouse is away: all stays as it is
			if !told {
				w.cfg.Logger.Warn("alerts wait for ClickHouse or NATS", "err", err)
			}
			told = true
			continue
		}
		told = false
		if err := w.settle(ctx, b, found, r); err != nil {
			return err
		}
	}
}

func (w *Watcher) ask(ctx context.Context, l *looker, r *Rules) ([]finding, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if w.cfg.Budgets != nil && r.BudgetBurn > 0 {
		set, err := w.cfg.Budgets(ctx)
		if err != nil {
			return nil, fmt.Errorf("budgets that were set while running: %w", err)
		}
		r = r.with(set)
	}
	return l.look(ctx, r, time.Now())
}

// settle writes what has changed, tells it, and notes that it was told (I2).
// Raised alerts are written at every look, with their latest figures.
func (w *Watcher) settle(ctx context.Context, b *book, found []finding, r *Rules) error {
	if err := b.forget(ctx, time.Now()); err != nil {
		return fmt.Errorf("bucket of alerts: %w", err)
	}
	changed := b.take(found, r, time.Now())
	for id, e := range b.entries {
		if e.Raised || slices.Contains(changed, id) {
			if err := b.write(ctx, id); err != nil {
				return fmt.Errorf("bucket of alerts: %w", err)
			}
		}
	}
	for _, id := range changed {
		e := b.entries[id]
		if err := w.tell(ctx, id, &e.Alert, r.Webhooks); err != nil {
			w.cfg.Logger.Warn("an alert is not told yet", "alert", id, "err", err)
			continue // the next look tells it
		}
		e.Told = true
		if err := b.write(ctx, id); err != nil {
			return fmt.Errorf("bucket of alerts: %w", err)
		}
	}
	return nil
}

// Event is the JSON of an event, and the body of a webhook.
type Event struct {
	Type      string     `json:"type"`      // alert.raised or alert.cleared
	Timestamp string     `json:"timestamp"` // RFC 3339
	Data      wire.Alert `json:"data"`
}

// tell publishes a change, and stores a delivery for each webhook.
func (w *Watcher) tell(ctx context.Context, id string, a *wire.Alert, urls []string) error {
	kind := "cleared"
	if a.Raised {
		kind = "raised"
		w.cfg.Logger.Warn("alert raised", "alert", id, "value", a.Value, "threshold", a.Threshold, "summary", a.Summary)
	} else {
		w.cfg.Logger.Info("alert cleared", "alert", id)
	}
	body, err := json.Marshal(Event{Type: "alert." + kind, Timestamp: a.Since.Format(time.RFC3339Nano), Data: *a})
	if err != nil {
		return err
	}
	var failed []error
	for i, url := range urls {
		sum := sha256.Sum256([]byte(id + "\x00" + kind + "\x00" + a.Since.String() + "\x00" + strconv.Itoa(i) + "\x00" + url))
		name := "wh_" + hex.EncodeToString(sum[:16])
		_, err := w.cfg.JS.PublishMsg(ctx, &nats.Msg{Subject: w.cfg.Subjects.Webhook(wire.AlertsTenant, name), Data: body,
			Header: nats.Header{wire.HeaderWebhook: {url}, wire.HeaderMsgID: {name}}})
		failed = append(failed, err)
	}
	failed = append(failed, w.cfg.JS.Conn().Publish(w.cfg.Subjects.AlertEvents(kind), body))
	return errors.Join(failed...)
}

package budget

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// override is a budget that was set while running.
type override struct {
	budget account.Budget
	def    account.Definition
}

// limitKey is a budget's key in the bucket; its ID has bytes that a key may
// not have.
func limitKey(id string) string { return "limit." + wire.Token(id) }

// watchStored follows the budgets that are set while running, until ctx ends.
func (b *Book) watchStored(ctx context.Context) error {
	kv, err := b.cfg.JS.KeyValue(ctx, b.cfg.Subjects.Stream(wire.BucketLimits))
	if err != nil && ctx.Err() == nil {
		return err
	}
	for ctx.Err() == nil {
		if err := b.watchLimits(ctx, kv); err != nil && ctx.Err() == nil {
			b.cfg.Logger.Warn("limits set while running cannot be followed, trying again", "err", err)
		}
		_ = ledger.Pause(ctx, time.Second) // ends with ctx, as the loop does
	}
	return nil
}

func (b *Book) watchLimits(ctx context.Context, kv jetstream.KeyValue) error {
	w, err := kv.Watch(ctx, "limit.>")
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }()
	all := map[string]override{}
	byKey := map[string]string{}
	complete := false
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return nil
			case e == nil:
				complete = true
			case e.Operation() != jetstream.KeyValuePut:
				delete(all, byKey[e.Key()])
			default:
				readLimit(b.cfg.Logger, e, all, byKey)
			}
			if complete {
				b.setStored(all)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// Stored reads the budgets that were set while running, once; there are none
// where no router has run yet. Those that cannot be read are logged.
func Stored(ctx context.Context, js jetstream.JetStream, subjects wire.Subjects, log *slog.Logger) ([]account.Budget, error) {
	kv, err := js.KeyValue(ctx, subjects.Stream(wire.BucketLimits))
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	w, err := kv.Watch(ctx, "limit.>", jetstream.IgnoreDeletes())
	if err != nil {
		return nil, err
	}
	defer func() { _ = w.Stop() }()
	all, byKey := map[string]override{}, map[string]string{}
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return nil, errors.New("the connection to NATS was closed")
			}
			if e != nil {
				readLimit(log, e, all, byKey)
				continue
			}
			list := make([]account.Budget, 0, len(all))
			for _, o := range all {
				list = append(list, o.budget)
			}
			return list, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func readLimit(log *slog.Logger, e jetstream.KeyValueEntry, all map[string]override, byKey map[string]string) {
	var def account.Definition
	err := json.Unmarshal(e.Value(), &def)
	if err == nil {
		x, faults := def.Parse()
		if len(faults) == 0 {
			byKey[e.Key()] = x.ID()
			all[x.ID()] = override{x, def}
			return
		}
		log.Error("a stored budget is not used", "key", e.Key(), "why", account.Error(faults))
		return
	}
	log.Error("a stored budget cannot be read", "key", e.Key(), "err", err)
}

// setStored takes over what was set while running.
func (b *Book) setStored(all map[string]override) {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := b.stored == nil
	b.stored = map[string]override{}
	for id, o := range all {
		b.stored[id] = o
	}
	b.define()
	if first {
		close(b.known)
	}
}

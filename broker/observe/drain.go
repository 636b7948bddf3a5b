package observe

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/wire"
)

// watchDrained keeps the list of pools that take no new jobs.
func (o *Observer) watchDrained(ctx context.Context) error {
	drained := map[string]bool{}
	return o.watch(ctx, wire.BucketPools, func(e jetstream.KeyValueEntry) {
		if e == nil {
			return
		}
		if e.Operation() == jetstream.KeyValuePut {
			drained[e.Key()] = true
		} else {
			delete(drained, e.Key())
		}
		o.state.drained = drained
	})
}

// Drain has the pool take no new jobs, at any router; what is in its queue
// still runs. Resume takes that back. Both hold over restarts.
func Drain(ctx context.Context, js jetstream.JetStream, s wire.Subjects, pool string) error {
	kv, err := js.KeyValue(ctx, s.Stream(wire.BucketPools))
	if err != nil {
		return err
	}
	_, err = kv.Put(ctx, pool, []byte(`{"draining":true}`))
	return err
}

// Resume lets a drained pool take jobs again.
func Resume(ctx context.Context, js jetstream.JetStream, s wire.Subjects, pool string) error {
	kv, err := js.KeyValue(ctx, s.Stream(wire.BucketPools))
	if err != nil {
		return err
	}
	if err := kv.Purge(ctx, pool); err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return err
	}
	return nil
}

package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Node is a live process, as it announces itself.
type Node struct {
	Instance string   `json:"instance"`
	Host     string   `json:"host"`
	PID      int      `json:"pid"`
	Roles    []string `json:"roles"`
	Pools    []string `json:"pools,omitempty"`  // that its workers serve
	Router   bool     `json:"router,omitempty"` // it decides about jobs, and shares the limits
	Started  string   `json:"started"`          // RFC 3339
}

// announceEvery is a third of the time after which a silent node is gone.
const announceEvery = 5 * time.Second

// Announce keeps the node visible until ctx ends, then takes it back. The
// describe function is called for each announcement. It returns an error only
// if the bucket is missing.
func Announce(ctx context.Context, js jetstream.JetStream, s wire.Subjects, describe func() Node) error {
	kv, err := js.KeyValue(ctx, s.Stream(wire.BucketNodes))
	if err != nil {
		return fmt.Errorf("announce this node: %w", err)
	}
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for {
		n := describe()
		b, err := json.Marshal(n)
		if err != nil {
			return err
		}
		_, _ = kv.Put(ctx, n.Instance, b) // the next one follows in 5 s
		select {
		case <-tick.C:
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_ = kv.Purge(ctx, n.Instance)
			return nil
		}
	}
}

// Alive reports whether the instance has announced itself within the last 15
// seconds.
func Alive(ctx context.Context, js jetstream.JetStream, s wire.Subjects, instance string) (bool, error) {
	kv, err := js.KeyValue(ctx, s.Stream(wire.BucketNodes))
	if err != nil {
		return false, err
	}
	_, err = kv.Get(ctx, instance)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Nodes lists the live processes.
func Nodes(ctx context.Context, js jetstream.JetStream, s wire.Subjects) ([]Node, error) {
	kv, err := js.KeyValue(ctx, s.Stream(wire.BucketNodes))
	if err != nil {
		return nil, err
	}
	w, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, err
	}
	defer func() { _ = w.Stop() }()
	var out []Node
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok: // these may not be all
				return nil, cmp.Or(context.Cause(ctx), nats.ErrConnectionClosed)
			case e == nil:
				return out, nil
			}
			var n Node
			if json.Unmarshal(e.Value(), &n) == nil {
				out = append(out, n)
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Forget removes nodes of an earlier run that is known to be dead: the ones
// for which dead returns true.
func Forget(ctx context.Context, js jetstream.JetStream, s wire.Subjects, dead func(Node) bool) error {
	nodes, err := Nodes(ctx, js, s)
	if err != nil {
		return err
	}
	kv, err := js.KeyValue(ctx, s.Stream(wire.BucketNodes))
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if dead(n) {
			if err := kv.Purge(ctx, n.Instance); err != nil {
				return err
			}
		}
	}
	return nil
}

package observe

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// node is a process as it last announced itself.
type node struct {
	router bool
	pools  []string
	seen   int64 // Unix nanoseconds
}

// silence is after how long without a sign a process counts as gone: the
// bucket forgets it then too, without a word.
const silence = int64(15500 * time.Millisecond)

// workers counts the live processes that serve each pool.
func (f *fold) workers(now int64) map[string]int {
	live := map[string]int{}
	for name, n := range f.nodes {
		if now-n.seen > silence {
			delete(f.nodes, name)
			continue
		}
		for _, p := range n.pools {
			live[p]++
		}
	}
	return live
}

// Served reports whether a live worker serves the pool, configured here or not;
// true as long as that is not known.
func (o *Observer) Served(pool string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.state.known || o.state.workers(time.Now().UnixNano())[pool] > 0
}

// routers counts the live routers, and finds this one's place among them.
func (f *fold) routers(now int64) (n, rank int) {
	names := []string{f.self}
	for name, x := range f.nodes {
		if x.router && name != f.self && now-x.seen <= silence {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return len(names), slices.Index(names, f.self)
}

// watchNodes keeps the list of live processes.
func (o *Observer) watchNodes(ctx context.Context) error {
	return o.watch(ctx, wire.BucketNodes, func(e jetstream.KeyValueEntry) {
		if e == nil {
			o.state.known = true
			return
		}
		var n ledger.Node
		if e.Operation() != jetstream.KeyValuePut || json.Unmarshal(e.Value(), &n) != nil {
			delete(o.state.nodes, e.Key())
			return
		}
		o.state.nodes[e.Key()] = node{router: n.Router, pools: n.Pools, seen: time.Now().UnixNano()}
	})
}

// watch gives every entry of a bucket to f, with the state locked, and nil
// when all that was there has come.
func (o *Observer) watch(ctx context.Context, bucket string, f func(jetstream.KeyValueEntry)) error {
	kv, err := o.cfg.JS.KeyValue(ctx, o.cfg.Subjects.Stream(bucket))
	if err != nil {
		return err
	}
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }()
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return nil
			}
			o.mu.Lock()
			f(e)
			o.mu.Unlock()
			o.changed()
		case <-ctx.Done():
			return nil
		}
	}
}

package roster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"golang.org/x/sync/errgroup"
)

// Pool is a pool that was added.
type Pool struct {
	Name string `json:"-"`
	// Text is the pool as a configuration file would have it, YAML or JSON.
	Text string `json:"text"`
	// Removing says that it takes no new jobs, and goes when it is idle.
	Removing bool `json:"removing,omitempty"`
}

// State is all that the roster holds.
type State struct {
	Pools  []Pool              // sorted by name
	Models map[string][]string // that a provider offers, by pool, sorted
}

// MaxPools is how many pools may be added, MaxText the most bytes of one.
const (
	MaxPools = 500
	MaxText  = 64 << 10
)

// Roster is a handle on the bucket. It is safe for concurrent use.
type Roster struct {
	js jetstream.JetStream
	s  wire.Subjects
}

// New makes a Roster; it does no I/O.
func New(js jetstream.JetStream, s wire.Subjects) *Roster { return &Roster{js: js, s: s} }

// The keys of the bucket start with what they are about.
const (
	poolKey   = "pool."
	modelsKey = "models."
)

func (r *Roster) bucket(ctx context.Context) (jetstream.KeyValue, error) {
	kv, err := r.js.KeyValue(ctx, r.s.Stream(wire.BucketRoster))
	if err != nil {
		return nil, fmt.Errorf("pools that were added: %w", err)
	}
	return kv, nil
}

// Add puts a pool there, in the place of an added one of the same name.
func (r *Roster) Add(ctx context.Context, p Pool) error { return r.put(ctx, poolKey+p.Name, p) }

// SetModels notes what models a pool's provider offers.
func (r *Roster) SetModels(ctx context.Context, pool string, models []string) error {
	slices.Sort(models)
	return r.put(ctx, modelsKey+pool, models)
}

func (r *Roster) put(ctx context.Context, key string, v any) error {
	kv, err := r.bucket(ctx)
	if err != nil {
		return err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = kv.Put(ctx, key, b)
	return err
}

// ErrUnknown says that no added pool has the name.
var ErrUnknown = errors.New("no such pool was added")

// Remove has a pool take no new jobs and go when it is idle (Sweep). It fails
// with ErrUnknown if no such pool was added.
func (r *Roster) Remove(ctx context.Context, name string) error {
	kv, err := r.bucket(ctx)
	if err != nil {
		return err
	}
	e, err := kv.Get(ctx, poolKey+name)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return ErrUnknown
	}
	if err != nil {
		return err
	}
	var p Pool
	if err := json.Unmarshal(e.Value(), &p); err != nil {
		return err
	}
	p.Removing = true
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	_, err = kv.Update(ctx, poolKey+name, b, e.Revision())
	return err
}

// forget takes a pool and its models out of the bucket, if it is still as it
// was.
func (r *Roster) forget(ctx context.Context, name string) error {
	kv, err := r.bucket(ctx)
	if err != nil {
		return err
	}
	e, err := kv.Get(ctx, poolKey+name)
	if err != nil {
		return err
	}
	var p Pool
	if json.Unmarshal(e.Value(), &p) == nil && !p.Removing {
		return nil // added again
	}
	if err := kv.Purge(ctx, poolKey+name, jetstream.LastRevision(e.Revision())); err != nil {
		return err
	}
	return kv.Purge(ctx, modelsKey+name)
}

// Read is the state now.
func (r *Roster) Read(ctx context.Context) (State, error) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	var out State
	err := r.follow(reading, func(s State) { out = s; stop() })
	if err == nil {
		err = context.Cause(ctx)
	}
	return out, err
}

// Follow calls f with the state, at first and after every change, until ctx
// ends.
func (r *Roster) Follow(ctx context.Context, f func(State)) error {
	for {
		err := r.follow(ctx, f)
		if ctx.Err() != nil || ledger.Pause(ctx, time.Second) != nil {
			return nil
		}
		if err != nil && errors.Is(err, jetstream.ErrBucketNotFound) {
			return err
		}
	}
}

func (r *Roster) follow(ctx context.Context, f func(State)) error {
	kv, err := r.bucket(ctx)
	if err != nil {
		return err
	}
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }()
	pools, models, complete := map[string]Pool{}, map[string][]string{}, false
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok && ctx.Err() != nil { // it ends with ctx, perhaps before this sees so
				return nil
			}
			if !ok {
				return errors.New("the watch ended")
			}
			if e == nil {
				complete = true
			} else {
				note(e, pools, models)
			}
			if complete {
				f(state(pools, models))
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// note takes an entry over; what cannot be read is as if it were not there.
func note(e jetstream.KeyValueEntry, pools map[string]Pool, models map[string][]string) {
	if name, ok := strings.CutPrefix(e.Key(), poolKey); ok {
		p := Pool{Name: name}
		delete(pools, name)
		if e.Operation() == jetstream.KeyValuePut && json.Unmarshal(e.Value(), &p) == nil && len(pools) < MaxPools {
			pools[name] = p
		}
	}
	if name, ok := strings.CutPrefix(e.Key(), modelsKey); ok {
		var list []string
		delete(models, name)
		if e.Operation() == jetstream.KeyValuePut && json.Unmarshal(e.Value(), &list) == nil {
			models[name] = list
		}
	}
}

// state is a copy.
func state(pools map[string]Pool, models map[string][]string) State {
	s := State{Models: map[string][]string{}}
	for _, p := range pools {
		s.Pools = append(s.Pools, p)
	}
	for name, list := range models {
		s.Models[name] = slices.Clone(list)
	}
	slices.SortFunc(s.Pools, func(a, b Pool) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// How often pools that are being removed are looked at, and after how long the
// queue of one that is gone goes too: its workers have left it by then.
const (
	sweepEvery = time.Second
	queueAfter = 30 * time.Second
)

// Sweep forgets pools that are being removed once their queues are empty, until
// ctx ends. Several processes may do it at once. It fails if the bucket is
// missing.
func (r *Roster) Sweep(ctx context.Context) error {
	states := make(chan State, 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return r.Follow(ctx, func(s State) {
			select {
			case <-states: // nobody has looked at it
			default:
			}
			states <- s
		})
	})
	g.Go(func() error { r.sweep(ctx, states); return nil })
	return g.Wait()
}

func (r *Roster) sweep(ctx context.Context, states <-chan State) {
	var s State
	gone := map[string]time.Time{}
	for ledger.Pause(ctx, sweepEvery) == nil {
		select {
		case s = <-states:
		default:
		}
		for _, p := range s.Pools {
			delete(gone, p.Name)
			if p.Removing && r.idle(ctx, p.Name) && r.forget(ctx, p.Name) == nil { // else it is tried again
				gone[p.Name] = time.Now()
			}
		}
		for name, at := range gone {
			if time.Since(at) > queueAfter && r.removeQueue(ctx, name) == nil {
				delete(gone, name)
			}
		}
	}
}

// removeQueue removes the queue of a pool that is gone.
func (r *Roster) removeQueue(ctx context.Context, pool string) error {
	err := r.js.DeleteConsumer(ctx, r.s.Stream(wire.StreamWork), ledger.WorkConsumer(pool))
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	return err
}

// idle reports whether nothing is in the pool's queue, begun or not.
func (r *Roster) idle(ctx context.Context, pool string) bool {
	work, err := r.js.Stream(ctx, r.s.Stream(wire.StreamWork))
	if err != nil {
		return false
	}
	info, err := work.Info(ctx, jetstream.WithSubjectFilter(r.s.Work(pool)))
	return err == nil && info.State.Subjects[r.s.Work(pool)] == 0
}

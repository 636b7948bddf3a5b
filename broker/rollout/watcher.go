package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Config says what a watcher works with.
type Config struct {
	JS       jetstream.JetStream
	Subjects wire.Subjects
	Logger   *slog.Logger
	// Tail is where outcomes are heard. Its owner runs it.
	Tail *ledger.Tail
	// Apply is told the share of jobs, in percent by rollout, whenever one
	// changes. Rollouts that are missing have none. It must not wait.
	Apply func(shares map[string]int)
}

// Watcher follows rollouts and moves them on. Make one with New, start it with
// Run; its methods are safe for use by many goroutines.
type Watcher struct {
	cfg      Config
	unfollow func()
	set      chan struct{} // there are new specs

	mu     sync.Mutex
	specs  map[string]*Spec
	states map[string]entry
	tracks map[string]map[string]*track // by rollout, version
	shares map[string]int               // as last applied
	loaded bool                         // the bucket has been read
}

// entry is a state as the bucket has it.
type entry struct {
	State
	revision uint64
}

// New makes a watcher; it does no I/O.
func New(cfg Config, specs []Spec) *Watcher {
	w := &Watcher{cfg: cfg, set: make(chan struct{}, 1), states: map[string]entry{}, tracks: map[string]map[string]*track{}}
	w.Set(specs)
	w.unfollow = cfg.Tail.Follow(w.heard)
	return w
}

// Set replaces the rollouts. The state of one that keeps its name is kept.
func (w *Watcher) Set(specs []Spec) {
	w.mu.Lock()
	w.specs = map[string]*Spec{}
	for i := range specs {
		w.specs[specs[i].Name] = &specs[i]
	}
	w.apply()
	w.mu.Unlock()
	select {
	case w.set <- struct{}{}:
	default:
	}
}

// tickEvery is how often rollouts are looked at.
const tickEvery = time.Second

// Run follows and moves rollouts until ctx ends and returns nil then; an error
// means that the bucket is missing.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.unfollow()
	kv, err := w.cfg.JS.KeyValue(ctx, w.cfg.Subjects.Stream(wire.BucketRollouts))
	if err == nil {
		err = w.watch(ctx, kv)
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("rollouts: %w", err)
	}
	return nil
}

func (w *Watcher) watch(ctx context.Context, kv jetstream.KeyValue) error {
	watch, err := kv.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = watch.Stop() }()
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		select {
		case e, ok := <-watch.Updates():
			if !ok {
				return nil
			}
			w.learn(e)
			if e != nil {
				continue
			}
		case <-w.set:
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		w.write(ctx, kv, w.due(time.Now().UnixNano()))
	}
}

// learn takes in an entry of the bucket; nil: all that was there has come.
func (w *Watcher) learn(e jetstream.KeyValueEntry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var st State
	switch {
	case e == nil:
		w.loaded = true
	case e.Operation() != jetstream.KeyValuePut || json.Unmarshal(e.Value(), &st) != nil:
		delete(w.states, e.Key())
	default:
		old := w.states[e.Key()]
		w.states[e.Key()] = entry{st, e.Revision()}
		if old.Began != st.Began {
			delete(w.tracks, e.Key()) // I4
		}
		if w.loaded && old.Phase != st.Phase {
			w.cfg.Logger.Info("rollout", "name", e.Key(), "phase", st.Phase, "why", st.Reason)
		}
	}
	w.apply()
}

// apply tells the shares if they have changed; the caller holds the lock.
func (w *Watcher) apply() {
	shares := map[string]int{}
	for name, spec := range w.specs {
		if st, ok := w.states[name]; ok {
			shares[name] = st.Share(spec)
		}
	}
	if w.shares == nil || !maps.Equal(shares, w.shares) {
		w.shares = shares
		w.cfg.Apply(maps.Clone(shares))
	}
}

// due is what is to be written now, by name.
func (w *Watcher) due(now int64) map[string]entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]entry{}
	if !w.loaded {
		return out
	}
	for name, spec := range w.specs {
		st, ok := w.states[name]
		if !ok {
			out[name] = entry{State: State{Phase: Shifting, Began: now, Since: now}}
			continue
		}
		if next, news := Next(spec, st.State, w.vitals(name, Blue, now), w.vitals(name, Green, now), now); news {
			out[name] = entry{next, st.revision}
		}
	}
	return out
}

// write stores a state if nobody has changed it since (I3).
func (w *Watcher) write(ctx context.Context, kv jetstream.KeyValue, due map[string]entry) {
	for name, e := range due {
		if _, err := w.put(ctx, kv, name, e); err != nil && ctx.Err() == nil {
			w.cfg.Logger.Debug("rollout not moved: another router did, or the bucket cannot be written", "name", name, "err", err)
		}
	}
}

func (w *Watcher) put(ctx context.Context, kv jetstream.KeyValue, name string, e entry) (uint64, error) {
	b, err := json.Marshal(e.State)
	if err != nil {
		return 0, err
	}
	if e.revision == 0 {
		return kv.Create(ctx, name, b)
	}
	return kv.Update(ctx, name, b, e.revision)
}

// vitals are how a version does; the caller holds the lock.
func (w *Watcher) vitals(name, version string, now int64) Vitals {
	t, st := w.tracks[name][version], w.states[name]
	if t == nil {
		return Vitals{}
	}
	return t.vitals(w.specs[name], &st.State, now)
}

// heard folds a record.
func (w *Watcher) heard(m *ledger.Seen) {
	if v := m.Header[wire.HeaderInputTokens]; len(v) == 0 {
		return // the end of no attempt
	}
	w.mu.Lock()
	idle := len(w.specs) == 0
	w.mu.Unlock()
	if idle {
		return
	}
	rec, err := m.Record()
	if err != nil || !rec.EndsAttempt() || rec.Entry.Attempt.Decision == nil || rec.Entry.Meta.Shadow != "" {
		return
	}
	a := rec.Entry.Attempt
	at := m.At.UnixNano()
	o, ok := router.OutcomeOf(a, at)
	if !ok || a.Decision.Fallback > 0 {
		return // says nothing of the version
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	name, version := a.Decision.Experiment, a.Decision.Variant
	spec, st := w.specs[name], w.states[name]
	if spec == nil || version != Blue && version != Green || at-a.LatencyMS*int64(time.Millisecond) < st.Began {
		return
	}
	if w.tracks[name] == nil {
		w.tracks[name] = map[string]*track{Blue: {}, Green: {}}
	}
	w.tracks[name][version].add(spec, &st.State, o)
}

// Status is what people are shown of a rollout.
type Status struct {
	Name  string `json:"name"`
	Share int    `json:"share"` // percent of the jobs that go to green
	Steps []int  `json:"steps"`
	State State  `json:"state"`
	Blue  Vitals `json:"blue"`
	Green Vitals `json:"green"`
}

// Status is how far a rollout is and how its versions do; false: there is none
// of that name.
func (w *Watcher) Status(name string) (Status, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	spec := w.specs[name]
	if spec == nil {
		return Status{}, false
	}
	now, st := time.Now().UnixNano(), w.states[name].State
	return Status{Name: name, Share: st.Share(spec), Steps: spec.Steps, State: st, Blue: w.vitals(name, Blue, now), Green: w.vitals(name, Green, now)}, true
}

// Names lists the rollouts, in no order.
func (w *Watcher) Names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for name := range w.specs {
		out = append(out, name)
	}
	return out
}

// Do has an operator's action done, at every router. An error says why it
// cannot be.
func (w *Watcher) Do(ctx context.Context, name string, a Action) (State, error) {
	if _, ok := w.Status(name); !ok {
		return State{}, fmt.Errorf("no rollout is called %.80q", name)
	}
	kv, err := w.cfg.JS.KeyValue(ctx, w.cfg.Subjects.Stream(wire.BucketRollouts))
	if err != nil {
		return State{}, err
	}
	for {
		var e entry
		got, err := kv.Get(ctx, name)
		if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
			return e.State, err
		}
		if err == nil {
			if err := json.Unmarshal(got.Value(), &e.State); err != nil {
				return e.State, err
			}
			e.revision = got.Revision()
		}
		if e.State, err = e.State.Apply(a, time.Now().UnixNano()); err != nil {
			return e.State, err
		}
		if _, err = w.put(ctx, kv, name, e); err == nil {
			return e.State, nil
		}
		var refused *jetstream.APIError
		if !errors.As(err, &refused) && !errors.Is(err, jetstream.ErrKeyExists) || ctx.Err() != nil {
			return e.State, err
		}
	}
}

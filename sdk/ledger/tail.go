package ledger

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Tail reads the ledger's newest records once for everything in this process
// that follows them: a delivery costs the server as much as a publish. Make
// one with NewTail, start it with Run.
type Tail struct {
	js       jetstream.JetStream
	subjects wire.Subjects
	history  time.Duration
	logger   *slog.Logger

	mu        sync.Mutex // serialises changes of followers
	followers atomic.Pointer[[]*follower]
	last      uint64 // sequence of the last record read; Run's
}

type follower struct{ hear func(*Seen) }

// NewTail makes a tail that begins history before its start; it does no I/O.
func NewTail(js jetstream.JetStream, subjects wire.Subjects, history time.Duration, logger *slog.Logger) *Tail {
	t := &Tail{js: js, subjects: subjects, history: history, logger: logger}
	t.followers.Store(&[]*follower{})
	return t
}

// Follow has hear called with each record, in order, one at a time. It must
// not wait, and may be called once more after stop.
func (t *Tail) Follow(hear func(*Seen)) (stop func()) {
	f := &follower{hear}
	t.change(func(list []*follower) []*follower { return append(list, f) })
	return func() {
		t.change(func(list []*follower) []*follower {
			return slices.DeleteFunc(list, func(g *follower) bool { return g == f })
		})
	}
}

func (t *Tail) change(f func([]*follower) []*follower) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := f(slices.Clone(*t.followers.Load()))
	t.followers.Store(&list)
}

// Run reads until ctx ends and returns nil then. After a failure it goes on
// behind the last record that it has read.
func (t *Tail) Run(ctx context.Context) error {
	since := time.Now().Add(-t.history)
	for {
		err := t.read(ctx, since)
		if ctx.Err() != nil {
			return nil
		}
		t.logger.Warn("the ledger cannot be followed, trying again", "err", err)
		since = time.Now()
		if Pause(ctx, time.Second) != nil {
			return nil
		}
	}
}

// read reads until something fails.
func (t *Tail) read(ctx context.Context, since time.Time) error {
	if t.last > 0 { // the stream may have been made anew, and count from 1
		s, err := t.js.Stream(ctx, t.subjects.Stream(wire.StreamLedger))
		if err != nil {
			return err
		}
		if s.CachedInfo().State.LastSeq < t.last {
			t.last = 0
		}
	}
	next := t.last
	if next > 0 {
		next++
	}
	r, err := OpenReader(ctx, t.js, t.subjects, next, since)
	if err != nil {
		return err
	}
	defer r.Close()
	for ctx.Err() == nil {
		m, err := r.Read(ctx, time.Now().Add(time.Minute))
		if err != nil {
			if errors.Is(err, ErrQuiet) {
				continue
			}
			return err
		}
		m.Prev, t.last = t.last, m.Seq
		for _, f := range *t.followers.Load() {
			f.hear(m)
		}
	}
	return nil
}

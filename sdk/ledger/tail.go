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
// that follows them: a delivery costs the server as much as a publish. While
// this process alone writes the ledger, it does not read at all but listens to
// what its own parts have written. Make one with NewTail, start it with Run.
type Tail struct {
	js       jetstream.JetStream
	subjects wire.Subjects
	history  time.Duration
	logger   *slog.Logger

	mu        sync.Mutex // serialises changes of followers
	followers atomic.Pointer[[]*follower]
	last      uint64    // sequence of the last record read; Run's
	at        time.Time // when that was stored
	echo      *Echo     // nil: none; set before Run
}

type follower struct{ hear func(*Seen) }

// NewTail makes a tail that begins history before its start; it does no I/O.
func NewTail(js jetstream.JetStream, subjects wire.Subjects, history time.Duration, logger *slog.Logger) *Tail {
	t := &Tail{js: js, subjects: subjects, history: history, logger: logger}
	t.followers.Store(&[]*follower{})
	return t
}

// Hear has the tail listen to what this process appends. Only before Run.
func (t *Tail) Hear(e *Echo) { t.echo = e }

// Doubt has the tail read the ledger again, if it has ceased to: somebody knows
// of a record that has not been heard.
func (t *Tail) Doubt() { t.echo.doubt() }

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
		if err == nil {
			err = t.listen(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			continue
		}
		t.logger.Warn("the ledger cannot be followed, trying again", "err", err)
		since = time.Now()
		if Pause(ctx, time.Second) != nil {
			return nil
		}
	}
}

// When the tail ceases to read, and begins to again.
const (
	echoSure  = 1024                   // records in a row that this process wrote
	echoLate  = 256                    // how far behind the newest one they are looked for
	echoGap   = 20 * time.Millisecond  // for a record that others follow
	echoGaps  = 5                      // so often: a process that gets no CPU for a while must not take that for a gap
	echoQuiet = 250 * time.Millisecond // for any: others' are heard only after that
)

// read reads until something fails, or until what this process itself appends
// says all: then it gives nil.
//
// It may have read some that the echo has, too.
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
	sure, from := 0, uint64(0) // records in a row of ours; the echo has all of ours behind
	whole := false             // and all up to there was read
	defer func() {
		if !whole {
			t.echo.drop()
		}
	}()
	for ctx.Err() == nil {
		m, err := r.Read(ctx, time.Now().Add(time.Minute))
		if err != nil {
			if errors.Is(err, ErrQuiet) {
				continue
			}
			return err
		}
		t.heard(m)
		switch {
		case t.echo == nil || m.Seq <= echoLate:
		case from > 0:
			if whole = m.Seq >= from; whole {
				return nil
			}
		case !t.echo.ours(m.Seq - echoLate):
			sure = 0
		default:
			if sure++; sure == echoSure {
				from = t.echo.keep()
			}
		}
	}
	return nil
}

// heard tells the followers of a record.
func (t *Tail) heard(m *Seen) {
	if late := t.at.Sub(m.At); late > 0 && late < time.Second {
		m.At = t.at // an echo says when this process knew, and times grow with sequences
	}
	m.Prev, t.last, t.at = t.last, m.Seq, m.At
	for _, f := range *t.followers.Load() {
		f.hear(m)
	}
}

// listen tells of what this process appends until that leaves something out, or
// says nothing for a moment: others may write then.
func (t *Tail) listen(ctx context.Context) error {
	defer t.echo.drop()
	timer := time.NewTimer(echoQuiet)
	defer timer.Stop()
	var list []*Seen
	for gaps := 0; ctx.Err() == nil; {
		var gap, lost bool
		list, gap, lost = t.echo.take(list[:0])
		for i, m := range list {
			if m.Seq <= t.last {
				continue // it was read
			}
			m.Pending = uint64(len(list) - 1 - i)
			t.heard(m)
			list[i] = nil
		}
		if lost {
			return nil
		}
		patience := echoQuiet
		if gap {
			patience = echoGap
		}
		if len(list) > 0 || !gap {
			gaps = 0
		}
		timer.Reset(patience)
		select {
		case <-t.echo.news:
		case <-timer.C:
			if gaps++; !gap || gaps == echoGaps {
				return nil
			}
		case <-ctx.Done():
		}
	}
	return nil
}

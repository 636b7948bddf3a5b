package ingest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/sdk/ledger"
)

// feed gives a session the ledger in order: what is behind comes from a reader
// of its own, and once that has caught up, what this process's tail reads
// anyway. It falls back when it does not keep up with the tail.
type feed struct {
	cfg  Config
	read uint64         // everything up to here has been given
	own  *ledger.Reader // nil: none is open

	// Of the tail, while it is followed (stop is not nil).
	stop  func()
	live  chan *ledger.Seen
	head  *ledger.Seen // taken of live, and not given yet
	met   bool         // the tail had the record that was given last
	lost  *atomic.Bool // live had no room: the tail's word ends with what it holds
	timer *time.Timer
}

// liveMost is how many records may wait for the session while it inserts.
var liveMost = 32768

func newFeed(cfg Config, from uint64) *feed {
	return &feed{cfg: cfg, read: from - 1, timer: time.NewTimer(time.Hour)}
}

// next is the next record, or ledger.ErrQuiet when there is none until the
// deadline or the end of ctx.
func (f *feed) next(ctx context.Context, deadline time.Time) (*ledger.Seen, error) {
	if f.own == nil && f.stop != nil {
		seen, err := f.await(ctx, deadline)
		if err != nil {
			return nil, err
		}
		if seen != nil && f.continues(seen) {
			f.give(seen)
			return seen, nil
		}
		f.leave() // something is missing: read it
	}
	if f.own == nil {
		r, err := ledger.OpenReader(ctx, f.cfg.JS, f.cfg.Subjects, f.read+1, time.Time{})
		if err != nil {
			return nil, err
		}
		f.own = r
	}
	if seen := f.peek(); f.met || seen != nil && f.continues(seen) { // the tail takes over
		f.own.Close()
		f.own = nil
		return f.next(ctx, deadline)
	}
	m, err := f.own.Read(ctx, deadline)
	if err != nil {
		return nil, err
	}
	f.read = m.Seq
	if m.Pending == 0 && f.cfg.Tail != nil && f.stop == nil {
		f.follow()
	}
	return m, nil
}

// continues reports whether nothing lies between what has been given and m.
func (f *feed) continues(m *ledger.Seen) bool { return m.Prev != 0 && m.Prev <= f.read }

func (f *feed) give(m *ledger.Seen) { f.read, f.head, f.met = m.Seq, nil, false }

// behind is how many records are known to follow m.
func (f *feed) behind(m *ledger.Seen) uint64 { return max(m.Pending, uint64(len(f.live))) }

// peek is the tail's first record that has not been given, nil if there is
// none yet.
func (f *feed) peek() *ledger.Seen {
	for f.stop != nil && f.head == nil {
		select {
		case seen := <-f.live:
			f.meet(seen)
		default:
			return nil
		}
	}
	return f.head
}

// meet keeps a record unless it has been given.
func (f *feed) meet(seen *ledger.Seen) {
	f.met = seen.Seq == f.read
	if seen.Seq > f.read {
		f.head = seen
	}
}

// await is peek that waits. It gives nil where the tail's word ends.
func (f *feed) await(ctx context.Context, deadline time.Time) (*ledger.Seen, error) {
	for {
		lost := f.lost.Load() // before the look: what came until then is there
		if seen := f.peek(); seen != nil || lost {
			return seen, nil
		}
		f.timer.Reset(time.Until(deadline))
		select {
		case seen := <-f.live:
			f.meet(seen)
		case <-f.timer.C:
			return nil, ledger.ErrQuiet
		case <-ctx.Done():
			return nil, ledger.ErrQuiet
		}
	}
}

// follow begins to listen to the tail.
func (f *feed) follow() {
	live, lost := make(chan *ledger.Seen, liveMost), new(atomic.Bool)
	f.live, f.lost, f.head = live, lost, nil
	f.stop = f.cfg.Tail.Follow(func(m *ledger.Seen) {
		if lost.Load() {
			return
		}
		select {
		case live <- m:
		default:
			lost.Store(true)
		}
	})
}

// leave ends follow.
func (f *feed) leave() {
	if f.stop != nil {
		f.stop()
		f.stop, f.head, f.live, f.met = nil, nil, nil, false
	}
}

func (f *feed) close() {
	f.leave()
	f.timer.Stop()
	if f.own != nil {
		f.own.Close()
	}
}

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
	live  chan record
	head  record       // taken of live, and not given yet; its sequence is 0: none
	met   bool         // the tail had the record that was given last
	lost  *atomic.Bool // live had no room: the tail's word ends with what it holds
	timer *time.Timer
}

// record is one of the ledger as a session gets it. What makes no row is not
// kept: it is more than half of them.
type record struct {
	seq, prev, pending uint64       // as in ledger.Seen
	seen               *ledger.Seen // nil: it makes no row
}

func recordOf(m *ledger.Seen) record {
	r := record{seq: m.Seq, prev: m.Prev, pending: m.Pending}
	if !rowless(m) {
		r.seen = m
	}
	return r
}

// liveMost is how many records may wait for the session while it inserts: 3 KiB
// each of those that make rows.
var liveMost = 16384

func newFeed(cfg Config, from uint64) *feed {
	return &feed{cfg: cfg, read: from - 1, timer: time.NewTimer(time.Hour)}
}

// next is the next record, or ledger.ErrQuiet when there is none until the
// deadline or the end of ctx.
func (f *feed) next(ctx context.Context, deadline time.Time) (record, error) {
	if f.own == nil && f.stop != nil {
		head, err := f.await(ctx, deadline)
		if err != nil {
			return record{}, err
		}
		if f.continues(head) {
			f.give(head)
			return head, nil
		}
		f.leave() // something is missing: read it
	}
	if f.own == nil {
		r, err := ledger.OpenReader(ctx, f.cfg.JS, f.cfg.Subjects, f.read+1, time.Time{})
		if err != nil {
			return record{}, err
		}
		f.own = r
	}
	if head := f.peek(); f.met || f.continues(head) { // the tail takes over
		f.own.Close()
		f.own = nil
		return f.next(ctx, deadline)
	}
	m, err := f.own.Read(ctx, deadline)
	if err != nil {
		return record{}, err
	}
	f.read = m.Seq
	if m.Pending == 0 && f.cfg.Tail != nil && f.stop == nil {
		f.follow()
	}
	return recordOf(m), nil
}

// continues reports whether nothing lies between what has been given and r.
func (f *feed) continues(r record) bool { return r.prev != 0 && r.prev <= f.read }

func (f *feed) give(r record) { f.read, f.head, f.met = r.seq, record{}, false }

// behind is how many records are known to follow r.
func (f *feed) behind(r record) uint64 { return max(r.pending, uint64(len(f.live))) }

// peek is the tail's first record that has not been given, none if there is
// none yet.
func (f *feed) peek() record {
	for f.stop != nil && f.head.seq == 0 {
		select {
		case r := <-f.live:
			f.meet(r)
		default:
			return record{}
		}
	}
	return f.head
}

// meet keeps a record unless it has been given.
func (f *feed) meet(r record) {
	f.met = r.seq == f.read
	if r.seq > f.read {
		f.head = r
	}
}

// await is peek that waits. It gives none where the tail's word ends.
func (f *feed) await(ctx context.Context, deadline time.Time) (record, error) {
	for {
		lost := f.lost.Load() // before the look: what came until then is there
		if r := f.peek(); r.seq != 0 || lost {
			return r, nil
		}
		f.timer.Reset(time.Until(deadline))
		select {
		case r := <-f.live:
			f.meet(r)
		case <-f.timer.C:
			return record{}, ledger.ErrQuiet
		case <-ctx.Done():
			return record{}, ledger.ErrQuiet
		}
	}
}

// follow begins to listen to the tail.
func (f *feed) follow() {
	live, lost := make(chan record, liveMost), new(atomic.Bool)
	f.live, f.lost, f.head = live, lost, record{}
	f.stop = f.cfg.Tail.Follow(func(m *ledger.Seen) {
		if lost.Load() {
			return
		}
		select {
		case live <- recordOf(m):
		default:
			lost.Store(true)
		}
	})
}

// leave ends follow.
func (f *feed) leave() {
	if f.stop != nil {
		f.stop()
		f.stop, f.head, f.live, f.met = nil, record{}, nil, false
	}
}

func (f *feed) close() {
	f.leave()
	f.timer.Stop()
	if f.own != nil {
		f.own.Close()
	}
}

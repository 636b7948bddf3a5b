package ledger

import (
	"sync"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Echo is what this process itself appends to the ledger, for its [Tail]: what
// it has just written it need not have delivered, which costs the server and
// the process as much as the writing. Make one with NewEcho, hand it to
// [Ledger.Tell] and [Tail.Hear]. It is safe for concurrent use; a nil one hears
// nothing.
type Echo struct {
	mu   sync.Mutex
	told [echoSpan]uint64 // the last sequences that were told, each at its place
	high uint64           // the highest of them
	kept []*Seen          // from next on, each at its place; nil: nobody listens
	next uint64
	lost bool          // something was told that there is no place for
	news chan struct{} // there is one at next, or a first one behind a gap, or lost
}

// echoSpan is how far apart in the ledger what is told at the same time may be.
const echoSpan = 4096

// NewEcho makes an Echo that has heard nothing.
func NewEcho() *Echo { return &Echo{news: make(chan struct{}, 1)} }

// tell takes a record that is stored, with the headers it was sent with.
func (e *Echo) tell(seq uint64, at time.Time, rec *wire.Record, header map[string][]string) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told[seq%echoSpan] = seq
	first := e.high < e.next // or one that others are before
	e.high = max(e.high, seq)
	if e.kept == nil || seq < e.next {
		return
	}
	if seq >= e.next+echoSpan {
		e.lost = true
	} else {
		e.kept[seq%echoSpan] = echoed(seq, at, rec, header)
	}
	if first || seq == e.next || e.lost {
		e.wake()
	}
}

func (e *Echo) wake() {
	select {
	case e.news <- struct{}{}:
	default:
	}
}

// echoed is a record as it would be read. That of a success, which is most that
// anybody asks for, needs no decoding.
func echoed(seq uint64, at time.Time, rec *wire.Record, header map[string][]string) *Seen {
	m := &Seen{Seq: seq, At: at.Round(0).UTC(), Header: header}
	for name, values := range header {
		for _, v := range values {
			m.Size += len(name) + len(v)
		}
	}
	if rec.Status == wire.Succeeded && rec.Entry.Attempt != nil {
		m.given = new(wire.Record)
		*m.given = *rec
		m.given.Body = nil
		a := *rec.Entry.Attempt // the writer's own
		m.given.Entry.Attempt = &a
	}
	return m
}

// ours reports whether a record of late was told.
func (e *Echo) ours(seq uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.told[seq%echoSpan] == seq
}

// keep begins to keep what is told, behind the sequence that it gives.
func (e *Echo) keep() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept, e.next, e.lost = make([]*Seen, echoSpan), e.high+1, false
	select {
	case <-e.news:
	default:
	}
	return e.high
}

// drop is the end of keep.
func (e *Echo) drop() {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept = nil
}

// doubt has who listens read the ledger instead.
func (e *Echo) doubt() {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.kept != nil {
		e.lost = true
		e.wake()
	}
}

// take adds to list what follows, without a gap, on what was taken before. It
// says whether more is there behind a gap, and whether something was lost.
func (e *Echo) take(list []*Seen) (_ []*Seen, gap, lost bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		place := &e.kept[e.next%echoSpan]
		if *place == nil {
			return list, e.high >= e.next, e.lost
		}
		list = append(list, *place)
		*place = nil
		e.next++
	}
}

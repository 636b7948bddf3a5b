package sdk

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/sdk/wire"
)

const (
	hintBuffer   = 65536                // records heard and not yet looked at, per client
	lookAgain    = 5 * time.Second      // between two looks of one wait, at least
	lookSpread   = 5 * time.Millisecond // per wait of the client: at most 200 looks a second in all
	maxLooks     = 64                   // at once
	confirmFirst = time.Millisecond     // after a record was heard that the ledger does not hold yet, and doubling
	confirmLast  = 4 * time.Second
	retryFirst   = 50 * time.Millisecond // after a look that got no answer, and doubling
)

// watches tells whoever waits for a job that a record of it was published.
//
// It subscribes to each job's own subject, all into one channel that one
// goroutine reads, rather than to the tenant's whole: what a client hears is
// then bounded by what it waits for, not by what the tenant does. A
// subscription costs about a kilobyte here and in the server, and no
// goroutine.
type watches struct {
	c     *Client
	hints chan *nats.Msg
	looks chan struct{} // a slot for each look at the ledger under way

	mu   sync.Mutex
	jobs map[string]*watch
	n    int // listeners
}

// watch is one job's subscription; watches.mu guards it.
type watch struct {
	sub       *nats.Subscription
	listeners map[*listener]struct{}
}

// listener is one reader's ear. ready has a place for one signal, so a sender
// never blocks and a signal is never lost.
type listener struct {
	w      *watches
	job    string
	all    bool // every record, not terminal ones only
	ready  chan struct{}
	missed bool      // a reconnect has happened since the last take; watches.mu guards it
	heard  *nats.Msg // the terminal record, as the ledger stored it; watches.mu guards it

	// early says that the job was not yet published when this began, so that
	// the first look would find nothing. Only the reader touches it.
	early bool

	// confirm is the time until the next look after a record was heard that
	// the ledger did not hold, 0 otherwise. Only the reader touches it.
	confirm time.Duration
}

func (w *watches) init(c *Client) {
	w.c = c
	w.hints = make(chan *nats.Msg, hintBuffer)
	w.looks = make(chan struct{}, maxLooks)
	w.jobs = make(map[string]*watch)
}

// run hands hints to their listeners until ctx or the connection ends.
func (w *watches) run(ctx context.Context) {
	defer close(w.c.closed)
	status := w.c.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer w.c.nc.RemoveStatusListener(status)
	if w.c.nc.IsClosed() { // before it could be told
		return
	}
	for {
		select {
		case m := <-w.hints:
			w.hint(m)
		case s, ok := <-status:
			if !ok || s == nats.CLOSED {
				return
			}
			w.wakeAll()
		case <-ctx.Done():
			w.unsubscribe()
			return
		}
	}
}

func (w *watches) hint(m *nats.Msg) {
	_, job, ok := w.c.subjects.SplitTenantJob(m.Subject)
	if !ok {
		return
	}
	terminal := wire.Status(m.Header.Get(wire.HeaderStatus)).Terminal()
	kept := terminal && w.c.marked(m)
	w.mu.Lock()
	defer w.mu.Unlock()
	if watch := w.jobs[job]; watch != nil {
		for l := range watch.listeners {
			if terminal || l.all {
				if kept && !l.all {
					l.heard = m
				}
				l.wake()
			}
		}
	}
}

// wakeAll makes everyone look again: messages may have been missed.
func (w *watches) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, watch := range w.jobs {
		for l := range watch.listeners {
			l.missed = true
			l.wake()
		}
	}
}

func (w *watches) unsubscribe() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, watch := range w.jobs {
		_ = watch.sub.Unsubscribe() // the connection may be closed already
	}
}

// listen starts to listen for a job's records: for all, or for terminal ones.
// What is published after it returned is heard, unless the connection breaks.
func (w *watches) listen(job string, all bool) (*listener, error) {
	l := &listener{w: w, job: job, all: all, ready: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.c.isClosed() {
		return nil, named(errClosed, job)
	}
	wa := w.jobs[job]
	if wa == nil {
		sub, err := w.c.nc.ChanSubscribe(w.c.subjects.Records(w.c.tenant, job), w.hints)
		if err != nil {
			return nil, classify(err).of(job)
		}
		wa = &watch{sub: sub, listeners: make(map[*listener]struct{})}
		w.jobs[job] = wa
	}
	wa.listeners[l] = struct{}{}
	w.n++
	return l, nil
}

// close stops listening.
func (l *listener) close() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	wa := l.w.jobs[l.job]
	delete(wa.listeners, l)
	l.w.n--
	if len(wa.listeners) == 0 {
		delete(l.w.jobs, l.job)
		_ = wa.sub.Unsubscribe() // fails only on a closed connection
	}
}

func (l *listener) wake() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// taken is the terminal record that was heard as the ledger stored it; ok is
// false when there is none.
func (l *listener) taken() (r stored, ok bool) {
	l.w.mu.Lock()
	m := l.heard
	l.heard = nil
	l.w.mu.Unlock()
	if m == nil {
		return r, false
	}
	r, err := storedOf(m)
	return r, err == nil
}

// tookMiss reports, once, that the connection broke and was made again.
func (l *listener) tookMiss() bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	missed := l.missed
	l.missed = false
	return missed
}

// due is how long to wait for a signal before looking again without one.
func (l *listener) due() time.Duration {
	if l.confirm > 0 {
		return l.confirm
	}
	return l.w.pause()
}

// looked notes that the ledger did not hold what the reader waits for, and
// whether a record had been heard: it is then stored in a moment, or a little
// later when the server is busy, or it was refused (S1).
func (l *listener) looked(hinted bool) {
	switch {
	case hinted:
		l.confirm = confirmFirst
	case l.confirm > confirmLast/2:
		l.confirm = 0
	default:
		l.confirm *= 2
	}
}

// pause is the time between two looks of one wait when nothing is heard.
func (w *watches) pause() time.Duration {
	w.mu.Lock()
	n := w.n
	w.mu.Unlock()
	d := max(lookAgain, time.Duration(n)*lookSpread)
	return d + rand.N(d/4)
}

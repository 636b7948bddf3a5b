package ingest

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/wire"
)

// consumers counts those of the ledger.
func (l *ledgerServer) consumers(remove bool) (n int) {
	l.t.Helper()
	s, err := l.js.Stream(l.t.Context(), subjects.Stream(wire.StreamLedger))
	must(l.t, err)
	for name := range s.ConsumerNames(l.t.Context()).Name() {
		if remove {
			must(l.t, s.DeleteConsumer(l.t.Context(), name))
		}
		n++
	}
	return n
}

// Once the ingester has caught up, the ledger is read by the tail only; and
// again by both after the tail has lost its place.
func TestTailIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{}
		l.job("old", 2)
		r := start(t, Config{JS: l.js, Store: f, Tail: l.tail()})
		jobs := 1
		for round := range 3 {
			for i := range 3 { // one to find that nothing is behind, one to meet the tail
				l.job(fmt.Sprintf("j%d-%d", round, i), 1)
				r.caughtUp(t, l)
			}
			jobs += 3
			if n := l.consumers(false); n != 1 {
				t.Errorf("round %d: %d consumers, want the tail's", round, n)
			}
			l.consumers(true)
			time.Sleep(2 * time.Second) // the tail opens another
		}
		f.wantRows(t, jobs+1, jobs)
	})
}

// While an insert hangs, the tail goes on, and what it has no room for is read
// from the stream.
func TestTailRunsAhead(t *testing.T) {
	defer func(n int) { liveMost = n }(liveMost)
	liveMost = 16
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{}
		calls := 0
		f.fault = func(int, store.Table) fault {
			if calls++; calls%4 == 0 {
				return hangs
			}
			return none
		}
		r := start(t, Config{JS: l.js, Store: f, Tail: l.tail()})
		for i := range 200 {
			l.job(fmt.Sprintf("j%d", i), 1+i%2)
			if i%7 == 0 {
				time.Sleep(time.Second)
			}
		}
		r.caughtUp(t, l)
		f.wantRows(t, 300, 200)
	})
}

// A ledger that was made anew counts from 1 again: its tail is not taken for
// the old one's.
func TestTailOfAnotherLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{}
		r := start(t, Config{JS: l.js, Store: f, Tail: l.tail()})
		for i := range 3 {
			l.job(fmt.Sprintf("j%d", i), 1)
			r.caughtUp(t, l)
		}
		must(t, l.js.DeleteStream(t.Context(), subjects.Stream(wire.StreamLedger)))
		l.createStream()
		l.job("new", 1)
		time.Sleep(time.Minute)
		f.wantRows(t, 3, 3) // and not a fourth: see sameLedger
	})
}

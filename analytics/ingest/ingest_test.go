package ingest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/wire"
)

func TestRowsOfRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{}
		l.job("a", 1)
		l.job("b", 3)
		r := start(t, Config{JS: l.js, Store: f})
		r.caughtUp(t, l)
		f.wantRows(t, 4, 2)
		if p := r.Progress(); p.Position != 8 || p.Lag != 0 || p.Attempts != 4 || p.Jobs != 2 || !p.Active {
			t.Errorf("progress %+v", p)
		}
		b := f.jobs[1]
		if b.Job.ID != "b" || b.Attempts != 3 || *b.Cost != 3*20 || b.Status != wire.Succeeded || b.Seq != 8 {
			t.Errorf("row of job b: %+v", b)
		}
	})
}

// Crash points: whatever an insert does, and wherever the process dies, the
// next session starts from what each table holds, and sends it nothing again.
func TestFaultyInserts(t *testing.T) {
	for name, what := range map[string]fault{"refused": refused, "ambiguous": ambiguous, "hangs": hangs} {
		for i := range 4 {
			table, at := [...]store.Table{store.Attempts, store.Jobs}[i%2], 1+i/2
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l, f := startLedger(t), &fakeStore{}
					n := 0
					f.fault = func(_ int, into store.Table) fault {
						if into != table {
							return none
						}
						if n++; n == at {
							return what
						}
						return none
					}
					r := start(t, Config{JS: l.js, Store: f, Tail: l.tail()})
					for range 2 {
						l.job("a", 2)
						l.job("b", 1)
						time.Sleep(time.Second)
					}
					r.caughtUp(t, l)
					f.wantRows(t, 6, 4)
					if f.clashes > 0 {
						t.Errorf("%d inserts of rows that a table had", f.clashes)
					}
				})
			})
		}
	}
}

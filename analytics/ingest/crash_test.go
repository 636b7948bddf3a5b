package ingest

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Rows of two days never share an insert, and a crash between the two inserts
// repeats only the second.
func TestPartitionBoundary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{}
		f.fault = func(call int, _ store.Table) fault {
			if call == 2 {
				return refused
			}
			return none
		}
		midnight := time.Now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
		time.Sleep(time.Until(midnight.Add(-20 * time.Millisecond)))
		r := start(t, Config{JS: l.js, Store: f, FlushInterval: 10 * time.Second})
		for range 10 {
			l.job("a", 1)
			time.Sleep(4 * time.Millisecond)
		}
		r.caughtUp(t, l)
		f.wantRows(t, 10, 10)
		days := map[uint32]int{}
		for _, a := range f.attempts {
			days[store.PartitionOf(a.TS)]++
		}
		if len(days) != 2 {
			t.Fatalf("the rows fall into the days %v, want two", days)
		}
		for _, ins := range f.inserts {
			if a, b := f.day(ins[0]), f.day(ins[1]); a != b {
				t.Errorf("an insert of the rows %v has the days %d and %d", ins, a, b)
			}
		}
	})
}

func (f *fakeStore) day(seq uint64) uint32 {
	for _, a := range f.attempts {
		if a.Seq == seq {
			return store.PartitionOf(a.TS)
		}
	}
	return 0
}

// The active ingester loses NATS; the stand-by takes over when the lease
// lapses, and every row is there once.
func TestTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{}
		nc1, js1 := l.connect()
		one := start(t, Config{JS: js1, Store: f, Instance: "one"})
		l.job("a", 2)
		one.caughtUp(t, l)
		two := start(t, Config{JS: l.js, Store: f, Instance: "two"})
		time.Sleep(time.Minute)
		if two.Progress().Active {
			t.Fatal("two ingesters are active")
		}
		nc1.Close()
		crash := time.Now()
		l.job("b", 2)
		two.caughtUp(t, l)
		if d := time.Since(crash); d > 15*time.Second {
			t.Errorf("the stand-by took %s to take over, want about the lease's 10s", d)
		}
		if one.Progress().Active {
			t.Error("the first ingester is still active")
		}
		f.wantRows(t, 4, 2)
	})
}

// An ingester that stops hands over at once; one that comes back under its own
// name takes its own lease back at once.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{}
		one := start(t, Config{JS: l.js, Store: f, Instance: "one"})
		l.job("a", 1)
		one.caughtUp(t, l)
		l.job("b", 1)
		time.Sleep(100 * time.Millisecond) // read, and not due to be written
		one.stop()
		f.wantRows(t, 2, 2)

		began := time.Now()
		nc2, js2 := l.connect()
		two := start(t, Config{JS: js2, Store: f, Instance: "two"})
		l.job("c", 1)
		two.caughtUp(t, l)
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("a free lease was taken after %s", d)
		}
		nc2.Close() // it dies with the lease
		began = time.Now()
		again := start(t, Config{JS: l.js, Store: f, Instance: "two"})
		l.job("d", 1)
		again.caughtUp(t, l)
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("its own lease was taken after %s", d)
		}
		f.wantRows(t, 4, 4)
	})
}

// An insert that outlives the lease: the other ingester has written by the
// time it takes effect, and is not doubled.
func TestZombieInsert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{}
		nc1, js1 := l.connect()
		stuck := &slowStore{fakeStore: f, wait: 40 * time.Second}
		start(t, Config{JS: js1, Store: stuck, Instance: "one"})
		l.job("a", 2)
		time.Sleep(2 * time.Second) // the insert is under way
		nc1.Close()
		two := start(t, Config{JS: l.js, Store: f, Instance: "two"})
		l.job("b", 1)
		two.caughtUp(t, l)
		time.Sleep(2 * time.Minute)
		f.wantRows(t, 3, 2)
	})
}

// slowStore takes its time before an insert reaches the table.
type slowStore struct {
	*fakeStore
	wait time.Duration
}

func (s *slowStore) InsertAttempts(_ context.Context, rows []store.Attempt) error {
	time.Sleep(s.wait) // on its way, whatever its context says
	return s.fakeStore.InsertAttempts(context.Background(), rows)
}

// ClickHouse is away at start: nothing is lost, and it catches up.
func TestClickHouseAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{down: true}
		r := start(t, Config{JS: l.js, Store: f, RetryMax: time.Minute})
		l.job("a", 3)
		time.Sleep(26 * time.Hour) // longer than the retention
		l.job("b", 1)
		if p := r.Progress(); p.Err == nil || p.Position != 0 {
			t.Errorf("progress while ClickHouse is away: %+v", p)
		}
		f.setDown(false)
		r.caughtUp(t, l)
		f.wantRows(t, 4, 2)
		l.job("c", 1)
		r.caughtUp(t, l)
		f.setDown(true)
		for range 5 {
			l.job("d", 1)
			time.Sleep(time.Hour)
		}
		f.setDown(false)
		r.caughtUp(t, l)
		f.wantRows(t, 10, 8)
		if p := r.Progress(); p.Err != nil {
			t.Errorf("the error stays: %v", p.Err)
		}
	})
}

// The ledger's stream is made after the ingester starts.
func TestStreamComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{}
		must(t, l.js.DeleteStream(t.Context(), subjects.Stream(wire.StreamLedger)))
		r := start(t, Config{JS: l.js, Store: f})
		time.Sleep(time.Minute)
		l.createStream()
		l.job("a", 1)
		r.caughtUp(t, l)
		f.wantRows(t, 1, 1)
	})
}

// A ledger that is shorter than what ClickHouse holds is another ledger.
func TestOtherLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLedger(t)
		f := &fakeStore{attempts: []store.Attempt{{Seq: 1000}}}
		r := start(t, Config{JS: l.js, Store: f})
		l.job("a", 1)
		time.Sleep(time.Minute)
		if p := r.Progress(); p.Err == nil || !strings.Contains(p.Err.Error(), "not the ledger") {
			t.Errorf("progress %+v", p)
		}
		f.wantRows(t, 1, 0)
	})
}

// The consumer disappears, as after a restart of the server: the next session
// goes on.
func TestConsumerVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{}
		r := start(t, Config{JS: l.js, Store: f})
		for i := range 3 {
			l.job("a", 1)
			r.caughtUp(t, l)
			s, err := l.js.Stream(t.Context(), subjects.Stream(wire.StreamLedger))
			must(t, err)
			n := 0
			for name := range s.ConsumerNames(t.Context()).Name() {
				must(t, l.js.DeleteConsumer(t.Context(), subjects.Stream(wire.StreamLedger), name))
				n++
			}
			if n != 1 {
				t.Errorf("round %d: %d consumers, want one", i, n)
			}
		}
		l.job("b", 1)
		r.caughtUp(t, l)
		f.wantRows(t, 4, 4)
	})
}

// Records that cannot be read are passed over, and neither wedge nor hide.
func TestUndecodable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{}
		l.raw("x", nil, []byte("no headers"))
		l.raw("x", map[string][]string{wire.HeaderStatus: {"dancing"}}, nil)
		l.raw("x", map[string][]string{wire.HeaderStatus: {"failed"}, wire.HeaderEntry: {"{"}}, nil)
		l.raw("x", map[string][]string{"Status": {"409"}, "Description": {"Consumer Deleted"}}, nil)
		l.job("a", 1)
		r := start(t, Config{JS: l.js, Store: f})
		r.caughtUp(t, l)
		f.wantRows(t, 1, 1)
		if p := r.Progress(); p.Undecodable != 4 {
			t.Errorf("%d records counted as undecodable, want 4", p.Undecodable)
		}
	})
}

// A big ledger is read in bounded batches.
func TestBatchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{}
		for range 3000 {
			l.job("a", 1)
		}
		largest := 0
		f.fault = func(int, store.Table) fault { return none }
		watch := &sizeStore{fakeStore: f, largest: &largest}
		r := start(t, Config{JS: l.js, Store: watch, MaxRows: 100})
		r.caughtUp(t, l)
		f.wantRows(t, 3000, 3000)
		if largest > 51 {
			t.Errorf("an insert had %d rows, want at most 51 of MaxRows 100 over two tables", largest)
		}
	})
}

type sizeStore struct {
	*fakeStore
	largest *int
}

func (s *sizeStore) InsertAttempts(ctx context.Context, rows []store.Attempt) error {
	*s.largest = max(*s.largest, len(rows))
	return s.fakeStore.InsertAttempts(ctx, rows)
}

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{}
		r := start(t, Config{JS: l.js, Store: f, Retention: time.Hour})
		for range 4 {
			l.job("a", 1)
			time.Sleep(25 * time.Minute)
		}
		time.Sleep(time.Minute + time.Second)
		state := func() jetstream.StreamState {
			s, err := l.js.Stream(t.Context(), subjects.Stream(wire.StreamLedger))
			must(t, err)
			return s.CachedInfo().State
		}
		// Jobs at 0, 25, 50 and 75 minutes; now it is 101: the first two are older
		// than an hour, and leave their records 1 to 4.
		if s := state(); s.FirstSeq != 5 || s.Msgs != 4 {
			t.Errorf("kept %d records from %d, want 4 from 5", s.Msgs, s.FirstSeq)
		}
		f.setDown(true)
		l.job("b", 1) // 10 stays, however old, until it is written; 9 is a claim
		time.Sleep(5 * time.Hour)
		if s := state(); s.FirstSeq > 10 || s.FirstSeq < 9 || s.LastSeq != 10 {
			t.Errorf("while ClickHouse is away: kept %d records from %d, want 10 among them", s.Msgs, s.FirstSeq)
		}
		f.setDown(false)
		r.caughtUp(t, l)
		time.Sleep(2 * time.Minute)
		if s := state(); s.Msgs != 0 || s.FirstSeq != 11 {
			t.Errorf("at the end: kept %d records from %d, want none from 11", s.Msgs, s.FirstSeq)
		}
		f.wantRows(t, 5, 5)
		// A restart finds an empty ledger that has been purged, and goes on.
		r.stop()
		r = start(t, Config{JS: l.js, Store: f})
		l.job("c", 1)
		r.caughtUp(t, l)
		f.wantRows(t, 6, 6)
	})
}

func TestWaitForEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{down: true}
		r := start(t, Config{JS: l.js, Store: f})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.WaitFor(ctx, 1); err == nil {
			t.Error("WaitFor returned nil for a sequence that was never written")
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for _, cfg := range []Config{{}, {Store: &fakeStore{}, Instance: "x"}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("New(%+v) gave no error", cfg)
		}
	}
}

// TestRetentionOfWhatIsNotWritten: of records that grow old together, those
// that are not written stay.
func TestRetentionOfWhatIsNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{}
		r := start(t, Config{JS: l.js, Store: f, Retention: time.Hour})
		l.job("a", 1)
		r.caughtUp(t, l)
		f.setDown(true)
		l.job("b", 1)
		time.Sleep(3 * time.Hour)
		s, err := l.js.Stream(t.Context(), subjects.Stream(wire.StreamLedger))
		must(t, err)
		// 3 is the second job's claim, which makes no row: it may go.
		if s := s.CachedInfo().State; s.FirstSeq < 3 || s.FirstSeq > 4 || s.LastSeq != 4 {
			t.Errorf("kept %d to %d, want the second job's 4", s.FirstSeq, s.LastSeq)
		}
		f.setDown(false)
		r.caughtUp(t, l)
		f.wantRows(t, 2, 2)
	})
}

// TestJobWithoutAnAttemptIsLast: the tables stand at different places when a
// session begins, because the last job ended without an attempt. Its row is not
// written again, which would be refused for ever.
func TestJobWithoutAnAttemptIsLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{}
		expired := func(id string) {
			meta := wire.Meta{ID: id, Tenant: "acme", Class: wire.Standard, Route: "chat", SubmittedAt: time.Now().UnixNano()}
			l.record(&wire.Record{Status: wire.Expired, Entry: wire.Entry{Meta: meta, Error: wire.CodeDeadline}})
		}
		r := start(t, Config{JS: l.js, Store: f})
		l.job("a", 1)
		expired("b")
		r.caughtUp(t, l)
		r.stop()
		r = start(t, Config{JS: l.js, Store: f, Instance: "two"})
		expired("c")
		r.caughtUp(t, l)
		f.wantRows(t, 1, 3)
	})
}

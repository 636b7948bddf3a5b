package ledger

import (
	"context"
	"log/slog"
	"reflect"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// readers is how many consumers the ledger has.
func (w *world) readers() (n int) {
	w.t.Helper()
	s, err := w.js.Stream(w.t.Context(), w.s.Stream(wire.StreamLedger))
	if err != nil {
		w.t.Fatal(err)
	}
	names := s.ConsumerNames(w.t.Context())
	for range names.Name() {
		n++
	}
	if err := names.Err(); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// A process that writes the ledger alone does not read it, and misses nothing
// when others begin to write: every record is heard once, in order.
func TestTailListens(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		echo, other := NewEcho(), New(w.js, w.s)
		w.Tell(echo)
		tail := NewTail(w.js, w.s, time.Minute, slog.New(slog.DiscardHandler))
		tail.Hear(echo)
		var heard uint64
		var at time.Time
		tail.Follow(func(m *Seen) {
			if m.Seq != heard+1 || m.Prev != heard {
				t.Errorf("%d, which continues %d, was heard after %d", m.Seq, m.Prev, heard)
			}
			if m.At.Before(at) || time.Since(m.At) > time.Second {
				t.Errorf("%d was stored at %v, the one before at %v", m.Seq, m.At, at)
			}
			heard, at = m.Seq, m.At
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- tail.Run(ctx) }()
		var jobs int
		write := func(l *Ledger, n int) {
			for range n {
				jobs++
				r := record(wire.Running, func(r *wire.Record) { r.Entry.Meta.ID = "job" + strconv.Itoa(jobs) })
				if _, err := l.Append(t.Context(), r, 0); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		expect := func(what string, readers int) {
			t.Helper()
			if heard != uint64(jobs) || w.readers() != readers {
				t.Fatalf("%s: %d of %d records heard, %d readers; want %d", what, heard, jobs, w.readers(), readers)
			}
		}
		alone := echoLate + echoSure + 10
		synctest.Wait()
		write(w.Ledger, echoSure)
		expect("not sure yet", 1)
		write(w.Ledger, alone)
		expect("alone", 0)
		write(w.Ledger, echoSpan+100)
		expect("alone for long", 0)
		write(other, 1)
		write(w.Ledger, 5) // behind a gap
		if heard != uint64(jobs)-6 {
			t.Fatalf("%d of %d records heard, past the gap", heard, jobs)
		}
		time.Sleep(2 * echoGaps * echoGap)
		expect("another writes", 1)
		write(w.Ledger, alone)
		expect("alone again", 0)
		write(other, 3)
		time.Sleep(2 * echoQuiet)
		expect("another alone writes", 1)
		write(w.Ledger, alone)
		write(other, 1)
		tail.Doubt()
		time.Sleep(echoGap)
		expect("somebody knows of more", 1)
		write(w.Ledger, alone)
		synctest.Wait()
		expect("alone once more", 0)
		time.Sleep(2 * echoQuiet)
		expect("quiet", 1)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// What is told while nobody takes it is not kept without bound: the tail reads
// then.
func TestEchoOverflow(t *testing.T) {
	e := NewEcho()
	rec := record(wire.Running)
	e.tell(10, time.Now(), rec, nil)
	if from := e.keep(); from != 10 {
		t.Fatalf("kept behind %d", from)
	}
	for _, seq := range []uint64{12, 11, 9, 10 + echoSpan} {
		e.tell(seq, time.Now(), rec, nil)
	}
	list, gap, lost := e.take(nil)
	if len(list) != 2 || list[0].Seq != 11 || list[1].Seq != 12 || !gap || lost {
		t.Fatalf("took %d, gap %v, lost %v", len(list), gap, lost)
	}
	e.tell(13+echoSpan, time.Now(), rec, nil)
	if _, _, lost := e.take(nil); !lost {
		t.Error("nobody learns that there was no room")
	}
	e.drop()
	e.doubt() // of nothing
	(*Echo)(nil).tell(1, time.Now(), rec, nil)
	(*Echo)(nil).doubt()
}

// A record that this process wrote is heard as it would be read.
func TestEchoed(t *testing.T) {
	cost := wire.NanoUSD(7)
	for name, status := range map[string]wire.Status{"succeeded": wire.Succeeded, "failed": wire.Failed, "waiting": wire.Waiting} {
		rec := record(status, func(r *wire.Record) {
			r.Entry.Progress = wire.Progress{Attempts: 1, Spent: 7}
			r.Entry.Attempt = &wire.Attempt{N: 1, Pool: "p", Provider: "x", Model: "m", Status: status, Cost: &cost,
				Price: &wire.Price{Input: 1, Output: 2}, Folded: `{"r":"chat","sg":"s","c":[{"p":"p","m":"m","w":1,"d":3,"s":0.5}]}`}
			r.Body = []byte(`{}`)
		})
		header := rec.Encode()
		heard, err := echoed(5, time.Now(), rec, header).Record()
		if err != nil {
			t.Fatal(err)
		}
		rec.Entry.Attempt.Pool = "the writer goes on"
		read, err := (&Seen{Header: header}).Record()
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(heard, read) {
			t.Errorf("%s: heard %+v, %+v; read %+v, %+v", name, heard, heard.Entry.Attempt, read, read.Entry.Attempt)
		}
	}
}

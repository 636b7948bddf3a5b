package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/wire"
)

func TestMain(m *testing.M) {
	ats.Register() // outside any bubble, or fake time stands still
	os.Exit(m.Run())
}

// world is a server with the streams that a ledger needs, in a bubble.
type world struct {
	*Ledger
	t  *testing.T
	s  wire.Subjects
	js jetstream.JetStream
}

func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		srv, err := server.NewServer(&server.Options{ServerName: "test", DontListen: true, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
		if err != nil {
			t.Fatal(err)
		}
		srv.Start()
		t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
		nc, err := nats.Connect("", nats.InProcessServer(srv))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		w := &world{t: t}
		if w.js, err = jetstream.New(nc); err != nil {
			t.Fatal(err)
		}
		for _, c := range []jetstream.StreamConfig{
			{Name: w.s.Stream(wire.StreamLedger), Subjects: []string{w.s.Ledger("*", "*")}, AllowDirect: true,
				SubjectTransform: &jetstream.SubjectTransformConfig{Source: w.s.Ledger("*", "*"), Destination: w.s.Records("$1", "$2")}},
			{Name: w.s.Stream(wire.StreamSched), Subjects: []string{w.s.Requeue("*", "*"), w.s.Sched("*", "*")}, AllowMsgSchedules: true, AllowMsgTTL: true},
			{Name: w.s.Stream(wire.StreamDead), Subjects: []string{w.s.Dead("*", "*")}, MaxMsgsPerSubject: 1},
		} {
			if _, err := w.js.CreateStream(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: w.s.Stream(wire.BucketNodes), TTL: 15 * time.Second}); err != nil {
			t.Fatal(err)
		}
		w.Ledger = New(w.js, w.s)
		f(t, w)
	})
}

func record(status wire.Status, f ...func(*wire.Record)) *wire.Record {
	r := &wire.Record{Status: status, Entry: wire.Entry{Meta: wire.Meta{ID: "x", Tenant: "acme", Class: wire.Batch, Seq: 5, BodyHash: 7}}}
	for _, f := range f {
		f(r)
	}
	return r
}

func (w *world) append(r *wire.Record, expect uint64) uint64 {
	w.t.Helper()
	seq, err := w.Append(w.t.Context(), r, expect)
	if err != nil {
		w.t.Fatal(err)
	}
	return seq
}

func TestAppend(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first := w.append(record(wire.Running), 0)
		for _, wrong := range []uint64{0, first + 1, 99} {
			_, err := w.Append(t.Context(), record(wire.Failed), wrong)
			var c *Conflict
			if !errors.As(err, &c) || c.Last == nil || c.Last.Seq != first || c.Last.Status != wire.Running {
				t.Errorf("expecting %d: %v, want a conflict with %d", wrong, err, first)
			}
		}
		_, err := w.Append(t.Context(), record(wire.Running, func(r *wire.Record) { r.Entry.Meta.ID = "empty" }), 5)
		var c *Conflict
		if !errors.As(err, &c) || c.Last != nil {
			t.Errorf("expecting 5 on an empty subject: %v", err)
		}
		second := w.append(record(wire.Succeeded), first)
		if h, err := w.History(t.Context(), "acme", "x"); err != nil || len(h) != 2 || h[0].Seq != first || h[1].Seq != second {
			t.Errorf("history %+v, %v", h, err)
		}
		if last, err := w.Last(t.Context(), "acme", "nobody"); last != nil || err != nil {
			t.Errorf("last of no job: %+v, %v", last, err)
		}
	})
}

// TestAppendAmbiguous (I2): the record was stored and its acknowledgement
// lost. Sent again, it is recognised, and not stored twice.
func TestAppendAmbiguous(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		rec := record(wire.Running, func(r *wire.Record) { r.Entry.Owner = "w1" })
		h := rec.Encode()
		h[wire.HeaderExpectedLast] = []string{"0"}
		ack, err := w.js.PublishMsg(t.Context(), &nats.Msg{Subject: w.s.Ledger("acme", "x"), Header: h})
		if err != nil {
			t.Fatal(err)
		}
		if seq := w.append(rec, 0); seq != ack.Sequence {
			t.Errorf("sequence %d, want %d", seq, ack.Sequence)
		}
		_, err = w.Append(t.Context(), record(wire.Running, func(r *wire.Record) { r.Entry.Owner = "w2" }), 0)
		var c *Conflict
		if !errors.As(err, &c) {
			t.Errorf("another worker's claim: %v, want a conflict", err)
		}
		if h, err := w.History(t.Context(), "acme", "x"); err != nil || len(h) != 1 {
			t.Errorf("%d records, %v", len(h), err)
		}
	})
}

// TestAppendRace (I1): of writers that saw the same, one wins.
func TestAppendRace(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first := w.append(record(wire.Running), 0)
		var won sync.Map
		var all sync.WaitGroup
		for n := range 20 {
			all.Go(func() {
				owner := strconv.Itoa(n)
				_, err := w.Append(context.Background(), record(wire.Succeeded, func(r *wire.Record) { r.Entry.Owner = owner }), first)
				var c *Conflict
				switch {
				case err == nil:
					won.Store(owner, true)
				case !errors.As(err, &c) || !c.Last.Status.Terminal():
					t.Errorf("writer %s: %v", owner, err)
				}
			})
		}
		all.Wait()
		n := 0
		won.Range(func(any, any) bool { n++; return true })
		if h, err := w.History(t.Context(), "acme", "x"); n != 1 || err != nil || len(h) != 2 {
			t.Errorf("%d winners, %d records, %v", n, len(h), err)
		}
	})
}

func TestSettle(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		delayed := w.append(record(wire.Waiting), 0)
		seq, err := w.Settle(t.Context(), record(wire.Expired), 0) // a router that has not seen it
		if err != nil || seq != delayed+1 {
			t.Errorf("waiting job: %d, %v", seq, err)
		}
		if seq, err := w.Settle(t.Context(), record(wire.Failed), 0); err != nil || seq != 0 {
			t.Errorf("finished job: %d, %v, want nothing to do", seq, err)
		}
		clash := record(wire.Expired, func(r *wire.Record) { r.Entry.Meta.Seq, r.Entry.Meta.BodyHash = 6, 8 })
		for range 2 { // and again, as after a lost acknowledgement
			if seq, err := w.Settle(t.Context(), clash, 0); err != nil || seq != 0 {
				t.Errorf("clash: %d, %v", seq, err)
			}
		}
		if h, err := w.History(t.Context(), "acme", "j6"); err != nil || len(h) != 1 || h[0].Entry.Error != wire.CodeIDConflict || h[0].Status != wire.Failed {
			t.Errorf("the other job's record: %+v, %v", h, err)
		}
		if h, _ := w.History(t.Context(), "acme", "x"); len(h) != 2 {
			t.Errorf("%d records of the job, want 2", len(h))
		}
	})
}

// TestSettleOldCopy: what ends a job from a copy that does not know of its
// attempts does not forget them (chaos, seed 609), and what would delay it does
// nothing, because the newer copy does that.
func TestSettleOldCopy(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		been := wire.Progress{Attempts: 2, Spent: 21830, Tried: []string{"flaky"}}
		at := w.append(record(wire.Waiting, func(r *wire.Record) { r.Entry.Progress = been }), 0)
		if seq, err := w.Settle(t.Context(), record(wire.Waiting), 0); err != nil || seq != 0 {
			t.Errorf("delayed by an old copy: %d, %v, want nothing to do", seq, err)
		}
		again := been
		again.Told = 5
		at2, err := w.Settle(t.Context(), record(wire.Waiting, func(r *wire.Record) { r.Entry.Progress = again }), 0)
		if err != nil || at2 != at+1 {
			t.Errorf("delayed by a copy that knows: %d, %v", at2, err)
		}
		if seq, err := w.Settle(t.Context(), record(wire.Expired), 0); err != nil || seq != at2+1 {
			t.Errorf("ended by an old copy: %d, %v", seq, err)
		}
		last, err := w.Last(t.Context(), "acme", "x")
		if err != nil || last.Status != wire.Expired || last.Entry.Progress.Attempts != 2 || last.Entry.Progress.Spent != 21830 {
			t.Errorf("the record that ends it: %+v, %v", last, err)
		}
	})
}

// TestTakeBack: a router takes back what no worker has begun, and the record
// comes before the copy: a worker that has the message by now is refused.
func TestTakeBack(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		sub, err := w.js.CreateConsumer(t.Context(), w.s.Stream(wire.StreamSched), jetstream.ConsumerConfig{FilterSubject: w.s.Requeue("*", "*"), AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		take := func(a *wire.Assignment, seq uint64, want bool) *wire.Assignment {
			t.Helper()
			if ok, err := w.TakeBack(t.Context(), a, seq, []byte("body")); err != nil || ok != want {
				t.Fatalf("taken back: %t, %v, want %t", ok, err, want)
			}
			m, err := sub.Next(jetstream.FetchMaxWait(time.Second))
			if err != nil {
				return nil // nothing is queued
			}
			b, err := wire.DecodeAssignment(m.Headers())
			if err != nil || string(m.Data()) != "body" {
				t.Fatalf("queued again: %q, %v", m.Data(), err)
			}
			return &b
		}
		a := &wire.Assignment{Meta: record("").Entry.Meta, Attempt: &wire.Attempt{N: 1}}
		b := take(a, 20, true)
		if b == nil || b.Progress.Recalls != 1 || b.Progress.Expect == 0 {
			t.Fatalf("the copy: %+v", b)
		}
		if again := take(a, 20, true); again == nil || again.Progress.Recalls != 1 || again.Progress.Expect != b.Progress.Expect {
			t.Errorf("taken back again, since it is there still: %+v", again)
		}
		last, err := w.Last(t.Context(), "acme", "x")
		if r := Judge(last, &a.Meta, WorkOf(a, 20)); err != nil || last.Reason != wire.ReasonRecall || r.Verdict != Again {
			t.Errorf("a worker that has the message: %+v, %v", r, err)
		}
		b.Attempt = &wire.Attempt{N: 1}
		w.append(record(wire.Running, func(r *wire.Record) {
			r.Entry.Progress, r.Entry.Attempt, r.Entry.Owner, r.Entry.WorkSeq = b.Progress, b.Attempt, "w1", 21
		}), b.Progress.Expect)
		if c := take(b, 21, false); c != nil {
			t.Errorf("an attempt that has begun is queued again: %+v", c)
		}
		if c := take(b, 22, true); c != nil {
			t.Errorf("a copy of it is queued again: %+v", c)
		}
	})
}

// TestRequeue: at once, or at the exact time, once.
func TestRequeue(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		sub, err := w.js.CreateConsumer(t.Context(), w.s.Stream(wire.StreamSched), jetstream.ConsumerConfig{FilterSubject: w.s.Requeue("*", "*"), AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		a := &wire.Assignment{Meta: record("").Entry.Meta, Progress: wire.Progress{Expect: 3}, Attempt: &wire.Attempt{N: 1}}
		began := time.Now()
		for _, wait := range []time.Duration{0, -time.Hour, 1500*time.Millisecond + 7} {
			at := time.Now().Add(wait)
			for range 2 { // a repeat before it fires replaces the schedule
				if err := w.Requeue(t.Context(), a, []byte("body"), at, time.Now()); err != nil {
					t.Fatal(err)
				}
				if wait <= 0 {
					break
				}
			}
			m, err := sub.Next(jetstream.FetchMaxWait(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			if late := time.Since(at); wait > 0 && (late < 0 || late > 5*time.Millisecond) {
				t.Errorf("came %s after its time", late)
			}
			got, err := wire.DecodeAssignment(m.Headers())
			if err != nil || got.Attempt != nil || got.Meta.ID != "x" || got.Progress.Expect != 3 || string(m.Data()) != "body" || m.Subject() != "sluice.requeue.acme.batch" {
				t.Errorf("%s %+v %v", m.Subject(), got, err)
			}
			if ready := time.Unix(0, got.Progress.ReadyAt); ready.Before(began) || ready.Before(at) {
				t.Errorf("ready at %s", ready)
			}
		}
		time.Sleep(time.Minute)
		if info, err := sub.Info(t.Context()); err != nil || info.NumPending != 0 {
			t.Errorf("%d more came, %v", info.NumPending, err)
		}
	})
}

func TestWipe(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := &wire.Assignment{Meta: record("").Entry.Meta}
		if err := w.Requeue(t.Context(), a, nil, time.Now().Add(time.Minute), time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := w.Wipe(t.Context(), "acme", "x"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		s, err := w.js.Stream(t.Context(), w.s.Stream(wire.StreamSched))
		if err != nil || s.CachedInfo().State.Msgs != 0 {
			t.Errorf("%+v, %v", s.CachedInfo().State, err)
		}
	})
}

func TestBury(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		rec := record(wire.Failed)
		rec.Entry.Attempt = &wire.Attempt{N: 3, Decision: &wire.Decision{Route: strings.Repeat("x", buriedMost)}}
		for range 3 {
			if err := w.Bury(t.Context(), rec, []byte("body")); err != nil {
				t.Fatal(err)
			}
		}
		s, err := w.js.Stream(t.Context(), w.s.Stream(wire.StreamDead))
		if err != nil || s.CachedInfo().State.Msgs != 1 {
			t.Fatalf("%+v, %v", s.CachedInfo().State, err)
		}
		m, err := s.GetLastMsgForSubject(t.Context(), w.s.Dead(rec.Entry.Meta.Tenant, rec.Entry.Meta.ID))
		if err != nil {
			t.Fatal(err)
		}
		if h := BuriedHistory(m.Header); h == nil || h.Status != wire.Failed || len(h.History) != 1 || h.History[0].Attempt != 3 || h.History[0].Decision != nil {
			t.Errorf("history %+v: want the last record, without a decision that is too long", h)
		}
	})
}

// TestBuriedHistory: the newest records are kept, as many as fit.
func TestBuriedHistory(t *testing.T) {
	var records []*Stored
	for n := range 1000 {
		records = append(records, &Stored{Record: *record(wire.Waiting), Seq: uint64(n)})
	}
	text, err := history(records)
	var a wire.Answer
	if err != nil || len(text) > buriedMost || json.Unmarshal([]byte(text), &a) != nil {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	if n := len(a.History); n < 100 || a.History[n-1].Seq != 999 {
		t.Errorf("%d of 1,000 steps are kept, the last is %d", n, a.History[n-1].Seq)
	}
}

func (w *world) alive(name string) bool {
	w.t.Helper()
	ok, err := Alive(w.t.Context(), w.js, w.s, name)
	if err != nil {
		w.t.Fatal(err)
	}
	return ok
}

// TestAnnounce: a process that announces itself is alive until it goes, which
// everyone sees at once.
func TestAnnounce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- Announce(ctx, w.js, w.s, func() Node { return Node{Instance: "n", Pools: []string{"a"}} })
		}()
		time.Sleep(14 * time.Second)
		if !w.alive("n") || w.alive("nobody") {
			t.Error("the one that announces itself is alive, nobody else")
		}
		kv, err := w.js.KeyValue(t.Context(), w.s.Stream(wire.BucketNodes))
		if err != nil {
			t.Fatal(err)
		}
		if e, err := kv.Get(t.Context(), "n"); err != nil || e.Revision() != 3 { // at 0, 5 and 10 s
			t.Errorf("%+v, %v; want the third announcement", e, err)
		}
		if n, err := Nodes(t.Context(), w.js, w.s); err != nil || len(n) != 1 || n[0].Instance != "n" || n[0].Pools[0] != "a" {
			t.Errorf("nodes %+v, %v", n, err)
		}
		stop()
		if err := <-done; err != nil || w.alive("n") {
			t.Errorf("after its end: %v, alive %t", err, w.alive("n"))
		}
	})
}

// TestVanished: a process that vanishes is gone within 15 s. (Alone in its
// bucket, and TestAnnounce ends before the first expiry: under fake time the
// server's file store expires everything at once, as if it looked at a clock
// outside the bubble.)
func TestVanished(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		kv, err := w.js.KeyValue(t.Context(), w.s.Stream(wire.BucketNodes))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Put(t.Context(), "n", []byte(`{"instance":"n"}`)); err != nil {
			t.Fatal(err)
		}
		if time.Sleep(14 * time.Second); !w.alive("n") {
			t.Error("gone after 14 s")
		}
		if time.Sleep(2 * time.Second); w.alive("n") {
			t.Error("alive after 16 s")
		}
	})
}

func TestDescribe(t *testing.T) {
	cost := wire.NanoUSD(5)
	records := []*Stored{
		{Seq: 1, At: time.Unix(1, 0), Record: *record(wire.Running, func(r *wire.Record) {
			r.Entry.Owner, r.Entry.Attempt = "w1", &wire.Attempt{N: 1, Pool: "p", Model: "m"}
		})},
		{Seq: 2, At: time.Unix(2, 0), Record: *record(wire.Waiting, func(r *wire.Record) {
			r.Reason, r.Until = wire.ReasonRetry, time.Unix(9, 0)
			r.Entry.Progress = wire.Progress{Attempts: 1, Spent: 5}
			r.Entry.Attempt = &wire.Attempt{N: 1, Pool: "p", Model: "m", Status: wire.Failed, ErrorCode: wire.CodeTimeout, Cost: &cost}
		})},
	}
	a := Describe("acme", "x", records)
	if a.Status != wire.Waiting || a.Until != "1970-01-01T00:00:09Z" || a.Attempts != 1 || *a.Cost != 5 || len(a.History) != 2 ||
		a.History[0].Worker != "w1" || a.History[0].Usage != nil || a.History[1].Outcome != wire.Failed || a.History[1].Error != wire.CodeTimeout {
		t.Errorf("%+v", a)
	}
	records[1].Entry.Progress.Unknown = true
	if a := Describe("acme", "x", records); a.Cost != nil {
		t.Errorf("cost %d, want unknown", *a.Cost)
	}
	if a := Describe("acme", "x", nil); a.Status != wire.Queued || a.History != nil {
		t.Errorf("without records: %+v", a)
	}
}

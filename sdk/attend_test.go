package sdk

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/sdk/wire"
)

// newRealBroker is a broker whose ledger re-publishes what it stores, and the
// number of times that somebody looked at the ledger.
func newRealBroker(t *testing.T) (b *testBroker, looks func() int) {
	t.Helper()
	b = newServer(t, serverOptions(t))
	b.republishes = true
	b.streams()
	b.serve()
	heard := make(chan *nats.Msg, 1000)
	if _, err := b.nc.ChanSubscribe("$JS.API.DIRECT.GET."+b.sub.Stream(wire.StreamLedger)+".>", heard); err != nil {
		t.Fatal(err)
	}
	return b, func() int {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := b.nc.FlushWithContext(ctx); err != nil {
			t.Fatal(err)
		}
		return len(heard)
	}
}

// Who attends a job looks nothing up: the result comes as the ledger stored it.
func TestAttendNeedsNoLook(t *testing.T) {
	b, looks := newRealBroker(t)
	c := b.dial()
	h := attend(t, c, ask())
	r, err := h.Wait(t.Context())
	if err != nil || r.Text() != "hello" || r.Cost != 7 || r.Attempts != 1 || r.Pool != "p1" {
		t.Fatalf("%+v, %v", r, err)
	}
	if n := looks(); n != 0 {
		t.Errorf("%d looks at the ledger", n)
	}
	again, err := h.Wait(t.Context()) // with nothing opened before
	if err != nil || again.Seq != r.Seq || !again.FinishedAt.Equal(r.FinishedAt) || again.Text() != r.Text() {
		t.Errorf("heard %+v, read %+v, %v", r, again, err)
	}
	if looks() == 0 {
		t.Error("the second wait read nothing: are looks counted?")
	}
	if c.listeners() != 0 {
		t.Error("listeners are left")
	}
}

// attend submits a job; what was opened for it is closed with the test.
func attend(t *testing.T, c *Client, job Job) *Handle {
	t.Helper()
	h, release, err := c.Attend(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return h
}

// Nor its chunks: none is asked for again.
func TestAttendChunks(t *testing.T) {
	b, looks := newRealBroker(t)
	c := b.dial()
	h := attend(t, c, streaming())
	if got, err := read(t.Context(), h, 0, 0); err != nil || got != "1.0 1.1 1.2 1.3 1.4$" {
		t.Errorf("chunks %s, %v", got, err)
	}
	if looks() != 0 || b.asked() != 0 {
		t.Errorf("%d looks, %d replays", looks(), b.asked())
	}
	if c.listeners() != 0 {
		t.Error("listeners are left")
	}
}

// What was opened is closed, whatever is done with the handle.
func TestAttendReleases(t *testing.T) {
	b, _ := newRealBroker(t)
	c := b.dial()
	for name, use := range map[string]func(*Handle){
		"nothing":              func(*Handle) {},
		"a wait for a stream":  func(h *Handle) { _, _ = h.Wait(t.Context()) },
		"chunks from a place":  func(h *Handle) { _, _ = read(t.Context(), h, 1, 0) },
		"a loop that is left":  func(h *Handle) { h.Chunks(t.Context())(func(Chunk, error) bool { return false }) },
		"released, then asked": func(h *Handle) { h.release(); _, _ = h.Wait(t.Context()) },
	} {
		h, release, err := c.Attend(t.Context(), streaming())
		if err != nil {
			t.Fatal(err)
		}
		use(h)
		release()
		release()
		if n, subs := c.listeners(), c.nc.NumSubscriptions(); n != 0 || subs > 1 { // one is for answers to requests
			t.Errorf("%s: %d listeners, %d subscriptions", name, n, subs)
		}
	}
	if _, release, err := c.Attend(t.Context(), Job{ID: "no such ID"}); err == nil {
		t.Error("a bad job is taken")
	} else {
		release()
	}
}

// A job with a chosen ID may have ended before: that is looked up.
func TestAttendAnotherTime(t *testing.T) {
	b, _ := newRealBroker(t)
	c := b.dial()
	for range 2 {
		job := streaming()
		job.ID = "chosen"
		h, release, err := c.Attend(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := read(t.Context(), h, 0, 0); err != nil || got != "1.0 1.1 1.2 1.3 1.4$" {
			t.Errorf("chunks %s, %v", got, err)
		}
		if r, err := h.Wait(t.Context()); err != nil || r.Text() != "hello" {
			t.Errorf("%+v, %v", r, err)
		}
		release()
	}
}

// S1: a record without the ledger's mark is a hint only, also one that says to
// come from another stream.
func TestOnlyMarkedRecordsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := newRealBroker(t)
		b.play(silent)
		c := b.dial()
		h := attend(t, c, ask())
		done := make(chan *Result, 1)
		go func() { // ends with the job, below
			r, _ := h.Wait(t.Context())
			done <- r
		}()
		job := b.known(h)
		for _, mark := range []nats.Header{{}, {"Nats-Stream": {"OTHER"}, "Nats-Sequence": {"9"}}, {"Nats-Stream": {b.sub.Stream(wire.StreamLedger)}}} {
			forged := wire.Record{Status: Succeeded, Entry: wire.Entry{Meta: job.Meta}}
			header := forged.Encode()
			for k, v := range mark {
				header[k] = v
			}
			if err := b.nc.PublishMsg(&nats.Msg{Subject: b.sub.Records(job.Tenant, job.ID), Header: header, Data: completion("forged")}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			select {
			case r := <-done:
				t.Fatalf("%v counted: %+v", mark, r)
			default:
			}
		}
		b.end(job, Succeeded, ended(1, Succeeded, ""), "", completion("true"))
		if r := <-done; r == nil || r.Text() != "true" {
			t.Errorf("%+v", r)
		}
	})
}

// S2: a record that the connection lost is looked for.
func TestAttendSurvivesADeafEar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, looks := newRealBroker(t)
		b.play(silent)
		c := b.dial()
		h := attend(t, c, ask())
		c.watch.mu.Lock()
		_ = c.watch.jobs[h.ID()].sub.Unsubscribe()
		c.watch.mu.Unlock()
		b.end(b.known(h), Succeeded, nil, "", completion("found"))
		if r, err := h.Wait(t.Context()); err != nil || r.Text() != "found" {
			t.Fatalf("%+v, %v", r, err)
		}
		if looks() == 0 {
			t.Error("it was found without a look")
		}
	})
}

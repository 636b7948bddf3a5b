package sdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/wire"
)

// submit submits and fails the test if that fails.
func submit(t testing.TB, c *Client, job Job) *Handle {
	t.Helper()
	h, err := c.Submit(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// named is the job that h names, for the broker's methods.
func (b *testBroker) known(h *Handle) wire.Job {
	return wire.Job{Meta: wire.Meta{ID: h.ID(), Tenant: h.Tenant()}}
}

// silent is the script of a job that nothing happens to.
func silent(*testBroker, wire.Job) {}

func TestSubmitAndWait(t *testing.T) {
	c := newBroker(t).dial()
	h := submit(t, c, ask())
	r, err := h.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Text() != "hello" || r.Status != Succeeded || r.Err != nil || r.Cost != 7 || !r.CostKnown || r.Attempts != 1 ||
		r.Pool != "p1" || r.Provider != "simulated" || r.Model != "m1" || r.Usage.Output != 5 || r.Job != h.ID() || r.Tenant != "acme" {
		t.Errorf("result is %+v", r)
	}
	var answer struct{ Object string }
	if err := r.Decode(&answer); err != nil || answer.Object != "chat.completion" {
		t.Errorf("decodes to %+v, %v", answer, err)
	}
	if err := r.Decode(&[]int{}); CodeOf(err) != wire.CodeInternal {
		t.Errorf("decoding into a slice gives %v", err)
	}
	late, err := c.Attach(h.ID()).Wait(t.Context())
	if err != nil || late.Text() != "hello" || late.Seq != r.Seq || late.FinishedAt.IsZero() {
		t.Errorf("a late wait gives %+v, %v", late, err)
	}
}

func TestWaitForJobsThatFail(t *testing.T) {
	b := newBroker(t)
	b.play(silent)
	c := b.dial()
	for _, tc := range []struct {
		status  Status
		attempt *wire.Attempt
		code    Code
		body    []byte
		want    Code
	}{
		{Failed, nil, wire.CodeUnknownRoute, wire.Errorf(wire.CodeUnknownRoute, "model", "no route").Body(), wire.CodeUnknownRoute},
		{Failed, ended(3, Failed, wire.CodeTimeout), wire.CodeExhausted, nil, wire.CodeExhausted},
		{Cancelled, nil, "", nil, wire.CodeCancelled},
		{Expired, nil, "", nil, wire.CodeDeadline},
		{Failed, nil, "", []byte("?"), wire.CodeInternal},
	} {
		h := submit(t, c, Job{Request: Prompt("chat", "hi"), Stream: true})
		b.end(b.known(h), tc.status, tc.attempt, tc.code, tc.body)
		r, err := h.Wait(t.Context())
		if err != nil || r.Status != tc.status || CodeOf(r.Err) != tc.want || r.Err.Job != h.ID() || r.Text() != "" || r.Decode(nil) != error(r.Err) {
			t.Errorf("%s gives %+v, %v", tc.want, r, err)
		}
		if tc.attempt != nil && (r.Attempts != 3 || r.Cost != 21 || r.Pool != "p1") {
			t.Errorf("attempts are lost: %+v", r)
		}
		if _, err := h.Text(t.Context()); CodeOf(err) != tc.want {
			t.Errorf("the text of %s gives %v", tc.want, err)
		}
	}
}

func TestCostUnknown(t *testing.T) {
	r := newResult(&Handle{c: &Client{}}, stored{Record: wire.Record{Status: Succeeded, Entry: wire.Entry{Progress: wire.Progress{Attempts: 2, Spent: 5, Unknown: true}}}})
	if r.Cost != 5 || r.CostKnown {
		t.Errorf("cost %v, known %v", r.Cost, r.CostKnown)
	}
}

// S1: a terminal record that the ledger refused is heard, and does not count.
func TestWaitIgnoresARefusedRecord(t *testing.T) {
	b := newBroker(t)
	b.play(silent)
	h := submit(t, b.dial(), ask())
	result := make(chan *Result)
	go func() {
		r, err := h.Wait(t.Context())
		if err != nil {
			t.Error(err)
		}
		result <- r
	}()
	b.claim(b.known(h), 1)
	time.Sleep(20 * time.Millisecond)
	b.record(b.known(h), wire.Record{Status: Failed}, jetstream.WithExpectLastSequencePerSubject(99))
	select {
	case r := <-result:
		t.Fatalf("the refused record counted: %+v", r)
	case <-time.After(100 * time.Millisecond):
	}
	b.end(b.known(h), Succeeded, ended(1, Succeeded, ""), "", completion("true"))
	if r := <-result; r == nil || r.Text() != "true" {
		t.Errorf("result %+v", r)
	}
}

// S2: a record that nobody heard is found by looking again.
func TestWaitFindsARecordNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t)
		b.play(silent)
		c := b.dial()
		h := submit(t, c, ask())
		time.AfterFunc(time.Second, func() {
			c.watch.mu.Lock()
			_ = c.watch.jobs[h.ID()].sub.Unsubscribe()
			c.watch.mu.Unlock()
			time.Sleep(time.Second)
			b.end(b.known(h), Succeeded, nil, "", completion("found"))
		})
		start := time.Now()
		r, err := h.Wait(t.Context())
		if err != nil || r.Text() != "found" {
			t.Fatalf("%+v, %v", r, err)
		}
		if d := time.Since(start); d < lookAgain || d > lookAgain*5/4 {
			t.Errorf("after %v", d)
		}
	})
}

func TestWaitForAJobThatDoesNotExist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newBroker(t).dial()
		start := time.Now()
		h := c.Attach("nobody")
		if _, err := h.Wait(t.Context()); CodeOf(err) != wire.CodeNotFound {
			t.Errorf("gives %v", err)
		}
		if d := time.Since(start); d > 2*lookAgain*5/4 {
			t.Errorf("after %v", d)
		}
		if _, err := h.Text(t.Context()); CodeOf(err) != wire.CodeNotFound {
			t.Errorf("text gives %v", err)
		}
		for _, err := range h.Records(t.Context()) {
			if CodeOf(err) != wire.CodeNotFound {
				t.Errorf("records give %v", err)
			}
		}
		if _, err := h.Status(t.Context()); CodeOf(err) != wire.CodeNotFound {
			t.Errorf("status gives %v", err)
		}
	})
}

// A job of an hour is waited for, whether it is queued or running.
func TestWaitLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t)
		b.play(func(b *testBroker, job wire.Job) {
			time.Sleep(30 * time.Minute)
			b.claim(job, 1)
			time.Sleep(30 * time.Minute)
			b.end(job, Succeeded, ended(1, Succeeded, ""), "", completion("slow"))
		})
		c := b.dial()
		start := time.Now()
		h := submit(t, c, ask())
		r, err := c.Attach(h.ID()).Wait(t.Context())
		if err != nil || r.Text() != "slow" || time.Since(start).Round(time.Second) != time.Hour {
			t.Errorf("%+v, %v after %v", r, err, time.Since(start))
		}
	})
}

func TestInvalidHandles(t *testing.T) {
	c := newBroker(t).dial()
	for _, id := range []string{"", "a.b", "*", ">", "a b"} {
		h := c.Attach(id)
		_, wait := h.Wait(t.Context())
		_, cancel := h.Cancel(t.Context())
		_, text := h.Text(t.Context())
		for _, err := range h.Records(t.Context()) {
			wait = errors.Join(wait, err)
		}
		for _, err := range []error{wait, cancel, text} {
			if CodeOf(err) != wire.CodeInvalidJobID {
				t.Errorf("%q gives %v", id, err)
			}
		}
	}
}

func TestWaitContext(t *testing.T) {
	b := newBroker(t)
	b.play(silent)
	c := b.dial()
	h := submit(t, c, ask())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := h.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("gives %v", err)
	}
	why := errors.New("enough")
	ctx2, stop := context.WithCancelCause(t.Context())
	stop(why)
	if _, err := h.Wait(ctx2); !errors.Is(err, why) {
		t.Errorf("gives %v", err)
	}
	for _, err := range h.Chunks(ctx2) {
		if !errors.Is(err, why) {
			t.Errorf("chunks give %v", err)
		}
	}
	if len(c.watch.jobs) != 0 || c.watch.n != 0 {
		t.Error("listeners are left")
	}
}

func TestManyWaits(t *testing.T) {
	b := newBroker(t)
	b.play(silent)
	c := b.dial()
	const n = 10_000
	var handles []*Handle
	for h, err := range c.SubmitMany(t.Context(), repeat(ask(), n)) {
		if err != nil {
			t.Fatal(err)
		}
		handles = append(handles, h)
	}
	var all sync.WaitGroup
	start := time.Now()
	for _, h := range handles {
		all.Go(func() {
			if r, err := h.Wait(t.Context()); err != nil || r.Job != h.ID() {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	for c.listeners() < n {
		time.Sleep(time.Millisecond)
	}
	waiting := time.Since(start)
	start = time.Now()
	for _, h := range handles {
		b.end(b.known(h), Succeeded, nil, "", completion("x"))
	}
	all.Wait()
	t.Logf("%d waits began in %v, and ended in %v", n, waiting, time.Since(start))
	if c.listeners() != 0 || len(c.watch.jobs) != 0 {
		t.Error("listeners are left")
	}
}

func (c *Client) listeners() int {
	c.watch.mu.Lock()
	defer c.watch.mu.Unlock()
	return c.watch.n
}

// Ten waits for one job share a subscription.
func TestWaitsShareASubscription(t *testing.T) {
	b := newBroker(t)
	b.play(silent)
	c := b.dial()
	h := submit(t, c, ask())
	before := c.nc.NumSubscriptions()
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if _, err := c.Attach(h.ID()).Wait(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	for c.listeners() < 10 {
		time.Sleep(time.Millisecond)
	}
	if got := c.nc.NumSubscriptions() - before; got > 2 { // one, and the replies' own
		t.Errorf("%d subscriptions", got)
	}
	b.end(b.known(h), Succeeded, nil, "", nil)
	all.Wait()
}

// restart stops the server and starts it again on the same port and store.
func (b *testBroker) restart(meanwhile func()) {
	b.t.Helper()
	b.stop()
	addr := b.srv.Addr()
	b.srv.Shutdown()
	b.srv.WaitForShutdown()
	meanwhile()
	opts := b.opts.Clone()
	if _, err := fmt.Sscanf(addr.String(), "127.0.0.1:%d", &opts.Port); err != nil {
		b.t.Fatal(err)
	}
	next := newServer(b.t, opts)
	next.jobs, next.script = b.jobs, b.script
	next.streams()
	next.serve()
	b.srv, b.nc, b.js, b.stop = next.srv, next.nc, next.js, next.stop
}

func TestRestart(t *testing.T) {
	b := newServer(t, listening(serverOptions(t)))
	b.streams()
	b.serve()
	b.play(silent)
	c, err := Dial(t.Context(), b.srv.ClientURL(), WithTenant("acme"), WithNATS(nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	h, streaming := submit(t, c, ask()), submit(t, c, Job{Request: Prompt("chat", "hi"), Stream: true})
	job := b.known(streaming)
	b.claim(job, 1)
	b.chunk(job, 1, 0, "he", false)
	var texts []string
	var all sync.WaitGroup
	all.Go(func() {
		if r, err := h.Wait(t.Context()); err != nil || r.Text() != "after" {
			t.Errorf("wait: %+v, %v", r, err)
		}
	})
	all.Go(func() {
		for chunk, err := range streaming.Chunks(t.Context()) {
			if err != nil {
				t.Error(err)
				return
			}
			texts = append(texts, fmt.Sprint(chunk.Attempt, chunk.Text(), chunk.Restarted))
		}
	})
	time.Sleep(50 * time.Millisecond)
	late := make(chan error, 1)
	b.restart(func() { go func() { _, err := c.Submit(t.Context(), ask()); late <- err }() })
	// Before the client is back: nothing of this is heard. The memory stream
	// of chunks has lost the first attempt and counts from 1 again.
	b.end(b.known(h), Succeeded, nil, "", completion("after"))
	b.claim(job, 2)
	b.chunk(job, 2, 0, "hel", false)
	b.chunk(job, 2, 1, "lo", true)
	b.end(job, Succeeded, ended(2, Succeeded, ""), "", completion("hello"))
	all.Wait()
	if err := <-late; err != nil {
		t.Errorf("a submission during the restart: %v", err)
	}
	if want := []string{"1hefalse", "2heltrue", "2lofalse"}; !slices.Equal(texts, want) {
		t.Errorf("chunks are %v", texts)
	}
}

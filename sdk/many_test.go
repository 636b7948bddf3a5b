package sdk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// kilobyte is a job whose body has 1 KiB.
func kilobyte() Job {
	frame := len(`{"model":"chat","messages":[{"role":"user","content":""}]}`)
	return Job{Body: fmt.Appendf(nil, `{"model":"chat","messages":[{"role":"user","content":"%s"}]}`, strings.Repeat("x", 1024-frame))}
}

func repeat(job Job, n int) iter.Seq[Job] {
	return func(yield func(Job) bool) {
		for range n {
			if !yield(job) {
				return
			}
		}
	}
}

func TestSubmitHundredThousand(t *testing.T) {
	b := newServer(t, serverOptions(t))
	b.streams()
	c := b.dial()
	start, n := time.Now(), 0
	for _, err := range c.SubmitMany(t.Context(), repeat(kilobyte(), 100_000)) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	took := time.Since(start)
	t.Logf("%d jobs of 1 KiB in %v", n, took)
	if got := b.stream(wire.StreamJobs).State.Msgs; got != 100_000 || n != 100_000 {
		t.Errorf("%d handles, and the stream holds %d jobs", n, got)
	}
	if took > time.Minute {
		t.Errorf("took %v", took)
	}
}

func TestSubmitManyAndWaitMany(t *testing.T) {
	c := newBroker(t).dial()
	jobs := slices.Repeat([]Job{ask()}, 5000)
	for i := range jobs {
		jobs[i].ID = fmt.Sprint("job-", i)
	}
	jobs[17].Body = []byte("{")
	i := 0
	var handles []*Handle
	for h, err := range c.SubmitMany(t.Context(), slices.Values(jobs)) {
		if h.ID() != jobs[i].ID {
			t.Fatalf("job %d is %s", i, h.ID())
		}
		if want := map[bool]Code{true: wire.CodeInvalidJSON}[i == 17]; CodeOf(err) != want {
			t.Fatalf("job %d gives %v", i, err)
		}
		if i != 17 {
			handles = append(handles, h)
		}
		i++
	}
	if i != len(jobs) {
		t.Fatalf("%d jobs yielded", i)
	}
	seen := make(map[string]bool)
	for r, err := range c.WaitMany(t.Context(), slices.Values(handles)) {
		if err != nil || seen[r.Job] || r.Status != Succeeded {
			t.Fatalf("result %+v, %v", r, err)
		}
		seen[r.Job] = true
	}
	if len(seen) != len(handles) {
		t.Errorf("%d of %d results", len(seen), len(handles))
	}
}

// The same IDs again are the same jobs.
func TestSubmitManyTwice(t *testing.T) {
	b := newBroker(t)
	c := b.dial()
	for range 2 {
		for _, err := range c.SubmitMany(t.Context(), func(yield func(Job) bool) {
			for i := range 50 {
				if !yield(Job{ID: fmt.Sprint("a", i), Request: Prompt("chat", "hi")}) {
					return
				}
			}
		}) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 50 {
		if r, err := c.Attach(fmt.Sprint("a", i)).Wait(t.Context()); err != nil || r.Attempts != 1 {
			t.Errorf("job %d: %+v, %v", i, r, err)
		}
	}
}

// A refusal because of too many stalled publishes has not sent the job; a
// future that fails has perhaps. Both are made good.
func TestSubmitManyStalledAndLost(t *testing.T) {
	b := newServer(t, serverOptions(t))
	b.streams()
	c := b.dial()
	lossy := &lossyJS{JetStream: c.js, stall: 7, lose: 30}
	c.js = lossy
	for _, err := range c.SubmitMany(t.Context(), repeat(ask(), 200)) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := b.stream(wire.StreamJobs).State.Msgs; got != 200 || lossy.refused != 7 || lossy.lose != 0 {
		t.Errorf("the stream holds %d jobs, %d refused", got, lossy.refused)
	}
}

// Several loops share the client's window.
func TestSubmitManyConcurrently(t *testing.T) {
	b := newServer(t, serverOptions(t))
	b.streams()
	c := b.dial()
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			for _, err := range c.SubmitMany(t.Context(), repeat(ask(), 3000)) {
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if got := b.stream(wire.StreamJobs).State.Msgs; got != 15_000 {
		t.Errorf("the stream holds %d jobs", got)
	}
}

func TestSubmitManyContextAndBreak(t *testing.T) {
	b := newServer(t, serverOptions(t))
	b.streams()
	c := b.dial()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	read, yielded, cut := 0, 0, 0
	endless := func(yield func(Job) bool) {
		for yield(ask()) {
			read++
		}
	}
	for _, err := range c.SubmitMany(ctx, endless) {
		yielded++
		if yielded == 3000 {
			cancel()
		}
		if errors.Is(err, context.Canceled) {
			cut++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if yielded != read || yielded > 3000+windowSize/2 {
		t.Errorf("%d read, %d yielded, %d of them cut", read, yielded, cut)
	}
	for range c.SubmitMany(t.Context(), endless) {
		break
	}
	for range c.SubmitMany(t.Context(), repeat(ask(), 10)) {
		break
	}
}

func TestSubmitManyWithoutBroker(t *testing.T) {
	c := newServer(t, serverOptions(t)).dial()
	for h, err := range c.SubmitMany(t.Context(), repeat(ask(), 1)) {
		if CodeOf(err) != wire.CodeUnavailable || err.(*Error).Job != h.ID() {
			t.Errorf("gives %v", err)
		}
	}
}

func TestWaitManyContextAndBreak(t *testing.T) {
	b := newBroker(t)
	b.play(func(*testBroker, wire.Job) {})
	c := b.dial()
	endless := func(yield func(*Handle) bool) {
		for yield(c.Attach("never")) {
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	n := 0
	for r, err := range c.WaitMany(ctx, endless) {
		if !errors.Is(err, context.DeadlineExceeded) || r.Job != "never" {
			t.Fatalf("%+v, %v", r, err)
		}
		n++
	}
	if n < 1 || n > waitAhead+1 {
		t.Errorf("%d yielded", n)
	}
	h, err := c.Submit(t.Context(), ask())
	if err != nil {
		t.Fatal(err)
	}
	b.end(wire.Job{Meta: wire.Meta{ID: h.ID(), Tenant: "acme"}}, Failed, nil, wire.CodeUnknownRoute, nil)
	for r := range c.WaitMany(t.Context(), func(yield func(*Handle) bool) { _ = yield(h) && yield(c.Attach("never")) }) {
		if r.Job == h.ID() && r.Err.Code == wire.CodeUnknownRoute {
			break
		}
	}
	if c.watch.n != 0 {
		t.Errorf("%d listeners are left", c.watch.n)
	}
}

func BenchmarkSubmitMany(b *testing.B) {
	broker := newServer(b, serverOptions(b))
	broker.streams()
	c := broker.dial()
	b.SetBytes(1024)
	b.ReportAllocs()
	b.ResetTimer()
	for _, err := range c.SubmitMany(b.Context(), repeat(kilobyte(), b.N)) {
		if err != nil {
			b.Fatal(err)
		}
	}
}

package control

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

func (b *bench) submit(class wire.Class, from, to int) {
	b.t.Helper()
	for n := from; n < to; n++ {
		b.store(b.s.Jobs("acme", class), 0, wire.HeaderJobID, fmt.Sprint("job-", n))
	}
}

// found tells the ID of what is found, or the error.
func found(x *indexes, tenant, job string) string {
	m, err := x.find(context.Background(), tenant, job)
	switch {
	case err != nil:
		return err.Error()
	case m == nil:
		return ""
	}
	return m.ID
}

// TestIndex: each queued message is read once, however often and for whatever
// is asked; what is taken or moved is not found where it was.
func TestIndex(t *testing.T) {
	b := newBench(t)
	x := newIndexes(b.js, b.s)
	reads := func(what string, want int) {
		t.Helper()
		if x.read != want {
			t.Errorf("%s: %d messages were read, want %d", what, x.read, want)
		}
		x.read = 0
	}
	b.submit(wire.Batch, 0, 300)
	for range 50 {
		if got := found(x, "acme", "nobody"); got != "" {
			t.Fatalf("found %s", got)
		}
	}
	reads("at first", 300)
	for n := range 300 {
		if id := fmt.Sprint("job-", n); found(x, "acme", id) != id {
			t.Fatalf("%s not found", id)
		}
	}
	if found(x, "other", "job-1") != "" {
		t.Error("another tenant's job is found")
	}
	reads("later", 0)
	b.submit(wire.Interactive, 300, 310)
	a := wire.Assignment{Meta: wire.Meta{ID: "parked", Tenant: "acme", Class: wire.Batch, Route: "chat"}}
	for _, subject := range []string{b.s.Backlog(wire.Batch, "chat", "acme"), b.s.Requeue("acme", wire.Batch)} {
		b.store(subject, 0, wire.HeaderAssignment, wire.EncodeAssignment(&a)[wire.HeaderAssignment][0])
		a.Meta.ID = "requeued"
	}
	for _, id := range []string{"job-309", "parked", "requeued"} {
		if found(x, "acme", id) != id {
			t.Errorf("%s not found", id)
		}
	}
	reads("what has come", 12)
	for n, payer := range []string{"acme=ci", "acme=web", "acmes=ci", "other=ci"} { // and with named keys
		b.store(b.s.Jobs(payer, wire.Standard), 0, wire.HeaderJobID, fmt.Sprint("keyed-", n))
	}
	for n, want := range []string{"keyed-0", "keyed-1", "", ""} {
		if got := found(x, "acme", fmt.Sprint("keyed-", n)); got != want {
			t.Errorf("keyed-%d: found %q", n, got)
		}
	}
	reads("of named keys", 2)
	s, err := b.js.Stream(t.Context(), b.s.Stream(wire.StreamJobs))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := found(x, "acme", "job-7"); got != "" {
		t.Errorf("found %s, which is gone", got)
	}
	b.submit(wire.Batch, 7, 8)
	if found(x, "acme", "job-7") != "job-7" {
		t.Error("what has come back is not found")
	}
}

// TestIndexBounds: more jobs than an index holds are not searched without end,
// and an index that nobody asks for is forgotten.
func TestIndexBounds(t *testing.T) {
	b := newBench(t)
	x := newIndexes(b.js, b.s)
	x.most = 100
	b.submit(wire.Batch, 0, 101)
	for range 3 {
		if _, err := x.find(t.Context(), "acme", "nobody"); !errors.Is(err, errSearching) {
			t.Fatalf("%v, want that the queue is too long", err)
		}
	}
	if n := len(x.index("acme").at); n > 100 {
		t.Errorf("%d entries", n)
	}
	i := x.index("acme")
	i.turn <- struct{}{}
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errSearching)
	defer cancel()
	if _, err := x.find(ctx, "acme", "nobody"); !errors.Is(err, errSearching) {
		t.Errorf("%v while somebody else searches", err)
	}
	i.used = time.Now().Add(-2 * indexIdle)
	if x.index("other"); x.of["acme"] == nil {
		t.Error("forgotten while in use")
	}
	<-i.turn
	if x.index("other"); x.of["acme"] != nil {
		t.Error("an index outlives its use")
	}
}

package sdk

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/sdk/wire"
)

// After a hint the ledger is looked at soon, ever more rarely, and then as
// rarely as without one.
func TestConfirmSeries(t *testing.T) {
	l := &listener{w: &watches{}}
	l.looked(true)
	var all time.Duration
	looks := 0
	for ; l.confirm > 0; looks++ {
		if l.due() != l.confirm {
			t.Fatalf("due in %v, not %v", l.due(), l.confirm)
		}
		all += l.confirm
		l.looked(false)
	}
	if all < 2*time.Second || all > 10*time.Second || looks > 15 {
		t.Errorf("%d looks in %v", looks, all)
	}
	if d := l.due(); d < lookAgain || d > lookAgain*5/4 {
		t.Errorf("then due in %v", d)
	}
	l.looked(false)
	if l.confirm != 0 {
		t.Error("a look without a hint begins a series")
	}
}

// All waits of a client together look at most 200 times a second.
func TestPauseGrowsWithWaits(t *testing.T) {
	for _, n := range []int{0, 1, 1000, 10_000, 100_000} {
		w := &watches{n: n}
		d := w.pause()
		if rate := float64(n) / d.Seconds(); rate > 200 || d < lookAgain {
			t.Errorf("%d waits: every %v, %v a second", n, d, rate)
		}
	}
}

func TestHintsWakeWhomTheyConcern(t *testing.T) {
	c := newBroker(t).dial()
	terminal, err := c.watch.listen("a", false)
	if err != nil {
		t.Fatal(err)
	}
	every, err := c.watch.listen("a", true)
	if err != nil {
		t.Fatal(err)
	}
	other, err := c.watch.listen("b", true)
	if err != nil {
		t.Fatal(err)
	}
	woken := func(l *listener) bool {
		select {
		case <-l.ready:
			return true
		default:
			return false
		}
	}
	for _, tc := range []struct {
		subject         string
		status          Status
		terminal, every bool
	}{
		{"sluice.records.acme.a", wire.Running, false, true},
		{"sluice.records.acme.a", Failed, true, true},
		{"sluice.records.acme.a", "nonsense", false, true},
		{"sluice.records.acme", Failed, false, false},
		{"sluice.records.acme.unknown", Failed, false, false},
	} {
		c.watch.hint(&nats.Msg{Subject: tc.subject, Header: nats.Header{wire.HeaderStatus: {string(tc.status)}}})
		if got := woken(terminal); got != tc.terminal {
			t.Errorf("%s %s wakes a wait: %v", tc.subject, tc.status, got)
		}
		if got := woken(every); got != tc.every {
			t.Errorf("%s %s wakes a reader of records: %v", tc.subject, tc.status, got)
		}
		if woken(other) {
			t.Errorf("%s %s wakes another job's reader", tc.subject, tc.status)
		}
	}
	c.watch.wakeAll()
	for _, l := range []*listener{terminal, every, other} {
		if !woken(l) || !l.tookMiss() || l.tookMiss() {
			t.Error("a reconnect is not told, or told twice")
		}
		l.close()
	}
	if len(c.watch.jobs) != 0 || c.watch.n != 0 {
		t.Error("a closed listener is left")
	}
}

func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newServer(t, serverOptions(t)).dial()
		start := time.Now()
		try, done := c.guard(t.Context(), "a.b")
		<-try.Done()
		if err := cause(try, try.Err()); !errors.Is(err, nats.ErrTimeout) || time.Since(start) != ackTimeout {
			t.Errorf("ends with %v after %v", err, time.Since(start))
		}
		done()
		try, done = c.guard(t.Context(), "a.b")
		c.asyncError(nil, nil, errors.New(`Permissions Violation for Publish to "a.b"`))
		c.asyncError(nil, nil, errors.Join(nats.ErrPermissionViolation, errors.New(`for Publish to "a.b.c"`)))
		if try.Err() != nil {
			t.Error("another subject's denial ended the call")
		}
		c.asyncError(nil, nil, errors.Join(nats.ErrPermissionViolation, errors.New(`for Publish to "a.b"`)))
		if err := cause(try, try.Err()); CodeOf(err) != wire.CodePermission {
			t.Errorf("ends with %v", err)
		}
		done()
		if len(c.calls) != 0 {
			t.Error("calls are left")
		}
	})
}

func TestPersist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newServer(t, serverOptions(t)).dial()
		refused := fail(wire.CodePermission, nil, "no")
		for name, tc := range map[string]struct {
			err   error
			tries int
			after time.Duration
			code  Code
		}{
			"success":    {nil, 1, 0, ""},
			"refusal":    {refused, 1, 0, wire.CodePermission},
			"nobody":     {nats.ErrNoResponders, 9, 2 * time.Second, wire.CodeUnavailable},
			"no answer":  {nats.ErrTimeout, 121, askTimeout, wire.CodeUnavailable},
			"disconnect": {nats.ErrDisconnected, 121, askTimeout, wire.CodeUnavailable},
		} {
			start, tries := time.Now(), 0
			err := c.persist(t.Context(), func() error { tries++; return tc.err })
			if d := time.Since(start); CodeOf(err) != tc.code || tries > tc.tries || tries < tc.tries-1 || d != tc.after {
				t.Errorf("%s: %d tries in %v, %v", name, tries, d, err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.persist(ctx, func() error { return nats.ErrTimeout }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller's own deadline gives %v", err)
		}
	})
}

func BenchmarkSubmitAndWait(b *testing.B) {
	broker := newBroker(b)
	c := broker.dial()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := submit(b, c, ask()).Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

package sdk

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestRecords(t *testing.T) {
	b := newBroker(t)
	b.play(func(b *testBroker, job wire.Job) {
		time.Sleep(20 * time.Millisecond)
		retried(b, job)
	})
	c := b.dial()
	h := submit(t, c, ask())
	want := []Status{wire.Running, wire.Waiting, wire.Running, Succeeded}
	for range 2 { // live, then late
		var got []Status
		for r, err := range h.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r.Status)
		}
		if !slices.Equal(got, want) {
			t.Errorf("records are %v", got)
		}
	}
	for r := range h.Records(t.Context()) {
		if r.Entry.Attempt.N != 1 {
			t.Errorf("first is %+v", r)
		}
		break
	}
	if c.listeners() != 0 {
		t.Error("listeners are left")
	}
}

// Each record is told when it is stored, not by the next look.
func TestRecordsAreLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t)
		b.play(func(b *testBroker, job wire.Job) {
			for n := 1; n <= 5; n++ {
				time.Sleep(10 * time.Minute)
				b.claim(job, n)
			}
			time.Sleep(10 * time.Minute)
			b.end(job, Succeeded, nil, "", nil)
		})
		h := submit(t, b.dial(), ask())
		start, n := time.Now(), 0
		for _, err := range h.Records(t.Context()) {
			n++
			if d := time.Since(start) - time.Duration(n)*10*time.Minute; err != nil || d > time.Second {
				t.Errorf("record %d is %v late, %v", n, d, err)
			}
		}
		if n != 6 {
			t.Errorf("%d records", n)
		}
	})
}

func TestCancel(t *testing.T) {
	b := newBroker(t)
	b.play(func(b *testBroker, job wire.Job) { b.claim(job, 1) })
	h := submit(t, b.dial(), ask())
	for range h.Records(t.Context()) {
		break // it is running
	}
	if a, err := h.Status(t.Context()); err != nil || a.Status != wire.Running {
		t.Errorf("status is %+v, %v", a, err)
	}
	if a, err := h.Cancel(t.Context()); err != nil || a.Status != Cancelled {
		t.Fatalf("cancel gives %+v, %v", a, err)
	}
	r, err := h.Wait(t.Context())
	if err != nil || r.Status != Cancelled || CodeOf(r.Err) != wire.CodeCancelled {
		t.Errorf("result is %+v, %v", r, err)
	}
	if _, err := h.Cancel(t.Context()); CodeOf(err) != wire.CodeFinished {
		t.Errorf("a second cancel gives %v", err)
	}
}

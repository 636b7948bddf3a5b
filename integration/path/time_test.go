package path

import (
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

func in(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339Nano) }

func TestDeadlineInThePast(t *testing.T) {
	for _, deadline := range []string{"0s", "2020-01-01T00:00:00Z", "1999-12-31T23:59:59.999999999+00:00"} {
		bubble(t, func(t *testing.T, dir string) { // a bubble begins at midnight, 1 January 2000
			if strings.HasPrefix(deadline, "2020") {
				time.Sleep(time.Until(time.Date(2000, 1, 1, 0, 1, 0, 0, time.UTC)))
				deadline = "2000-01-01T00:00:59Z"
			}
			p := &script{}
			r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
			began := time.Now()
			id := r.publish(chat, wire.HeaderDeadline, deadline)
			res := r.result(id)
			if res.Status != wire.Expired || res.Entry.Error != wire.CodeDeadline || p.count() != 0 || r.steps(id) != "expired" {
				t.Errorf("deadline %s: %s/%s, %d calls", deadline, res.Status, res.Entry.Error, p.count())
			}
			near(t, "record", time.Since(began), 0, 10*time.Millisecond)
			r.empty()
		})
	}
}

// TestDeadlineInTheBacklog: the pools are full, the job waits with the
// dispatcher.
func TestDeadlineInTheBacklog(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: 10 * time.Minute})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", concurrency: 1, provider: p}}})
		for range 2 { // one runs, one is queued at the pool
			r.publish(chat)
		}
		time.Sleep(time.Second)
		began := time.Now()
		r.publish(chat) // first in the queue, without a deadline
		var ids []string
		for range 3 {
			ids = append(ids, r.publish(chat, wire.HeaderDeadline, "93s"))
		}
		for _, id := range ids {
			res := r.result(id)
			if res.Status != wire.Expired || r.steps(id) != "expired" {
				t.Errorf("%s: %s", id, r.steps(id))
			}
			near(t, "expired", res.At.Sub(began), 93*time.Second, 50*time.Millisecond)
		}
		if p.count() != 1 {
			t.Errorf("%d calls, want 1", p.count())
		}
	})
}

// TestDeadlineAtThePool: the job waits in the pool's queue. No attempt starts.
func TestDeadlineAtThePool(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: 2 * time.Minute})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", concurrency: 1, provider: p}}})
		r.publish(chat)
		id := r.publish(chat, wire.HeaderDeadline, "30s")
		res := r.result(id)
		if res.Status != wire.Expired || r.steps(id) != "expired" || p.count() != 1 {
			t.Errorf("%s, %d calls", r.steps(id), p.count())
		}
		r.empty()
	})
}

func TestDeadlineWhileRunning(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: 10 * time.Minute})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		began := time.Now()
		id := r.publish(chat, wire.HeaderDeadline, in(45*time.Second))
		res := r.result(id)
		if res.Status != wire.Expired || r.steps(id) != "running expired" || res.Entry.Attempt.Status != wire.Expired {
			t.Errorf("%s, attempt %+v", r.steps(id), res.Entry.Attempt)
		}
		near(t, "expired", res.At.Sub(began), 45*time.Second, 10*time.Millisecond)
		near(t, "call stopped", p.seen()[0].Stopped.Sub(began), 45*time.Second, 10*time.Millisecond)
		r.empty()
	})
}

// TestDeadlineBeforeRetry: no time is left for another attempt.
func TestDeadlineBeforeRetry(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{status: 429, header: map[string][]string{"Retry-After": {"60"}}})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		id := r.publish(chat, wire.HeaderDeadline, "30s")
		res := r.result(id)
		if res.Status != wire.Expired || p.count() != 1 || res.Entry.Attempt.ErrorCode != wire.CodeRateLimited {
			t.Errorf("%s, attempt %+v", r.steps(id), res.Entry.Attempt)
		}
		r.empty()
	})
}

// TestDeadlineBeforeStart: a delayed job ends at its deadline, not later.
func TestDeadlineBeforeStart(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := &script{}
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		began := time.Now()
		id := r.publish(chat, wire.HeaderNotBefore, "10m", wire.HeaderDeadline, "1m")
		res := r.result(id)
		if res.Status != wire.Expired || p.count() != 0 {
			t.Errorf("%s, %d calls", r.steps(id), p.count())
		}
		near(t, "expired", res.At.Sub(began), time.Minute, 10*time.Millisecond)
		r.empty()
	})
}

// TestNotBefore: the job starts at the exact time, not earlier.
func TestNotBefore(t *testing.T) {
	for _, form := range []string{"time", "duration"} {
		t.Run(form, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				p := &script{}
				r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
				began := time.Now()
				v := "61.5s"
				if form == "time" {
					v = in(61500 * time.Millisecond)
				}
				id := r.publish(chat, wire.HeaderNotBefore, v)
				w := r.reached(id, wire.Waiting)
				if w.Reason != wire.ReasonDelay || !w.Until.Equal(began.Add(61500*time.Millisecond)) {
					t.Errorf("waiting record: %s until %s", w.Reason, w.Until)
				}
				res := r.result(id)
				if r.steps(id) != "waiting/delay running succeeded" {
					t.Errorf("history %q", r.steps(id))
				}
				near(t, "call", p.seen()[0].At.Sub(began), 61500*time.Millisecond, 10*time.Millisecond)
				if q := res.Entry.Attempt.QueueMS; q > 100 {
					t.Errorf("queued for %d ms: the delay is not queueing", q)
				}
				r.empty()
			})
		})
	}
}

func TestNotBeforeInThePast(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: &script{}}}})
		id := r.publish(chat, wire.HeaderNotBefore, "1999-01-01T00:00:00Z")
		r.result(id)
		if r.steps(id) != "running succeeded" {
			t.Errorf("history %q", r.steps(id))
		}
	})
}

// TestNotBeforeSurvivesRestart: everything ends and starts again on the same
// data, once before the time and once after it has passed.
func TestNotBeforeSurvivesRestart(t *testing.T) {
	for name, down := range map[string]time.Duration{"back before the time": time.Minute, "back after it": 15 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				p := &script{}
				s := setup{dir: dir, pools: []pool{{name: "a", provider: p}}}
				r := start(t, s)
				began := time.Now()
				id := r.publish(chat, wire.HeaderNotBefore, "10m")
				r.reached(id, wire.Waiting)
				r.stop()
				time.Sleep(down)
				r = start(t, s)
				r.result(id)
				near(t, "call", p.seen()[0].At.Sub(began), max(10*time.Minute, down), time.Second)
				if p.count() != 1 || r.steps(id) != "waiting/delay running succeeded" {
					t.Errorf("%q, %d calls", r.steps(id), p.count())
				}
				r.empty()
			})
		})
	}
}

package path

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// TestCancel: in every state a job can be in, the cancel answers how the job
// ended, the job has one terminal record, and its copies in the queues go.
func TestCancel(t *testing.T) {
	for _, c := range []struct {
		name   string
		bare   bool
		header []string
		wait   time.Duration
		reply  reply
		id     string // asked to cancel; "": the job's own
		status wire.Status
		steps  string
		calls  int
	}{
		{name: "queued in the backlog", bare: true, status: wire.Cancelled, steps: "cancelled"},
		{name: "queued in the backlog, own ID", bare: true, header: []string{wire.HeaderJobID, "mine"}, id: "mine", status: wire.Cancelled, steps: "cancelled"},
		{name: "delayed", header: []string{wire.HeaderNotBefore, "1m"}, wait: time.Second, status: wire.Cancelled, steps: "waiting/delay cancelled"},
		{name: "waiting for a retry", wait: time.Second, reply: reply{status: 429, header: map[string][]string{"Retry-After": {"60"}}},
			status: wire.Cancelled, steps: "running waiting/retry cancelled", calls: 1},
		{name: "running", wait: time.Second, reply: reply{delay: time.Minute}, status: wire.Cancelled, steps: "running running/cancel cancelled", calls: 1},
		{name: "finished", wait: time.Second, status: wire.Succeeded, steps: "running succeeded", calls: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				p := always(c.reply)
				r := start(t, setup{dir: dir, bare: c.bare, pools: []pool{{name: "a", provider: p}}})
				id := r.publish(chat, c.header...)
				if c.id != "" {
					id = c.id
				}
				time.Sleep(c.wait)
				began := time.Now()
				a := r.cancelJob(id)
				if a.Error != nil || a.Status != c.status || a.Job != id {
					t.Errorf("cancel answers %+v", a)
				}
				near(t, "answer", time.Since(began), 0, 100*time.Millisecond)
				if again := r.cancelJob(id); again.Status != c.status {
					t.Errorf("second cancel answers %+v", again)
				}
				if c.bare {
					r.dispatcher("d1")
					r.worker("w1")
				}
				time.Sleep(90 * time.Second)
				if got := r.steps(id); got != c.steps {
					t.Errorf("history %q, want %q", got, c.steps)
				}
				if p.count() != c.calls {
					t.Errorf("%d provider calls, want %d", p.count(), c.calls)
				}
				r.empty()
			})
		})
	}
}

func TestCancelUnknown(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: &script{}}}})
		for _, id := range []string{"j1", "j18446744073709551615", "j99999999999999999999", "nobody"} {
			if a := r.cancelJob(id); a.Error == nil || a.Error.Code != wire.CodeNotFound {
				t.Errorf("cancel of %s answers %+v", id, a)
			}
		}
		if a := ask[wire.Answer](r, r.subj.Cancel("acme", "b%d"), ""); a.Error == nil || a.Error.Code != wire.CodeInvalidSubject {
			t.Errorf("cancel of a bad ID answers %+v", a)
		}
		id := r.publish(chat)
		if a := ask[wire.Answer](r, r.subj.Cancel("other", id), ""); a.Error == nil {
			t.Errorf("another tenant's cancel answers %+v", a)
		}
		if res := r.result(id); res.Status != wire.Succeeded {
			t.Errorf("job: %s", res.Status)
		}
	})
}

// TestCancelQueuedAtPool: dispatched, but no worker has claimed it.
func TestCancelQueuedAtPool(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: time.Minute})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", concurrency: 1, provider: p}}})
		first, second := r.publish(chat), r.publish(chat)
		time.Sleep(time.Second)
		if a := r.cancelJob(second); a.Status != wire.Cancelled {
			t.Errorf("cancel answers %+v", a)
		}
		r.result(first)
		time.Sleep(time.Minute)
		if p.count() != 1 {
			t.Errorf("%d calls, want 1", p.count())
		}
		if got := r.steps(second); got != "cancelled" {
			t.Errorf("history %q", got)
		}
		r.empty()
	})
}

// TestCancelRunningStream: the provider call stops within 100 ms, and what
// was generated until then is costed.
func TestCancelRunningStream(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{events: words("one ", "two ", "three ", "four ", "five "), every: time.Second})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		id := r.publish(chat, wire.HeaderStream, "true")
		time.Sleep(3500 * time.Millisecond)
		at := time.Now()
		if a := r.cancelJob(id); a.Status != wire.Cancelled || a.Cost == nil || *a.Cost == 0 {
			t.Errorf("cancel answers %+v", a)
		}
		stopped := p.seen()[0].Stopped
		if stopped.IsZero() {
			t.Fatal("the provider's call was not stopped")
		}
		near(t, "call stopped", stopped.Sub(at), 0, 100*time.Millisecond)
		res := r.result(id)
		a := res.Entry.Attempt
		if res.Status != wire.Cancelled || a == nil || a.Status != wire.Cancelled || a.Source != wire.UsageEstimated || a.Usage.Output < 1 || a.Usage.Input < 1 {
			t.Errorf("%s, attempt %+v", res.Status, a)
		}
		chunks := r.chunks(id)
		if n := len(chunks); n != 4 || !chunks[n-1].end {
			t.Errorf("chunks %+v", chunks)
		}
		r.empty()
	})
}

// TestCancelRacesEnd: whichever comes first, there is one terminal record.
func TestCancelRacesEnd(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: time.Second})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", concurrency: 32, provider: p}}})
		var ids []string
		for range 16 {
			ids = append(ids, r.publish(chat))
		}
		synctest.Wait()
		time.Sleep(time.Second) // wakes together with the provider's answers
		for _, id := range ids {
			if a := r.cancelJob(id); !a.Status.Terminal() {
				t.Errorf("cancel answers %+v", a)
			}
		}
		for _, id := range ids {
			r.result(id)
			r.history(id)
		}
		r.empty()
	})
}

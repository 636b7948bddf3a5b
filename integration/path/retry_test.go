package path

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestRetryElsewhere: what fails at one candidate goes to another at once,
// also where the provider asks for a pause.
func TestRetryElsewhere(t *testing.T) {
	for name, first := range map[string]reply{
		"500":              {status: 500},
		"503, Retry-After": {status: 503, header: http.Header{"Retry-After": {"30"}}},
		"429":              {status: 429, header: http.Header{"Retry-After": {"30"}}},
		"401":              {status: 401},
		"connection":       {err: errors.New("connection refused")},
		"not JSON":         {body: "<html>"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				bad, good := always(first), &script{}
				r := start(t, setup{dir: dir, pools: []pool{{name: "a", weight: 1000, provider: bad}, {name: "b", provider: good}}})
				id := r.publish(chat)
				res := r.result(id)
				if res.Status != wire.Succeeded || res.Entry.Attempt.Pool != "b" || res.Entry.Attempt.N != 2 || bad.count() != 1 || good.count() != 1 {
					t.Fatalf("%s by %+v; %d and %d calls", res.Status, res.Entry.Attempt, bad.count(), good.count())
				}
				near(t, "second attempt", good.seen()[0].At.Sub(bad.seen()[0].At), 0, 50*time.Millisecond)
				if got := r.steps(id); got != "running waiting/retry running succeeded" {
					t.Errorf("history %q", got)
				}
				failed := r.history(id)[1]
				if c := failed.Entry.Attempt.Cost; failed.Entry.Attempt.ErrorCode == "" || c == nil {
					t.Errorf("failed attempt: %+v", failed.Entry.Attempt)
				}
				r.empty()
			})
		})
	}
}

// TestRetryAfter: a provider's pause is kept when no other candidate is left.
func TestRetryAfter(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		limited := reply{status: 429, header: http.Header{"Retry-After": {"30"}}}
		once := func(n int, _ string) reply {
			if n == 1 {
				return limited
			}
			return reply{}
		}
		a, b := &script{reply: once}, &script{reply: once}
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", weight: 1000, provider: a}, {name: "b", provider: b}}})
		id := r.publish(chat)
		if res := r.result(id); res.Status != wire.Succeeded || res.Entry.Attempt.N != 3 {
			t.Fatalf("%s after %d attempts", res.Status, res.Entry.Attempt.N)
		}
		calls := append(a.seen(), b.seen()...)
		if len(calls) != 3 {
			t.Fatalf("%d calls, want 3", len(calls))
		}
		last := a.seen()
		if len(last) != 2 {
			last = append(b.seen()[1:], b.seen()[1:]...)
		}
		near(t, "third attempt", last[1].At.Sub(b.seen()[0].At), 30*time.Second, time.Second)
		waiting := r.history(id)[3]
		if waiting.Reason != wire.ReasonRetry || waiting.Until.Sub(waiting.At) < 30*time.Second-time.Millisecond {
			t.Errorf("waiting record %+v", waiting)
		}
		r.empty()
	})
}

// TestWaitingHoldsNoSlot: while a job waits for its next attempt, the one slot
// of its pool works for others, on every worker.
func TestWaitingHoldsNoSlot(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := &script{reply: func(n int, body string) reply {
			if n == 1 {
				return reply{status: 429, header: http.Header{"Retry-After": {"30"}}}
			}
			return reply{delay: 100 * time.Millisecond}
		}}
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", concurrency: 1, provider: p}}})
		waits := r.publish(chat)
		at := r.reached(waits, wire.Waiting).At
		began := time.Now()
		var others []string
		for range 50 {
			others = append(others, r.publish(chat))
		}
		r.allSucceed(others)
		near(t, "50 calls of 100 ms, one at a time", time.Since(began), 5*time.Second, time.Second)
		if res := r.result(waits); res.Status != wire.Succeeded || res.Entry.Attempt.N != 2 {
			t.Errorf("%s at attempt %d", res.Status, res.Entry.Attempt.N)
		} else {
			near(t, "the second attempt's end", res.At.Sub(at), 30*time.Second, 2*time.Second)
		}
		r.empty()
	})
}

// TestDeadLetters: attempts used up, then list, show and requeue.
func TestDeadLetters(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := &script{reply: func(n int, _ string) reply {
			if n <= 3 {
				return reply{status: 500}
			}
			return reply{}
		}}
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		r.publishAs(wire.Batch, chat, wire.HeaderJobID, "doomed", "Sluice-Label-team", "search", wire.HeaderBatch, "b7")
		res := r.result("doomed")
		if res.Status != wire.Failed || res.Entry.Error != wire.CodeProviderError || res.Entry.Progress.Attempts != 3 || p.count() != 3 {
			t.Fatalf("%s/%s after %d attempts, %d calls", res.Status, res.Entry.Error, res.Entry.Progress.Attempts, p.count())
		}
		if got := r.steps("doomed"); got != "running waiting/retry running waiting/retry running failed" {
			t.Errorf("history %q", got)
		}
		if !strings.Contains(string(res.Body), `"error"`) || !strings.Contains(string(res.Body), "dead letters") {
			t.Errorf("body %s", res.Body)
		}
		list := text(r.admin("dead.list", ""))
		for _, want := range []string{`"job_id":"doomed"`, `"attempts":3`, `"tenant":"acme"`, `"class":"batch"`, `"error_code":"provider_error"`, `"pool":"a"`} {
			if !strings.Contains(list, want) {
				t.Errorf("dead list lacks %s: %s", want, list)
			}
		}
		if other := text(r.admin("dead.list", `{"tenant":"other"}`)); strings.Contains(other, "doomed") {
			t.Errorf("dead list of another tenant: %s", other)
		}
		for query, want := range map[string]bool{`{"batch":"b7"}`: true, `{"batch":"b8"}`: false, `{"batch":"b7","status":"succeeded"}`: false} {
			if list := text(r.admin("jobs", query)); strings.Contains(list, "doomed") != want {
				t.Errorf("jobs of %s: %s", query, list)
			}
		}
		if show := text(r.admin("dead.show", `{"tenant":"acme","job":"doomed"}`)); strings.Count(show, `"seq":`) != 6 {
			t.Errorf("dead show lacks the history: %s", show)
		}
		if none := text(r.admin("dead.show", `{"tenant":"acme","job":"nobody"}`)); !strings.Contains(none, string(wire.CodeNotFound)) {
			t.Errorf("dead show of no job: %s", none)
		}
		again := r.admin("dead.requeue", `{"tenant":"acme","job":"doomed"}`)
		if text(again) != `{"requeued":["doomed"]}` {
			t.Errorf("requeue says %s", text(again))
		}
		res = r.reached("doomed", wire.Succeeded)
		m := res.Entry.Meta
		if m.Labels["team"] != "search" || m.Class != wire.Batch || res.Entry.Attempt.N != 4 {
			t.Errorf("requeued job: attempt %d, %+v", res.Entry.Attempt.N, m)
		}
		if got := r.stepsOf("doomed"); got != "running waiting/retry running waiting/retry running failed waiting/requeue running succeeded" {
			t.Errorf("history %q", got)
		}
		if list := text(r.admin("dead.list", "")); strings.Contains(list, "doomed") {
			t.Errorf("still in the dead list: %s", list)
		}
		r.publishAs(wire.Batch, chat, wire.HeaderJobID, "doomed") // is still that job
		time.Sleep(time.Minute)
		if p.count() != 4 {
			t.Errorf("%d calls, want 4", p.count())
		}
		r.empty()
	})
}

// TestDeadAgain: a requeued job has its attempts anew, and dies again with all
// its history, even if that is within moments; edited, it gets through. The
// history outlives the ledger's.
func TestDeadAgain(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := &script{reply: func(_ int, body string) reply {
			if strings.Contains(body, "please") {
				return reply{}
			}
			return reply{status: 500}
		}}
		r := start(t, setup{dir: dir, attempts: 2, pools: []pool{{name: "a", provider: p}}})
		const one = `{"tenant":"acme","job":"doomed"}`
		r.publishAs(wire.Batch, chat, wire.HeaderJobID, "doomed", wire.HeaderDeadline, "10m")
		r.result("doomed")
		for n := range 2 {
			r.admin("dead.requeue", one)
			r.await("doomed", "failed again", func(s *ledger.Stored) bool {
				return s.Status == wire.Failed && s.Entry.Progress.Attempts == 2*(n+2)
			})
		}
		if n := strings.Count(text(r.admin("dead.show", one)), `"status":"running"`); n != 6 || p.count() != 6 {
			t.Errorf("the history shows %d attempts of %d, want 6", n, p.count())
		}
		s, err := r.js.Stream(t.Context(), r.subj.Stream(wire.StreamLedger))
		if err == nil {
			err = s.Purge(t.Context(), jetstream.WithPurgeSubject(r.subj.Records("acme", "doomed")))
		}
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(text(r.admin("dead.show", one)), `"status":"running"`); n != 6 {
			t.Errorf("the history without the ledger's shows %d attempts, want 6", n)
		}
		body := func(b string) string { return `{"tenant":"acme","job":"doomed","body":` + mustJSON([]byte(b)) + `}` }
		for bad, want := range map[string]wire.Code{`{"model":"chat"}`: wire.CodeInvalidRequest, `nonsense`: wire.CodeInvalidJSON, routeTo("nowhere"): wire.CodeUnknownRoute} {
			if a := text(r.admin("dead.edit", body(bad))); !strings.Contains(a, string(want)) {
				t.Errorf("edit to %s: %s", bad, a)
			}
		}
		if a := text(r.admin("dead.edit", body(`{"model":"chat","messages":["please"]}`))); !strings.Contains(a, "edited_at") {
			t.Errorf("edit: %s", a)
		}
		if a := text(r.admin("dead.show", `{"tenant":"acme","job":"doomed","all":true}`)); !strings.Contains(a, "please") || strings.Count(a, `"status":"running"`) != 6 {
			t.Errorf("after the edit: %s", a)
		}
		time.Sleep(time.Hour) // the deadline is gone
		r.admin("dead.requeue", one)
		if res := r.result("doomed"); res.Status != wire.Succeeded || res.Entry.Attempt.N != 7 {
			t.Errorf("%s, attempt %d", res.Status, res.Entry.Attempt.N)
		}
		r.empty()
	})
}

// TestRequeueInterrupted: whoever requeues again after a crash in between goes
// on where it stopped, and nobody runs the job twice.
func TestRequeueInterrupted(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := &script{reply: func(n int, _ string) reply {
			if n == 1 {
				return reply{status: 500}
			}
			return reply{delay: time.Second}
		}}
		r := start(t, setup{dir: dir, attempts: 1, pools: []pool{{name: "a", provider: p}}})
		r.publish(chat, wire.HeaderJobID, "doomed")
		last := r.result("doomed")
		e := last.Entry
		e.Attempt, e.Error = nil, ""
		e.Progress.Held = 1
		rec := &wire.Record{Status: wire.Waiting, Reason: wire.ReasonRequeue, Until: time.Now(), Entry: e}
		if _, err := r.led.Append(t.Context(), rec, last.Seq); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // the process that wrote this has died
		for range 3 {
			r.admin("dead.requeue", `{"tenant":"acme","job":"doomed"}`)
		}
		if res := r.result("doomed"); res.Status != wire.Succeeded || p.count() != 2 {
			t.Errorf("%s after %d calls, want succeeded after 2", res.Status, p.count())
		}
		r.empty()
	})
}

func TestRequeueAllDead(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := &script{reply: func(n int, _ string) reply {
			if n <= 5 {
				return reply{status: 502}
			}
			return reply{}
		}}
		r := start(t, setup{dir: dir, attempts: 1, pools: []pool{{name: "a", provider: p}}})
		for range 5 {
			r.result(r.publish(chat))
		}
		again := r.admin("dead.requeue", `{"all":true,"tenant":"acme"}`)["requeued"].([]any)
		if len(again) != 5 {
			t.Fatalf("requeued %v, want 5", again)
		}
		for _, id := range again {
			if res := r.reached(id.(string), wire.Succeeded); res.Status != wire.Succeeded {
				t.Errorf("%s: %s", id, res.Status)
			}
		}
	})
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// TestFinalFailure: what would fail anywhere is not tried again; a refusal
// that does not say why is doubted once, by another model.
func TestFinalFailure(t *testing.T) {
	for name, c := range map[string]struct {
		reply
		calls int
	}{
		"400":            {reply{status: 400, body: `{"error":{"message":"no","type":"invalid_request_error","code":"bad"}}`}, 1},
		"422":            {reply{status: 422}, 2},
		"content filter": {reply{status: 400, body: `{"error":{"code":"content_filter"}}`}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				p := always(c.reply)
				r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}, {name: "b", provider: p}, {name: "c", provider: p}}})
				id := r.publish(chat)
				res := r.result(id)
				if res.Status != wire.Failed || res.Entry.Error == "" || res.Entry.Attempt == nil || p.count() != c.calls {
					t.Fatalf("%s/%s, %d calls", res.Status, res.Entry.Error, p.count())
				}
				var body struct {
					Error struct{ Message, Type, Code string }
				}
				if err := json.Unmarshal(res.Body, &body); err != nil || body.Error.Message == "" || body.Error.Code != string(res.Entry.Error) {
					t.Errorf("body %s", res.Body)
				}
				if list := text(r.admin("dead.list", "")); strings.Contains(list, id) {
					t.Errorf("in the dead letters: %s", list)
				}
				r.empty()
			})
		})
	}
}

// TestHugeAnswer: an answer that no record can hold ends the job, clearly.
func TestHugeAnswer(t *testing.T) {
	for name, size := range map[string]int{"most that fits": 6 << 20, "too large": 9 << 20} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				p := always(reply{body: answer(strings.Repeat("x", size))})
				r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
				began := time.Now()
				res := r.result(r.publish(chat))
				if want := map[bool]wire.Status{true: wire.Succeeded, false: wire.Failed}[size < 7<<20]; res.Status != want {
					t.Errorf("%s/%s, want %s", res.Status, res.Entry.Error, want)
				}
				near(t, "end", time.Since(began), 0, 10*time.Second)
			})
		})
	}
}

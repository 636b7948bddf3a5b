package path

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/sdk/wire"
)

func TestPublishToRecord(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := &script{}
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		id := r.publish(chat) // as plain NATS does it: no headers
		res := r.result(id)
		if res.Status != wire.Succeeded || !bytes.Contains(res.Body, []byte("hello")) {
			t.Fatalf("status %s, body %s", res.Status, res.Body)
		}
		if id != "j2" || res.Entry.Meta.ID != id { // 1 is the message that keeps the block
			t.Errorf("job ID %s, record %s, want j2", id, res.Entry.Meta.ID)
		}
		if got := r.steps(id); got != "running succeeded" {
			t.Errorf("history %q", got)
		}
		if p.count() != 1 {
			t.Errorf("%d provider calls, want 1", p.count())
		}
		r.empty()
	})
}

// TestRecordHeaders reads the contract's headers as a client in another
// language would.
func TestRecordHeaders(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		usage := `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}],` +
			`"usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":40},"completion_tokens_details":{"reasoning_tokens":20}}}`
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: always(reply{body: usage})}}})
		id := r.publish(chat)
		r.result(id)
		got := r.raw(id)
		// testPrice has no rates for cache reads and reasoning.
		want := map[string]string{
			"Sluice-Status": "succeeded", "Sluice-Attempt": "1", "Sluice-Pool": "a", "Sluice-Provider": "test", "Sluice-Model": "m-a",
			"Sluice-Input-Tokens": "60", "Sluice-Cache-Read-Tokens": "40", "Sluice-Output-Tokens": "30", "Sluice-Reasoning-Tokens": "20",
			"Sluice-Cost-Nano-Usd": "120000",
		}
		for name, v := range want {
			if g := got.Header.Get(name); g != v {
				t.Errorf("header %s is %q, want %q", name, g, v)
			}
		}
		for _, name := range []string{"Sluice-Error-Code", "Sluice-Reason", "Sluice-Until", "Sluice-Cache-Write-Tokens"} {
			if v, ok := got.Header[name]; ok {
				t.Errorf("header %s is there (%q), want absent", name, v)
			}
		}
		if string(got.Data) != usage {
			t.Errorf("body is not the provider's answer: %s", got.Data)
		}
	})
}

// raw is the last message on a job's ledger subject.
func (r *rig) raw(job string) *nats.Msg {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), r.subj.Stream(wire.StreamLedger))
	if err != nil {
		r.t.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(r.t.Context(), r.subj.Records("acme", job))
	if err != nil {
		r.t.Fatal(err)
	}
	return &nats.Msg{Header: m.Header, Data: m.Data}
}

func TestUnknownPrice(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", unpriced: true, provider: &script{}}}})
		id := r.publish(chat)
		r.result(id)
		if v, ok := r.raw(id).Header[wire.HeaderCost]; ok {
			t.Errorf("cost header %q of a model without a price, want none: unknown is not zero", v)
		}
		if a := r.status(id); a.Cost != nil {
			t.Errorf("status says cost %s, want unknown", nano(a.Cost))
		}
	})
}

func TestSameIDIsOneJob(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: time.Second})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		for range 3 { // while it runs
			r.publish(chat, wire.HeaderJobID, "order-7")
		}
		r.result("order-7")
		r.publish(chat, wire.HeaderJobID, "order-7") // when it has ended
		time.Sleep(time.Minute)
		if p.count() != 1 {
			t.Errorf("%d provider calls, want 1", p.count())
		}
		if got := r.steps("order-7"); got != "running succeeded" {
			t.Errorf("history %q", got)
		}
		if h := r.history("j2"); len(h) != 0 {
			t.Errorf("the repeat has records of its own: %d", len(h))
		}
		r.empty()
	})
}

func TestSameIDOtherBody(t *testing.T) {
	other := strings.Replace(chat, "hi", "ho", 1)
	for _, c := range []struct {
		name  string
		after time.Duration
	}{{"running", 500 * time.Millisecond}, {"finished", time.Minute}} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				p := always(reply{delay: time.Second})
				r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
				r.publish(chat, wire.HeaderJobID, "order-7")
				time.Sleep(c.after)
				second := r.publish(other, wire.HeaderJobID, "order-7")
				res := r.result(second)
				if res.Status != wire.Failed || res.Entry.Error != wire.CodeIDConflict {
					t.Errorf("second job: %s/%s, want failed/id_conflict", res.Status, res.Entry.Error)
				}
				if first := r.result("order-7"); first.Status != wire.Succeeded || p.seen()[0].Body == "" || strings.Contains(p.seen()[0].Body, "ho") {
					t.Errorf("first job: %s, call %v", first.Status, p.seen())
				}
				time.Sleep(time.Minute)
				if p.count() != 1 {
					t.Errorf("%d provider calls, want 1", p.count())
				}
				r.history("order-7")
				r.history(second)
				r.empty()
			})
		})
	}
}

// TestSameIDOtherBodyQueuedTogether: of two that are queued at the same time,
// the one that is claimed first is the job; the other is told under its own ID.
func TestSameIDOtherBodyQueuedTogether(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: time.Second})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		first := r.publish(chat, wire.HeaderJobID, "order-7")
		second := r.publish(strings.Replace(chat, "hi", "ho", 1), wire.HeaderJobID, "order-7")
		res := r.result("order-7")
		loser := first
		if wire.AutoID(res.Entry.Meta.Seq) == first {
			loser = second
		}
		time.Sleep(time.Minute)
		if lost := r.result(loser); res.Status != wire.Succeeded || lost.Entry.Error != wire.CodeIDConflict || p.count() != 1 {
			t.Errorf("order-7 %s, %s %s/%s, %d calls", res.Status, loser, lost.Status, lost.Entry.Error, p.count())
		}
		r.empty()
	})
}

// TestSameIDOfTwoTenants: job IDs are unique within a tenant only.
func TestSameIDOfTwoTenants(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := &script{}
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		for _, tenant := range []string{"acme", "other"} {
			if _, err := r.send(r.subj.Jobs(tenant, wire.Standard), chat, wire.HeaderJobID, "x"); err != nil {
				t.Fatal(err)
			}
		}
		r.result("x")
		time.Sleep(time.Second)
		last, err := r.led.Last(t.Context(), "other", "x")
		if err != nil || last == nil || last.Status != wire.Succeeded || p.count() != 2 {
			t.Errorf("other's job: %+v, %v; %d calls", last, err, p.count())
		}
	})
}

func TestStatusInEveryState(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := &script{reply: func(n int, _ string) reply {
			if n == 1 {
				return reply{status: 500, delay: time.Second}
			}
			return reply{delay: time.Second}
		}}
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", concurrency: 1, provider: p}}})
		id := r.publishAs(wire.Batch, chat, wire.HeaderBatch, "b1")
		at := time.Now()
		named := r.publishAs(wire.Batch, chat, wire.HeaderJobID, "named")
		for _, job := range []string{id, "named"} {
			a := r.status(job)
			if a.Status != wire.Queued || a.Class != wire.Batch || a.Route != "chat" || a.Attempts != 0 || a.Job != job || a.Queued == "" {
				t.Errorf("queued %s: %+v", job, a)
			}
		}
		if a := r.status(named); a.Error == nil || a.Error.Code != wire.CodeNotFound {
			t.Errorf("status of %s, whose ID is another: %+v", named, a)
		}
		if a := r.status("nobody"); a.Error == nil || a.Error.Code != wire.CodeNotFound {
			t.Errorf("status of an unknown job: %+v", a)
		}
		r.dispatcher("d1")
		time.Sleep(time.Second)
		if a := r.status(id); a.Status != wire.Queued { // at the pool now
			t.Errorf("at the pool: %+v", a)
		}
		r.worker("w1")
		r.reached(id, wire.Running)
		if a := r.status(id); a.Status != wire.Running || len(a.History) != 1 || a.History[0].Pool != "a" || a.History[0].Decision == nil || a.History[0].Worker != "w1" {
			t.Errorf("running: %+v", a)
		}
		r.reached(id, wire.Waiting)
		a := r.status(id)
		if a.Status != wire.Waiting || a.Reason != wire.ReasonRetry || a.Until == "" || a.Attempts != 1 || len(a.History) != 2 ||
			a.History[1].Outcome != wire.Failed || a.History[1].Error != wire.CodeProviderError {
			t.Errorf("waiting: %+v", a)
		}
		r.result(id)
		a = r.status(id)
		if a.Status != wire.Succeeded || a.Attempts != 2 || len(a.History) != 4 || a.Batch != "b1" || nano(a.Cost) != "16000" {
			t.Errorf("succeeded: %+v", a)
		}
		if queued, err := time.Parse(time.RFC3339Nano, a.Queued); err != nil || at.Sub(queued).Abs() > time.Second {
			t.Errorf("submitted at %s, want %s", a.Queued, at)
		}
	})
}

// TestDecisionIsRecorded: every claim says what was chosen and every
// candidate with its score or the reason it was excluded.
func TestDecisionIsRecorded(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		failing := always(reply{status: 500})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", weight: 1000, provider: failing}, {name: "b", provider: &script{}}, {name: "c", provider: &script{}}}})
		id := r.publish(chat)
		r.result(id)
		for _, s := range r.history(id) {
			d := s.Entry.Attempt.Decision
			if d == nil || d.Pool != s.Entry.Attempt.Pool || d.Strategy != "least_connections" || d.Route != "chat" || len(d.Candidates) != 3 {
				t.Fatalf("decision of record %d: %+v", s.Seq, d)
			}
			excluded := map[string]string{}
			for _, c := range d.Candidates {
				if c.Excluded != "" {
					excluded[c.Pool] = c.Excluded
				} else if c.Score == 0 {
					t.Errorf("candidate %s without a score", c.Pool)
				}
			}
			want := map[string]string{}
			if s.Entry.Attempt.N == 2 {
				want["a"] = "already_tried"
			}
			if !maps.Equal(excluded, want) {
				t.Errorf("attempt %d excluded %v, want %v", s.Entry.Attempt.N, excluded, want)
			}
		}
	})
}

func TestLabelsAndTraceTravel(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: &script{}}}})
		const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		id := r.publish(chat, "Sluice-Label-Team", "search", "Sluice-Label-env", "prod", wire.HeaderTrace, trace, wire.HeaderState, "vendor=1",
			wire.HeaderRegion, "eu-west", wire.HeaderAffinity, "user 7")
		m := r.result(id).Entry.Meta
		if got := slices.Sorted(maps.Keys(m.Labels)); !slices.Equal(got, []string{"env", "team"}) || m.Labels["team"] != "search" {
			t.Errorf("labels %v", m.Labels)
		}
		if m.Trace != trace || m.TraceState != "vendor=1" || m.Region != "eu-west" || m.Affinity != "user 7" {
			t.Errorf("meta %+v", m)
		}
	})
}

package control

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/broker/budget"
	"github.com/sluicehq/sluice/broker/natsd/natstest"
	"github.com/sluicehq/sluice/broker/roster"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// fuzzService is a service with everything that requests can be about: pools,
// a route, budgets, a dead letter and a record.
func fuzzService(f *testing.F) *Service {
	f.Helper()
	js := natstest.JetStream(f, f.TempDir())
	var s wire.Subjects
	if err := topology.Ensure(f.Context(), js, topology.Config{Subjects: s}); err != nil {
		f.Fatal(err)
	}
	table, err := router.NewTable([]router.Pool{{Name: "p1", Concurrency: 1}},
		[]router.RouteSpec{{Name: "chat", Strategy: "random", Candidates: []router.CandidateSpec{{Pool: "p1", Model: "m", Weight: 1}}}})
	if err != nil {
		f.Fatal(err)
	}
	led, log := ledger.New(js, s), slog.New(slog.DiscardHandler)
	book := budget.New(budget.Config{JS: js, Subjects: s, Ledger: led, Logger: log, Instance: "fuzz"}, budget.Setup{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- book.Run(ctx) }()
	f.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			f.Error(err)
		}
	})
	<-book.Known()
	a := wire.Assignment{Meta: wire.Meta{ID: "dead", Tenant: "acme", Class: wire.Batch, Route: "chat", Endpoint: wire.ChatCompletions, SubmittedAt: 1}}
	if _, err := js.PublishMsg(f.Context(), &nats.Msg{Subject: s.Dead("acme", "dead"), Header: wire.EncodeAssignment(&a), Data: []byte(`{"model":"chat","messages":[{"role":"user","content":"x"}]}`)}); err != nil {
		f.Fatal(err)
	}
	if _, err := led.Append(f.Context(), &wire.Record{Status: wire.Failed, Entry: wire.Entry{Meta: a.Meta, Error: wire.CodeExhausted}}, 0); err != nil {
		f.Fatal(err)
	}
	return New(Config{JS: js, Subjects: s, Ledger: led, Logger: log, Budgets: book, Table: func() *router.Table { return table },
		Pools: func() []PoolInfo { return []PoolInfo{{Name: "p1"}} }, Roster: roster.New(js, s),
		CheckPool: func(string) (string, error) { return "", wire.Errorf(wire.CodeInvalidRequest, "spec", "no") }})
}

// FuzzAdmin: whatever an administrator's request holds, the answer is JSON, and
// what is wrong with it is the request's fault, never an internal error; the
// service goes on.
func FuzzAdmin(f *testing.F) {
	for op, body := range map[string]string{
		"pools": "", "routes": "{}", "jobs": `{"tenant":"acme","status":"failed","batch":"b","limit":5}`, "health": "[]", "nonsense": "{}",
		"dead.list": `{"tenant":"acme","limit":-1}`, "dead.show": `{"tenant":"acme","job":"dead","all":true}`, "dead.edit": `{"tenant":"acme","job":"dead","body":"eyJtb2RlbCI6ImNoYXQifQ=="}`,
		"dead.requeue": `{"all":true,"after":18446744073709551615}`, "schedule.add": `{"schedule":{"tenant":"acme","name":"n","class":"batch","cron":"0 9 * * 1-5","zone":"Europe/Berlin","body":"eyJtb2RlbCI6ImNoYXQifQ=="},"replace":true}`,
		"schedule.list": `{"tenant":"*"}`, "schedule.pause": `{"schedule":{"tenant":"acme","name":"n","paused":true}}`, "schedule.remove": `{"schedule":{"tenant":"acme","name":"n"}}`,
		"schedule.show": `{"schedule":{"tenant":">","name":"."}}`, "budgets": `{"tenant":"acme"}`, "budget.remove": `{"id":"a b"}`,
		"budget.set": `{"budget":{"scope":"tenant:acme","limit_usd":5,"window":"day","on_exceeded":"wait"}}`, "quality": `{"pool":"p1","model":"m","score":0.5}`,
		"pool.drain": `{"pool":"p1"}`, "pool.resume": `{"pool":"p2"}`, "pool.add": `{"spec":"name: x"}`, "pool.remove": `{"pool":"x"}`, "rollout.set": `{"rollout":"r","action":"pause"}`,
		"route.captures": `{"tenant":"acme","job":"dead"}`, "explain": `{"model":"chat","messages":[],"max_tokens":5}`, "alerts": `{"all":true}`,
	} {
		f.Add(op, "Sluice-Tenant: acme\nSluice-Class: batch\nSluice-Waited: 90s", []byte(body))
	}
	f.Add("explain", "Sluice-Waited: -1s\nSluice-Deadline: 1h\nSluice-Label-a: b", []byte(`{"model":"nobody"}`))
	s := fuzzService(f)
	f.Fuzz(func(t *testing.T, op, headers string, body []byte) {
		m := &nats.Msg{Subject: s.cfg.Subjects.Admin("") + op, Header: nats.Header{}, Data: body}
		for line := range strings.Lines(headers) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), ": ")
			m.Header.Add(k, v)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		b, err := json.Marshal(s.admin(ctx, m))
		var o struct{ Error *wire.AnswerError }
		if err == nil {
			err = json.Unmarshal(b, &o)
		}
		if err != nil || o.Error != nil && (o.Error.Code == wire.CodeInternal || o.Error.Code == "" || o.Error.Message == "") {
			t.Fatalf("%s of %q: %s, %v", op, body, b, err)
		}
	})
}

// FuzzReplay: whatever a tenant asks to be replayed, it is refused, or gets
// messages of its own job, each once, in order, and no more than it asks for.
func FuzzReplay(f *testing.F) {
	f.Add("sluice.replay.acme.dead", []byte(`{"of":"records","most":5}`))
	f.Add("sluice.replay.acme.j", []byte(`{"attempt":1,"index":2,"after":3}`))
	f.Add("sluice.replay.acme.j", []byte(`{"after":18446744073709551615,"most":100000}`))
	f.Add("sluice.replay.acme", []byte(`{"attempt":-1}`))
	f.Add("sluice.replay.acme.j", []byte(``))
	s := fuzzService(f)
	nc := s.cfg.JS.Conn()
	for i := range 5 {
		h := nats.Header{wire.HeaderAttempt: {"1"}, wire.HeaderIndex: {string(rune('0' + i))}}
		if _, err := s.cfg.JS.PublishMsg(f.Context(), &nats.Msg{Subject: s.cfg.Subjects.Chunks("acme", "j"), Header: h, Data: []byte("x")}); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		inbox := nc.NewInbox()
		sub, err := nc.SubscribeSync(inbox)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = sub.Unsubscribe() }()
		s.replay(t.Context(), &nats.Msg{Subject: subject, Reply: inbox, Data: body})
		var req wire.ReplayRequest
		_ = json.Unmarshal(body, &req) // else it is refused
		for n := 0; ; n++ {
			m, err := sub.NextMsg(10 * time.Second)
			if err != nil {
				t.Fatalf("%q of %s: no end after %d messages: %v", body, subject, n, err)
			}
			if m.Header.Get(wire.HeaderMore) == "" {
				continue
			}
			var end wire.ReplayEnd
			if err := json.Unmarshal(m.Data, &end); err != nil || end.Error == nil && (end.Messages != n || end.Seq < req.After || n > 0 && end.Seq == req.After || req.Most > 0 && n > req.Most) {
				t.Fatalf("%q of %s: %d messages, then %s, %v", body, subject, n, m.Data, err)
			}
			if end.Error != nil && (n > 0 || end.Error.Code == wire.CodeUnavailable) {
				t.Fatalf("%q of %s: %d messages, then %s", body, subject, n, m.Data)
			}
			return
		}
	})
}

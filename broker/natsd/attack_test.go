package natsd

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/wire"
)

// forbidden are subjects that a tenant must not reach, all of them where a
// message on them would do something.
func forbidden() []string {
	return []string{
		"sluice.jobs.acme.interactive", "sluice.jobs.acme.batch", "sluice.jobs.evil.batch.x", "sluice.jobs.*.batch",
		"sluice.jobs.acme=ci.batch", "sluice.jobs.evil=ci.batch", "sluice.jobs.evil=.batch",
		"sluice.records.acme.j1", "sluice.records.evil.j1", "sluice.ledger.acme.j1", "sluice.ledger.evil.j1",
		"sluice.chunks.acme.j1", "sluice.chunks.evil.j1", "sluice.status.acme.j1", "sluice.cancel.acme.j1", "sluice.replay.acme.j1",
		"sluice.work.pool", "sluice.requeue.acme.batch", "sluice.requeue.evil.batch", "sluice.sched.acme.j1", "sluice.sched.evil.j1",
		"sluice.backlog.batch.chat", "sluice.dead.acme.j1", "sluice.dead.evil.j1", "sluice.abort.acme.j1",
		"sluice.admin.pools", "sluice.admin.dead.requeue", "$KV.SLUICE_NODES.x",
		"$JS.API.INFO", "$JS.API.ACCOUNT.PURGE.x", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.CREATE.SLUICE_X",
		"$JS.API.STREAM.UPDATE.SLUICE_JOBS", "$JS.API.STREAM.INFO.SLUICE_LEDGER", "$JS.API.STREAM.PURGE.SLUICE_JOBS", "$JS.API.STREAM.DELETE.SLUICE_LEDGER",
		"$JS.API.STREAM.MSG.GET.SLUICE_LEDGER", "$JS.API.STREAM.MSG.DELETE.SLUICE_JOBS", "$JS.API.STREAM.SNAPSHOT.SLUICE_LEDGER", "$JS.API.STREAM.RESTORE.SLUICE_X",
		"$JS.API.DIRECT.GET.SLUICE_NODES", "$JS.API.DIRECT.GET.SLUICE_LEDGER.sluice.records.acme.j1", "$JS.API.DIRECT.GET.SLUICE_CHUNKS.sluice.chunks.acme.j1",
		"$JS.API.DIRECT.GET.SLUICE_LEDGER.sluice.records.>", "$JS.API.DIRECT.GET.SLUICE_LEDGER.sluice.records.*.j1", "$JS.API.DIRECT.GET.SLUICE_JOBS.sluice.jobs.evil.batch",
		"$JS.API.CONSUMER.CREATE.SLUICE_LEDGER", "$JS.API.CONSUMER.CREATE.SLUICE_LEDGER.x", "$JS.API.CONSUMER.CREATE.SLUICE_LEDGER.x.sluice.records.evil.j1",
		"$JS.API.CONSUMER.CREATE.SLUICE_CHUNKS.x.sluice.chunks.evil.j1", "$JS.API.CONSUMER.CREATE.SLUICE_JOBS.x.sluice.jobs.evil.batch",
		"$JS.API.CONSUMER.DURABLE.CREATE.SLUICE_LEDGER.x", "$JS.API.CONSUMER.DELETE.SLUICE_JOBS.router_batch", "$JS.API.CONSUMER.INFO.SLUICE_JOBS.router_batch",
		"$JS.API.CONSUMER.PAUSE.SLUICE_JOBS.router_batch", "$JS.API.CONSUMER.UNPIN.SLUICE_JOBS.router_batch", "$JS.API.CONSUMER.MSG.NEXT.SLUICE_JOBS.router_batch",
		"$JS.API.CONSUMER.NAMES.SLUICE_JOBS", "$JS.API.CONSUMER.LIST.SLUICE_JOBS", "$JS.ACK.SLUICE_JOBS.router_batch.1.1.1.1.0", "$JS.FC.SLUICE_JOBS.x.y",
		"_INBOX.acme", "acme.private",
	}
}

// reserved are subjects that the server itself lets no client use for replies.
func reserved(subject string) bool { return strings.HasPrefix(subject, "$JS.ACK.") }

func TestForbiddenSubjects(t *testing.T) {
	for _, k := range guarded() {
		t.Run(k.name, func(t *testing.T) {
			w := k.start(t)
			w.job("acme", "j1")
			w.job("evil", "j1")
			evil, before := w.tenant("evil"), w.streams()
			w.settle(evil)
			for _, subject := range forbidden() {
				w.watch()
				if err := evil.PublishMsg(message(subject, `{"seq":1,"last_by_subj":"sluice.records.acme.j1"}`, wire.HeaderStatus, "cancelled")); err != nil {
					t.Fatal(err)
				}
				w.settle(evil)
				if s := w.strange(); len(s) > 0 {
					t.Errorf("%s reaches %v", subject, s)
				}
				if err := evil.LastError(); err == nil || !strings.Contains(err.Error(), `"`+subject+`"`) {
					t.Errorf("%s is not refused at once: %v", subject, err)
				}
			}
			if after := w.streams(); after != before {
				t.Errorf("the streams were\n%sand are\n%s", before, after)
			}
		})
	}
}

// TestForbiddenReplies sends what a tenant may ask, and lets the answer go
// where it must not ask.
func TestForbiddenReplies(t *testing.T) {
	for _, k := range guarded() {
		t.Run(k.name, func(t *testing.T) {
			w := k.start(t)
			w.job("acme", "j1")
			w.job("evil", "j1")
			evil, before := w.tenant("evil"), w.streams()
			w.settle(evil)
			for _, reply := range forbidden() {
				w.watch()
				for _, m := range requests(w.s) {
					if reserved(reply) { // the server ends the connection, or drops the message
						_ = evil.PublishRequest(m.Subject, reply, m.Data)
						continue
					}
					if err := evil.PublishMsg(&nats.Msg{Subject: m.Subject, Reply: reply, Data: m.Data}); err != nil {
						t.Fatal(err)
					}
				}
				w.settle(evil)
				if s := w.strange(); len(s) > 0 {
					t.Errorf("a reply to %s reaches %v", reply, s)
				}
			}
			if after := w.streams(); after != before {
				t.Errorf("the streams were\n%sand are\n%s", before, after)
			}
		})
	}
}

// requests are one of each kind that a tenant may send, all of which get an
// answer.
func requests(s wire.Subjects) []*nats.Msg {
	return []*nats.Msg{
		message(s.Jobs("evil", wire.Batch), "{}"),
		message(s.Status("evil", "j1"), ""),
		message(s.Cancel("evil", "j1"), ""),
		message(s.Replay("evil", "j1"), ""),
		message(s.Replay("evil", "j1"), `{"of":"records"}`),
		message("$JS.API.DIRECT.GET.SLUICE_LEDGER."+s.Records("evil", "j1"), ""),
		message("$JS.API.DIRECT.GET.SLUICE_CHUNKS."+s.Chunks("evil", "j1"), ""),
		message("$JS.API.DIRECT.GET.SLUICE_LEDGER."+s.Records("evil", "none"), ""),
	}
}

// An acknowledgement that a tenant has forged by a reply would take another's
// job off its queue: an answer with an empty body is one.
func TestNoAcknowledgementByReply(t *testing.T) {
	for _, k := range guarded() {
		t.Run(k.name, func(t *testing.T) {
			w := k.start(t)
			w.put(w.s.Jobs("acme", wire.Batch), "{}")
			sources, err := topologySources(w)
			if err != nil {
				t.Fatal(err)
			}
			batch, err := sources.Fetch(1)
			if err != nil {
				t.Fatal(err)
			}
			m := <-batch.Messages()
			evil := w.tenant("evil")
			// What the server says of a record that is not there has no body.
			_ = evil.PublishRequest("$JS.API.DIRECT.GET.SLUICE_LEDGER.sluice.records.evil.none", m.Reply(), nil)
			_ = evil.PublishRequest("sluice.jobs.evil.batch", m.Reply(), []byte("{}"))
			time.Sleep(50 * time.Millisecond)
			if info, err := sources.Info(t.Context()); err != nil || info.NumAckPending != 1 {
				t.Errorf("%d messages wait for an acknowledgement, %v", info.NumAckPending, err)
			}
		})
	}
}

func topologySources(w *world) (jetstream.Consumer, error) {
	return w.js.CreateOrUpdateConsumer(w.t.Context(), w.s.Stream(wire.StreamJobs), jetstream.ConsumerConfig{
		Durable: "router_batch", FilterSubject: w.s.Jobs("*", wire.Batch), AckPolicy: jetstream.AckExplicitPolicy})
}

// The attacks above are of use only if a server that does not keep tenants
// apart fails them.
func TestAttacksAreNoticed(t *testing.T) {
	w := flat(t)
	w.job("evil", "j1")
	evil := w.tenant("evil")
	noticed := func(what, subject string) {
		t.Helper()
		for range 100 { // a machine that is busy takes longer than one
			w.settle(evil)
			if slices.Contains(w.strange(), subject) {
				return
			}
		}
		t.Errorf("%s %s is not noticed, only %v", what, subject, w.strange())
	}
	for _, subject := range forbidden() {
		if strings.HasPrefix(subject, "$JS.API.STREAM.") && !strings.HasPrefix(subject, "$JS.API.STREAM.INFO") || subject == "_INBOX.acme" {
			continue // would end the world; or looks like an answer
		}
		w.watch()
		if err := evil.PublishMsg(message(subject, "{}")); err != nil {
			t.Fatal(err)
		}
		noticed("a message on", subject)
	}
	for _, reply := range forbidden() {
		if strings.HasPrefix(reply, "$JS.") || reply == "_INBOX.acme" || strings.Contains(reply, "*") || strings.Contains(reply, ">") {
			continue
		}
		for _, m := range requests(w.s) {
			w.watch()
			if err := evil.PublishRequest(m.Subject, reply, m.Data); err != nil {
				t.Fatal(err)
			}
			noticed("a reply of "+m.Subject+" to", reply)
		}
	}
}

// snoops are what evil listens on to hear of others.
func snoops() []string {
	return []string{">", "*.>", "sluice.>", "sluice.*.*.*", "sluice.*.acme.>", "sluice.records.>", "sluice.records.*.*", "sluice.records.acme.*", "sluice.records.acme.j1",
		"sluice.chunks.acme.*", "sluice.jobs.acme.*", "sluice.status.*.*", "sluice.cancel.>", "sluice.replay.*.*", "sluice.ledger.*.*", "sluice.work.*",
		"sluice.admin.>", "_INBOX.>", "_INBOX.*.*", "_R_.>", "$JS.>", "$JS.ACK.>", "$JS.EVENT.>", "$SYS.>", "$KV.>"}
}

// life is everything that is said about a job of acme's.
func (w *world) life() {
	w.t.Helper()
	acme := w.tenant("acme")
	w.job("acme", "j1")
	for _, m := range requests(w.s) {
		subject := strings.ReplaceAll(m.Subject, "evil", "acme")
		if _, err := acme.Request(subject, m.Data, time.Second); err != nil {
			w.t.Fatalf("%s: %v", subject, err)
		}
	}
	if _, err := w.in.Request(w.s.Admin("health"), nil, time.Second); err != nil {
		w.t.Fatal(err)
	}
	w.settle(acme)
}

func TestSnooping(t *testing.T) {
	for _, k := range guarded() {
		t.Run(k.name, func(t *testing.T) {
			w := k.start(t)
			evil, heard := w.tenant("evil"), make(chan *nats.Msg, 1000)
			for _, subject := range snoops() {
				if _, err := evil.ChanSubscribe(subject, heard); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := evil.ChanQueueSubscribe(">", "sluice", heard); err != nil { // would take requests away
				t.Fatal(err)
			}
			w.settle(evil)
			w.life()
			w.settle(evil)
			close(heard)
			for m := range heard {
				t.Errorf("evil hears %s on %s", m.Data, m.Subject)
			}
		})
	}
}

func TestSnoopingIsNoticed(t *testing.T) {
	w := flat(t)
	evil := w.tenant("evil")
	for _, subject := range snoops() {
		if slices.Contains([]string{"_R_.>", "$JS.ACK.>", "$JS.EVENT.>", "$SYS.>", "$KV.>", "sluice.work.*"}, subject) {
			continue // nothing is said there in this test
		}
		sub, err := evil.SubscribeSync(subject)
		if err != nil {
			t.Fatal(err)
		}
		w.settle(evil)
		w.life()
		w.settle(evil)
		if n, _, _ := sub.Pending(); n == 0 {
			t.Errorf("%s hears nothing", subject)
		}
		if err := sub.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
	}
}

// Reading by a body that names another subject than the request's own.
func TestForbiddenReads(t *testing.T) {
	for _, k := range guarded() {
		t.Run(k.name, func(t *testing.T) {
			w := k.start(t)
			w.job("acme", "j1")
			w.job("evil", "j1")
			evil, heard := w.tenant("evil"), make(chan *nats.Msg, 1000)
			inbox := evil.NewInbox()
			if _, err := evil.ChanSubscribe(inbox, heard); err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, subject := range []string{
				"$JS.API.DIRECT.GET.SLUICE_LEDGER", "$JS.API.DIRECT.GET.SLUICE_CHUNKS", "$JS.API.DIRECT.GET.SLUICE_JOBS", "$JS.API.STREAM.MSG.GET.SLUICE_LEDGER",
				"$JS.API.DIRECT.GET.SLUICE_LEDGER.sluice.records.evil.j1", "$JS.API.DIRECT.GET.SLUICE_CHUNKS.sluice.chunks.evil.j1",
				"$JS.API.DIRECT.GET.SLUICE_LEDGER.sluice.records.evil.*", "$JS.API.DIRECT.GET.SLUICE_LEDGER.sluice.records.evil.>",
				"sluice.replay.evil.j1", "sluice.replay.evil.*", "sluice.replay.evil.>", "sluice.status.evil.*", "sluice.cancel.evil.*",
			} {
				for _, body := range []string{"", `{"seq":1}`, `{"last_by_subj":"sluice.records.acme.j1"}`, `{"next_by_subj":"sluice.>"}`,
					`{"seq":1,"batch":100}`, `{"seq":1,"next_by_subj":">","batch":100}`, `{"multi_last":["sluice.records.acme.j1","sluice.chunks.acme.j1"]}`,
					`{"of":"records","attempt":0,"tenant":"acme","job":"j1"}`, `{"of":"../records.acme"}`, `{"stream_name":"SLUICE_LEDGER","config":{"ack_policy":"none","deliver_subject":"` + inbox + `"}}`,
				} {
					if err := evil.PublishRequest(subject, inbox, []byte(body)); err != nil {
						t.Fatal(err)
					}
					n++
				}
			}
			w.settle(evil)
			time.Sleep(50 * time.Millisecond)
			close(heard)
			answers := 0
			for m := range heard {
				answers++
				if strings.Contains(string(m.Data), "of acme") || strings.Contains(m.Header.Get("Nats-Subject"), "acme") {
					t.Errorf("evil reads %q, %v", m.Data, m.Header)
				}
			}
			if answers < n/3 {
				t.Errorf("only %d answers to %d requests: does this test ask anybody?", answers, n)
			}
		})
	}
}

// hostile are headers that mean something to the server or to our own parts.
func hostile() [][]string {
	return [][]string{
		{"Nats-Rollup", "all"}, {"Nats-Rollup", "sub"}, {"Nats-TTL", "1s"}, {"Nats-Incr", "1"}, {"Nats-Counter-Sources", "{}"},
		{"Nats-Schedule", "@at 2020-01-01T00:00:00Z", "Nats-Schedule-Target", "sluice.jobs.acme.batch"},
		{"Nats-Schedule", "@every 1s", "Nats-Schedule-Target", "sluice.backlog.batch.chat"}, {"Nats-Schedule-Source", "sluice.jobs.acme.batch"}, {"Nats-Scheduler", "sluice.jobs.acme.batch"},
		{"Nats-Expected-Stream", "SLUICE_LEDGER"}, {"Nats-Expected-Last-Sequence", "1"}, {"Nats-Expected-Last-Subject-Sequence", "1"},
		{"Nats-Expected-Last-Subject-Sequence", "1", "Nats-Expected-Last-Subject-Sequence-Subject", "sluice.jobs.acme.batch"}, {"Nats-Expected-Last-Msg-Id", "x"},
		{"Nats-Batch-Id", "x", "Nats-Batch-Sequence", "1"}, {"Nats-Batch-Id", "y", "Nats-Batch-Sequence", "1", "Nats-Batch-Commit", "1"},
		{"Nats-Trace-Dest", "sluice.ledger.acme.j1"}, {"Nats-Trace-Dest", "sluice.jobs.acme.batch", "Nats-Trace-Only", "true"}, {"Nats-Trace-Dest", "_INBOX.x"},
		{"Nats-Stream-Source", "SLUICE_LEDGER 1 > >"}, {"Nats-Marker-Reason", "Purge"}, {"Nats-Required-Api-Level", "1"},
		{"Nats-Request-Info", `{"acc":"$G","svc":"$G","reply":"sluice.ledger.acme.j1.0.fail.1.0.$FI"}`}, {"Nats-Subject", "sluice.jobs.acme.batch", "Nats-Sequence", "1"},
		{"Status", "503"}, {"Status", "404", "Nats-Num-Pending", "9"}, {"Sluice-Entry", `{"m":{"id":"j1","t":"acme"}}`}, {"Sluice-Assignment", `{"m":{"id":"j1","t":"acme"}}`},
		{"Sluice-Status", "cancelled"}, {"Sluice-Job-Id", "j1"}, {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
	}
}

func TestHostileHeaders(t *testing.T) {
	for _, k := range guarded() {
		t.Run(k.name, func(t *testing.T) {
			w := k.start(t)
			w.job("acme", "j1")
			evil, before := w.tenant("evil"), w.streams()
			w.settle(evil)
			for _, h := range hostile() {
				w.watch()
				for _, to := range []string{"_INBOX.x", "sluice.ledger.acme.j1.0.fail.1.0.$FI", "sluice.ledger.acme.j1.0.ok.2.1.$FI"} {
					m := message(w.s.Jobs("evil", wire.Batch), "{}", h...)
					m.Reply = to
					if err := evil.PublishMsg(m); err != nil {
						t.Fatal(err)
					}
				}
				w.settle(evil)
				if s := w.strange(); len(s) > 0 {
					t.Errorf("%v reaches %v", h, s)
				}
			}
			time.Sleep(1100 * time.Millisecond) // a schedule would fire
			if after := w.streams(); after != before {
				t.Errorf("the streams were\n%sand are\n%s", before, after)
			}
			m, err := w.in.Request(w.s.Status("acme", "j1"), nil, time.Second)
			if err != nil || !strings.Contains(string(m.Data), `"acme"`) {
				t.Errorf("acme's job: %s, %v", m.Data, err)
			}
		})
	}
}

// The headers are hostile on a stream that heeds them.
func TestHostileHeadersAreNoticed(t *testing.T) {
	for name, loosen := range map[string]func(*jetstream.StreamConfig){
		"Nats-Rollup": func(c *jetstream.StreamConfig) { c.AllowRollup = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := flat(t)
			w.job("acme", "j1")
			st, err := w.js.Stream(t.Context(), w.s.Stream(wire.StreamJobs))
			if err != nil {
				t.Fatal(err)
			}
			cfg := st.CachedInfo().Config
			loosen(&cfg)
			if err := w.js.DeleteStream(t.Context(), cfg.Name); err != nil {
				t.Fatal(err)
			}
			if _, err := w.js.CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			w.put(w.s.Jobs("acme", wire.Batch), "{}")
			evil, before := w.tenant("evil"), w.streams()
			for _, h := range hostile() {
				if h[0] == name {
					_ = evil.PublishMsg(message(w.s.Jobs("evil", wire.Batch), "{}", h...))
				}
			}
			w.settle(evil)
			time.Sleep(1100 * time.Millisecond)
			if w.streams() == before {
				t.Error("nothing is noticed")
			}
		})
	}
}

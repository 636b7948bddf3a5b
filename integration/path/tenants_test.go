package path

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/broker/natsd"
	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

var tenants = []natsd.Tenant{{Name: "acme", Key: "acme-key"}, {Name: "evil", Key: "evil-key"}}

// login is a tenant's connection, with the permission faults it has met.
type login struct {
	*nats.Conn
	mu     sync.Mutex
	denied []string
}

func (r *rig) login(tenant string) *login {
	r.t.Helper()
	l := &login{}
	var err error
	l.Conn, err = nats.Connect("", nats.InProcessServer(r.procs[0].gate.inner), nats.UserInfo(tenant, tenant+"-key"),
		nats.CustomInboxPrefix(natsd.InboxPrefix(tenant)), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.denied = append(l.denied, err.Error())
		}))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(l.Close)
	return l
}

// faults are the permission faults since the last call.
func (l *login) faults() []string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.denied
	l.denied = nil
	return out
}

// TestTenantsSDK: the SDK does everything with a tenant's credentials.
func TestTenantsSDK(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{events: words("one ", "two"), every: time.Second})
		r := start(t, setup{dir: dir, tenants: tenants, pools: []pool{{name: "a", provider: p}}})
		nc := r.login("acme")
		c, err := sdk.Dial(t.Context(), "", sdk.WithConn(nc.Conn), sdk.WithTenant("acme"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		m := &nats.Msg{Subject: r.subj.Jobs("acme", wire.Interactive), Data: []byte(chat), Header: nats.Header{wire.HeaderStream: {"true"}, wire.HeaderJobID: {"mine"}}}
		ack, err := nc.RequestMsgWithContext(t.Context(), m)
		if err != nil || !strings.Contains(string(ack.Data), `"seq":`) {
			t.Fatalf("receipt %+v, %v, faults %v; %s", ack, err, nc.faults(), r.queues())
		}
		h := c.Attach("mine")
		res, err := h.Wait(t.Context())
		if err != nil || res.Status != wire.Succeeded {
			t.Fatalf("%+v, %v", res, err)
		}
		n := 0
		for chunk, err := range h.Chunks(t.Context()) { // read late: from the stream
			if err != nil {
				t.Fatal(err)
			}
			if chunk.Index != n {
				t.Errorf("chunk %d, want %d", chunk.Index, n)
			}
			n++
		}
		if n < 4 {
			t.Errorf("%d chunks", n)
		}
		for _, subject := range []string{r.subj.Status("acme", "mine"), r.subj.Cancel("acme", "mine")} {
			m, err := nc.RequestWithContext(t.Context(), subject, nil)
			var a wire.Answer
			if err != nil || json.Unmarshal(m.Data, &a) != nil || a.Status != wire.Succeeded {
				t.Errorf("%s: %v, %+v", subject, err, a)
			}
		}
		if f := nc.faults(); len(f) != 0 {
			t.Errorf("permission faults: %v", f)
		}
	})
}

// TestTenantsHear: a tenant hears its own records and chunks, nobody else's.
func TestTenantsHear(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{events: words("one ", "two")})
		r := start(t, setup{dir: dir, tenants: tenants, pools: []pool{{name: "a", provider: p}}})
		heard := map[string]int{}
		var mu sync.Mutex
		count := func(m *nats.Msg) {
			mu.Lock()
			defer mu.Unlock()
			heard[strings.Join(strings.Split(m.Subject, ".")[1:3], ".")]++
		}
		acme, evil := r.login("acme"), r.login("evil")
		for _, l := range []*login{acme, evil} {
			for _, s := range []string{"sluice.records.acme.*", "sluice.chunks.acme.*"} {
				if _, err := l.Subscribe(s, count); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, s := range []string{">", "sluice.>", "sluice.records.>", "sluice.*.acme.*", "_INBOX_acme.>", "$JS.>", "$SYS.>", "sluice.jobs.evil.*", "_R_.>"} {
			if _, err := evil.Subscribe(s, count); err != nil {
				t.Fatal(err)
			}
		}
		if f := evil.faults(); len(f) != 11 {
			t.Errorf("evil's subscriptions: %d faults, want 11: %v", len(f), f)
		}
		id := r.publish(chat, wire.HeaderStream, "true")
		r.result(id)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if heard["records.acme"] != 2 || heard["chunks.acme"] != len(r.chunks(id)) || len(heard) != 2 {
			t.Errorf("heard %v", heard)
		}
	})
}

// TestTenantsMayNotPublish lists what a tenant is refused.
func TestTenantsMayNotPublish(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, tenants: tenants, pools: []pool{{name: "a", provider: &script{}}}})
		evil := r.login("evil")
		for _, subject := range []string{
			"sluice.jobs.acme.interactive", "sluice.jobs.*.interactive", "sluice.jobs.>", "sluice.jobs.evil.batch.x",
			"sluice.records.evil.x", "sluice.records.acme.x", "sluice.ledger.evil.x", "sluice.ledger.acme.x",
			"sluice.work.a", "sluice.requeue.evil.batch", "sluice.sched.evil.x", "sluice.backlog.batch.chat", "sluice.dead.evil.x",
			"sluice.chunks.evil.x", "sluice.chunks.acme.x", "sluice.abort.acme.x", "sluice.admin.pools", "sluice.admin.dead.requeue",
			"sluice.status.acme.x", "sluice.cancel.acme.x", "$KV.SLUICE_NODES.x", "_INBOX_acme.x", "_R_.x",
			"$JS.API.INFO", "$JS.API.STREAM.LIST", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.CREATE.X", "$JS.API.STREAM.INFO.SLUICE_LEDGER",
			"$JS.API.STREAM.PURGE.SLUICE_JOBS", "$JS.API.STREAM.DELETE.SLUICE_JOBS", "$JS.API.STREAM.UPDATE.SLUICE_JOBS",
			"$JS.API.STREAM.MSG.GET.SLUICE_LEDGER", "$JS.API.STREAM.MSG.DELETE.SLUICE_JOBS", "$JS.API.DIRECT.GET.SLUICE_LEDGER",
			"$JS.API.DIRECT.GET.SLUICE_LEDGER.sluice.records.acme.x", "$JS.API.DIRECT.GET.SLUICE_JOBS.sluice.jobs.evil.batch",
			"$JS.API.DIRECT.GET.SLUICE_CHUNKS.sluice.chunks.acme.x", "$JS.API.CONSUMER.CREATE.SLUICE_JOBS.x.sluice.jobs.evil.batch",
			"$JS.API.CONSUMER.CREATE.SLUICE_LEDGER.x", "$JS.API.CONSUMER.CREATE.SLUICE_LEDGER.x.sluice.records.acme.x",
			"$JS.API.CONSUMER.DURABLE.CREATE.SLUICE_LEDGER.x", "$JS.API.CONSUMER.CREATE.SLUICE_LEDGER.x.sluice.records.>",
			"$JS.API.CONSUMER.DELETE.SLUICE_WORK.pool_a", "$JS.API.CONSUMER.MSG.NEXT.SLUICE_JOBS.router_batch", "$JS.API.CONSUMER.MSG.NEXT.SLUICE_WORK.pool_a",
			"$JS.ACK.SLUICE_JOBS.router_interactive.1.1.1.1.0", "$JS.API.SERVER.REMOVE", "$SYS.REQ.SERVER.PING",
		} {
			if err := evil.Publish(subject, []byte(chat)); err != nil {
				t.Fatal(err)
			}
			if f := evil.faults(); len(f) != 1 {
				t.Errorf("publish to %s: %d faults, want it refused", subject, len(f))
			}
		}
		if _, err := nats.Connect("", nats.InProcessServer(r.procs[0].gate.inner), nats.UserInfo("acme", "evil-key")); err == nil {
			t.Error("a wrong key was let in")
		}
		if _, err := nats.Connect("", nats.InProcessServer(r.procs[0].gate.inner)); err == nil {
			t.Error("nobody was let in")
		}
	})
}

// TestTenantsReplies: a publisher chooses the reply subject, and the broker
// answers it. That must not reach another tenant, or a stream.
func TestTenantsReplies(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: time.Minute})
		r := start(t, setup{dir: dir, tenants: tenants, pools: []pool{{name: "a", provider: p}}})
		evil := r.login("evil")
		running := r.publish(chat)
		r.reached(running, wire.Running)
		own, err := evil.RequestWithContext(t.Context(), "sluice.jobs.evil.batch", []byte("{"))
		if err != nil {
			t.Fatal(err, own)
		}
		time.Sleep(time.Second)
		for _, reply := range []string{"sluice.cancel.acme." + running, "sluice.ledger.acme.x", "sluice.ledger.acme." + running, "sluice.abort.acme." + running,
			"sluice.jobs.acme.batch", "sluice.requeue.acme.batch", "sluice.work.a", "_INBOX_acme.x", "$JS.API.STREAM.PURGE.SLUICE_JOBS"} {
			for _, subject := range []string{"sluice.jobs.evil.batch", "sluice.status.evil.j1", "sluice.cancel.evil.j1",
				"$JS.API.DIRECT.GET.SLUICE_LEDGER.sluice.records.evil.j2", "$JS.API.CONSUMER.MSG.NEXT.SLUICE_LEDGER.x"} {
				if err := evil.PublishRequest(subject, reply, []byte(`{"batch":1}`)); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		time.Sleep(5 * time.Second)
		if got := r.steps(running); got != "running" {
			t.Errorf("acme's job: %q", got)
		}
		if res := r.result(running); res.Status != wire.Succeeded {
			t.Errorf("acme's job: %s", res.Status)
		}
		for _, id := range []string{"x"} {
			if h := r.history(id); len(h) != 0 {
				t.Errorf("acme has %d records of %s", len(h), id)
			}
		}
		s, err := r.js.Stream(t.Context(), r.subj.Stream(wire.StreamLedger))
		if err != nil {
			t.Fatal(err)
		}
		for n := uint64(1); n <= s.CachedInfo().State.LastSeq; n++ {
			m, err := s.GetMsg(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := wire.DecodeRecord(m.Header, m.Data); err != nil {
				t.Errorf("garbage in the ledger on %s: %v", m.Subject, err)
			}
			if strings.HasPrefix(m.Subject, "sluice.records.acme.") && !strings.HasSuffix(m.Subject, "."+running) {
				t.Errorf("acme has a record that it did not ask for: %s", m.Subject)
			}
		}
	})
}

// TestTenantsConsumers: what of JetStream a tenant may use shows it nothing
// of others.
func TestTenantsConsumers(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, tenants: tenants, pools: []pool{{name: "a", provider: &script{}}}})
		r.result(r.publish(chat))
		evil := r.login("evil")
		for name, config := range map[string]string{
			"all":            `{"name":"x","ack_policy":"none"}`,
			"another filter": `{"name":"x","ack_policy":"none","filter_subject":"sluice.records.acme.j1"}`,
			"two filters":    `{"name":"x","ack_policy":"none","filter_subjects":["sluice.records.evil.j1","sluice.records.acme.j1"]}`,
			"wider":          `{"name":"x","ack_policy":"none","filter_subject":"sluice.records.>"}`,
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			m, err := evil.RequestWithContext(ctx, "$JS.API.CONSUMER.CREATE.SLUICE_LEDGER.x.sluice.records.evil.j1", []byte(`{"stream_name":"SLUICE_LEDGER","config":`+config+`}`))
			cancel()
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			if m != nil && !strings.Contains(string(m.Data), `"error"`) {
				t.Errorf("consumer of %s: %s", name, m.Data)
			}
		}
	})
}

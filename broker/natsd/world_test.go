package natsd

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/control"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// world is a server with Sluice's streams, the control service, and two
// tenants: acme, who has jobs, and evil, who wants them.
type world struct {
	t     *testing.T
	srv   *server.Server
	in    *nats.Conn // our own parts'
	js    jetstream.JetStream
	s     wire.Subjects
	login func(tenant string, opts ...nats.Option) (*nats.Conn, error)

	mu   sync.Mutex
	seen map[string]int // every subject of a message where the streams are
}

// kind is a way to set a server up.
type kind struct {
	name  string
	start func(t *testing.T) *world
}

// guarded are the ways that must keep tenants apart.
func guarded() []kind {
	return []kind{{"embedded", embedded}, {"accounts.conf.example", external}}
}

var both = []Tenant{{Name: "acme", Key: "acme-key"}, {Name: "evil", Key: "evil-key"}}

func embedded(t *testing.T) *world {
	s, err := Start(Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0", Sync: time.Second, Tenants: both})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return newWorld(t, s.srv, nats.UserInfo(internalUser, s.password))
}

// external is a server that runs with deploy/nats/accounts.conf.example.
func external(t *testing.T) *world {
	b, err := os.ReadFile("../../deploy/nats/accounts.conf.example")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SLUICE_NATS_PASSWORD", "inner")
	t.Setenv("ACME_KEY", "acme-key")
	t.Setenv("EVIL_KEY", "evil-key")
	text := string(b)
	block := text[strings.Index(text, "  acme {"):strings.LastIndex(text, "}")]
	text = strings.TrimSuffix(strings.TrimSpace(text), "}") + strings.NewReplacer("acme", "evil", "ACME", "EVIL").Replace(block) + "}\n"
	return configured(t, text, nats.UserInfo("sluice", "inner"))
}

// flat is the layout that does not keep tenants apart: all in one account,
// with no permissions. Every attack must be noticed there.
func flat(t *testing.T) *world {
	return configured(t, `authorization { users: [
		{user: sluice, password: inner}, {user: acme, password: acme-key}, {user: evil, password: evil-key}] }`, nats.UserInfo("sluice", "inner"))
}

func configured(t *testing.T, text string, inner nats.Option) *world {
	o := &server.Options{}
	if err := o.ProcessConfigString(text); err != nil {
		t.Fatal(err)
	}
	o.JetStream, o.StoreDir, o.Host, o.Port, o.NoSigs, o.NoLog, o.MaxPayload = true, t.TempDir(), "127.0.0.1", server.RANDOM_PORT, true, true, wire.MaxPayload
	srv, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	return newWorld(t, srv, inner)
}

func newWorld(t *testing.T, srv *server.Server, inner nats.Option) *world {
	w := &world{t: t, srv: srv, seen: map[string]int{}}
	w.login = func(tenant string, opts ...nats.Option) (*nats.Conn, error) {
		return nats.Connect("", append([]nats.Option{nats.InProcessServer(srv), nats.UserInfo(tenant, tenant+"-key"),
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}, opts...)...)
	}
	w.in = w.connect(inner)
	var err error
	if w.js, err = jetstream.New(w.in); err != nil {
		t.Fatal(err)
	}
	if err := topology.Ensure(t.Context(), w.js, topology.Config{}); err != nil {
		t.Fatal(err)
	}
	nc := w.connect(inner)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	table, err := router.NewTable(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- control.New(control.Config{JS: js, Ledger: ledger.New(js, w.s), Logger: slog.New(slog.DiscardHandler),
			Table: func() *router.Table { return table }, Pools: func() []control.PoolInfo { return nil }}).Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for nc.NumSubscriptions() < 4 {
		time.Sleep(time.Millisecond)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.connect(inner).Subscribe(">", func(m *nats.Msg) {
		if w.usual(m) {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen[m.Subject]++
	}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) connect(inner nats.Option) *nats.Conn {
	w.t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(w.srv), inner)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(nc.Close)
	return nc
}

// tenant is an ordinary client of nats.go, with no option but its credentials.
func (w *world) tenant(name string) *nats.Conn {
	w.t.Helper()
	nc, err := w.login(name)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(nc.Close)
	return nc
}

// settle waits until everything that was sent has arrived.
func (w *world) settle(nc *nats.Conn) {
	w.t.Helper()
	for range 3 { // a request, its answer, and what comes of that
		if err := nc.Flush(); err != nil {
			w.t.Fatal(err)
		}
		if err := w.in.Flush(); err != nil {
			w.t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// watch forgets what was seen so far.
func (w *world) watch() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.seen)
}

// strange are the subjects seen since watch on which evil has no business.
func (w *world) strange() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.seen))
}

// usual tells the messages that are no sign of an attack: evil's own requests,
// answers, and what our own parts ask the server, which has a reply subject
// where an attack has none.
func (w *world) usual(m *nats.Msg) bool {
	switch {
	case strings.HasPrefix(m.Subject, "_R_."), strings.HasPrefix(m.Subject, "_INBOX.") && m.Subject != "_INBOX.acme", strings.HasPrefix(m.Subject, "$JS.EVENT."):
		return true
	case strings.HasPrefix(m.Subject, "$JS.API."):
		return m.Reply != ""
	}
	for _, x := range services(w.s, "evil") {
		if strings.HasPrefix(m.Subject, strings.TrimSuffix(x.subject, "*")) && strings.Count(m.Subject, ".") == strings.Count(x.subject, ".") {
			return true
		}
	}
	return false
}

// job stores a job of a tenant's life: submitted, running with two chunks,
// ended.
func (w *world) job(tenant, id string) {
	w.t.Helper()
	w.put(w.s.Jobs(tenant, wire.Batch), "job of "+tenant, wire.HeaderJobID, id)
	w.put(w.s.Ledger(tenant, id), "", wire.HeaderStatus, "running")
	w.put(w.s.Chunks(tenant, id), "one of "+tenant, wire.HeaderAttempt, "1", wire.HeaderIndex, "0")
	w.put(w.s.Chunks(tenant, id), "two of "+tenant, wire.HeaderAttempt, "1", wire.HeaderIndex, "1", wire.HeaderEnd, "true")
	w.put(w.s.Ledger(tenant, id), "answer of "+tenant, wire.HeaderStatus, "succeeded")
}

func (w *world) put(subject, body string, headers ...string) {
	w.t.Helper()
	if _, err := w.js.PublishMsg(w.t.Context(), message(subject, body, headers...)); err != nil {
		w.t.Fatal(err)
	}
}

func message(subject, body string, headers ...string) *nats.Msg {
	m := &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{}}
	for i := 0; i < len(headers); i += 2 {
		m.Header[headers[i]] = append(m.Header[headers[i]], headers[i+1])
	}
	return m
}

// streams is what all streams hold, but for what evil stored as its own jobs.
func (w *world) streams() string {
	w.t.Helper()
	out := ""
	for _, kind := range []string{wire.StreamJobs, wire.StreamSched, wire.StreamWork, wire.StreamLedger, wire.StreamChunks, wire.StreamDead} {
		st, err := w.js.Stream(w.t.Context(), w.s.Stream(kind))
		if err != nil {
			return out + err.Error()
		}
		info, err := st.Info(w.t.Context(), jetstream.WithSubjectFilter(">"))
		if err != nil {
			w.t.Fatal(err)
		}
		maps.DeleteFunc(info.State.Subjects, func(s string, _ uint64) bool { return strings.HasPrefix(s, "sluice.jobs.evil.") })
		cfg, err := json.Marshal(info.Config)
		if err != nil {
			w.t.Fatal(err)
		}
		out += fmt.Sprintf("%s: %v, %d consumers, %s\n", kind, info.State.Subjects, info.State.Consumers, cfg)
	}
	return out
}

package natsd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestOrdinaryClient does everything that a tenant may, with nats.go and
// nothing but user and password.
func TestOrdinaryClient(t *testing.T) {
	for _, k := range guarded() {
		t.Run(k.name, func(t *testing.T) {
			w := k.start(t)
			nc := w.tenant("acme")
			for _, class := range wire.Classes() {
				m, err := nc.Request(w.s.Jobs("acme", class), []byte("{}"), time.Second)
				if err != nil || !strings.Contains(string(m.Data), `"stream":"SLUICE_JOBS"`) {
					t.Fatalf("receipt of a %s job: %v, %v", class, m, err)
				}
			}
			old, err := nc.JetStream()
			if err != nil {
				t.Fatal(err)
			}
			if a, err := old.Publish(w.s.Jobs("acme", wire.Batch), []byte("{}")); err != nil || a.Sequence == 0 {
				t.Errorf("js.Publish: %+v, %v", a, err)
			}
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			large := make([]byte, wire.MaxPayload-1024)
			if a, err := js.Publish(t.Context(), w.s.Jobs("acme", wire.Batch), large); err != nil || a.Sequence == 0 {
				t.Errorf("a job of %d bytes: %+v, %v", len(large), a, err)
			}
			for i := range 100 {
				if _, err := js.PublishAsync(w.s.Jobs("acme", wire.Batch), []byte("{}"), jetstream.WithMsgID(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			}
			<-js.PublishAsyncComplete()
			if n := js.PublishAsyncPending(); n != 0 {
				t.Errorf("%d receipts are missing", n)
			}

			var subs []*nats.Subscription
			for _, subject := range []string{w.s.Records("acme", "*"), w.s.Records("acme", "j1"), w.s.Chunks("acme", "*"), w.s.Chunks("acme", "j1")} {
				sub, err := nc.SubscribeSync(subject)
				if err != nil {
					t.Fatal(err)
				}
				subs = append(subs, sub)
			}
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
			w.job("acme", "j1")
			w.job("evil", "j1")
			for _, sub := range subs {
				for range 2 {
					m, err := sub.NextMsg(time.Second)
					if err != nil || !strings.HasSuffix(m.Subject, ".acme.j1") {
						t.Fatalf("%s: %v, %v", sub.Subject, m, err)
					}
				}
				if m, err := sub.NextMsg(10 * time.Millisecond); err == nil {
					t.Errorf("%s brings a third message, %s", sub.Subject, m.Data)
				}
			}

			for subject, want := range map[string]string{w.s.Records("acme", "j1"): "answer of acme", w.s.Chunks("acme", "j1"): "two of acme"} {
				stream := w.s.Stream(wire.StreamLedger)
				if strings.Contains(subject, "chunks") {
					stream = w.s.Stream(wire.StreamChunks)
				}
				m, err := old.GetLastMsg(stream, subject, nats.DirectGet())
				if err != nil || string(m.Data) != want {
					t.Errorf("the last of %s: %v, %v", subject, m, err)
				}
			}
			for _, subject := range []string{w.s.Status("acme", "j1"), w.s.Cancel("acme", "j1")} {
				m, err := nc.Request(subject, nil, time.Second)
				var a wire.Answer
				if err != nil || json.Unmarshal(m.Data, &a) != nil || a.Job != "j1" || a.Tenant != "acme" {
					t.Errorf("%s: %v, %v", subject, m, err)
				}
			}
			if got := replayed(t, nc, w.s.Replay("acme", "j1"), `{"attempt":1,"index":1}`); got != "two of acme|" {
				t.Errorf("replay: %q", got)
			}
			if got := replayed(t, nc, w.s.Replay("acme", "j1"), `{"of":"records"}`); got != "|answer of acme|" {
				t.Errorf("replay of records: %q", got)
			}
			if err := nc.LastError(); err != nil {
				t.Errorf("the server refused something: %v", err)
			}
		})
	}
}

// replayed asks for a replay as a client of the contract does: replies to an
// inbox until one has the header Sluice-More.
func replayed(t *testing.T, nc *nats.Conn, subject, body string) string {
	t.Helper()
	sub, err := nc.SubscribeSync(nc.NewRespInbox())
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishRequest(subject, sub.Subject, []byte(body)); err != nil {
		t.Fatal(err)
	}
	for got := ""; ; {
		m, err := sub.NextMsg(time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if m.Header.Get("Sluice-More") != "" {
			return got
		}
		got += string(m.Data) + "|"
	}
}

func TestSDK(t *testing.T) {
	for _, k := range guarded() {
		t.Run(k.name, func(t *testing.T) {
			w := k.start(t)
			c, err := sdk.Dial(t.Context(), "", sdk.WithTenant("acme"), sdk.WithKey("acme-key"), sdk.WithNATS(nats.InProcessServer(w.srv)))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			h, err := c.Submit(t.Context(), sdk.Job{Request: sdk.Prompt("chat", "hello"), Stream: true})
			if err != nil {
				t.Fatal(err)
			}
			if a, err := h.Status(t.Context()); err != nil || a.Status != wire.Queued {
				t.Errorf("status %+v, %v", a, err)
			}
			meta := wire.Meta{ID: h.ID(), Tenant: "acme", Class: wire.Standard, Endpoint: wire.ChatCompletions, Route: "chat", Stream: true}
			attempt := &wire.Attempt{N: 1, Pool: "p"}
			w.record(&wire.Record{Status: wire.Running, Entry: wire.Entry{Meta: meta, Attempt: attempt}})
			const n = 600
			for i := range n {
				end := "false"
				if i == n-1 {
					end = "true"
				}
				if err := w.in.PublishMsg(message(w.s.Chunks("acme", h.ID()), `{"choices":[{"index":0,"delta":{"content":"x"}}]}`,
					wire.HeaderAttempt, "1", wire.HeaderIndex, fmt.Sprint(i), wire.HeaderEnd, end)); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.in.Flush(); err != nil {
				t.Fatal(err)
			}
			w.record(&wire.Record{Status: wire.Succeeded, Body: []byte(`{}`), Entry: wire.Entry{Meta: meta, Progress: wire.Progress{Attempts: 1}, Attempt: attempt}})
			if r, err := h.Wait(t.Context()); err != nil || r.Status != wire.Succeeded {
				t.Errorf("result %+v, %v", r, err)
			}
			if text, err := h.Text(t.Context()); err != nil || len(text) != n {
				t.Errorf("%d of %d chunks, %v", len(text), n, err)
			}
			records := 0
			for _, err := range h.Records(t.Context()) {
				if records++; err != nil {
					t.Fatal(err)
				}
			}
			if records != 2 {
				t.Errorf("%d records", records)
			}
			if a, err := h.Cancel(t.Context()); err != nil || a.Status != wire.Succeeded {
				t.Errorf("cancel %+v, %v", a, err)
			}
			if err := c.Conn().LastError(); err != nil {
				t.Errorf("the server refused something: %v", err)
			}
			other, err := sdk.Dial(t.Context(), "", sdk.WithTenant("evil"), sdk.WithConn(c.Conn()))
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if _, err := other.Submit(ctx, sdk.Job{Request: sdk.Prompt("chat", "hello")}); err == nil {
				t.Error("another tenant's job is taken")
			}
		})
	}
}

func (w *world) record(r *wire.Record) {
	w.t.Helper()
	m := &nats.Msg{Subject: w.s.Ledger(r.Entry.Meta.Tenant, r.Entry.Meta.ID), Header: r.Encode(), Data: r.Body}
	if _, err := w.js.PublishMsg(w.t.Context(), m); err != nil {
		w.t.Fatal(err)
	}
}

func TestWrongCredentials(t *testing.T) {
	for _, k := range guarded() {
		t.Run(k.name, func(t *testing.T) {
			w := k.start(t)
			for _, c := range [][2]string{{"", ""}, {"acme", ""}, {"acme", "evil-key"}, {"evil", "acme-key"}, {"nobody", "acme-key"}, {"nobody", ""},
				{"$sluice", ""}, {"$sluice", "acme-key"}, {"sluice", "acme-key"}, {"$G", ""}, {"$SYS", ""}, {"sys", "admin"}, {"ACME", "acme-key"}, {"acme", "acme-key "}} {
				nc, err := nats.Connect(w.srv.ClientURL(), nats.UserInfo(c[0], c[1]))
				if err == nil {
					nc.Close()
				}
				if !errors.Is(err, nats.ErrAuthorization) {
					t.Errorf("%q: %v", c, err)
				}
			}
			for _, opt := range []nats.Option{nats.Name("none"), nats.Token("acme-key")} {
				if _, err := nats.Connect(w.srv.ClientURL(), opt); !errors.Is(err, nats.ErrAuthorization) {
					t.Errorf("without a user: %v", err)
				}
			}
		})
	}
}

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	if cfg.DataDir == "" {
		cfg.DataDir = t.TempDir()
	}
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func setup(t *testing.T, s *Server) jetstream.JetStream {
	t.Helper()
	nc, err := s.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := topology.Ensure(t.Context(), js, topology.Config{}); err != nil {
		t.Fatal(err)
	}
	return js
}

func dial(t *testing.T, s *Server, user, key string, opts ...nats.Option) (*nats.Conn, error) {
	nc, err := nats.Connect(s.Addr(), append([]nats.Option{nats.UserInfo(user, key), nats.ReconnectWait(time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}, opts...)...)
	if err == nil {
		t.Cleanup(nc.Close)
	}
	return nc, err
}

func mustDial(t *testing.T, s *Server, user, key string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := dial(t, s, user, key, opts...)
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	return nc
}

func canSubmit(t *testing.T, nc *nats.Conn, tenant string) {
	t.Helper()
	if _, err := nc.Request(wire.Subjects{}.Jobs(tenant, wire.Batch), []byte("{}"), time.Second); err != nil {
		t.Errorf("%s cannot submit: %v", tenant, err)
	}
}

// Tenants come, go and change their keys while others work on.
func TestSetTenants(t *testing.T) {
	s := start(t, Config{Tenants: both})
	setup(t, s)
	closed := make(chan string, 2)
	gone := func(name string) nats.Option { return nats.ClosedHandler(func(*nats.Conn) { closed <- name }) }
	acme, evil := mustDial(t, s, "acme", "acme-key"), mustDial(t, s, "evil", "evil-key", gone("evil"))
	canSubmit(t, acme, "acme")
	canSubmit(t, evil, "evil")
	if _, err := acme.Request("sluice.jobs.acme.other", []byte("{}"), time.Second); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a class that is none: %v", err)
	}
	stop := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() { // nobody else notices
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := acme.Request("sluice.jobs.acme.batch", []byte("{}"), time.Second); err != nil {
				t.Errorf("job %d: %v", n, err)
				return
			}
		}
	})
	if err := s.SetTenants([]Tenant{{Name: "acme", Key: "acme-key"}, {Name: "evil", Key: "another"}, {Name: "new", Key: "new-key"}}); err != nil {
		t.Fatal(err)
	}
	for n := range 20 { // and again, with as many more
		list := []Tenant{{Name: "acme", Key: "acme-key"}, {Name: "new", Key: "new-key"}}
		for i := range n {
			list = append(list, Tenant{Name: fmt.Sprintf("t%d", i), Key: "k"})
		}
		if err := s.SetTenants(list); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	work.Wait()
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Error("who has another key now stays connected")
	}
	if r := acme.Stats().Reconnects; r != 0 {
		t.Errorf("acme was disconnected %d times", r)
	}
	canSubmit(t, mustDial(t, s, "new", "new-key"), "new")
	canSubmit(t, mustDial(t, s, "t3", "k"), "t3")
	if _, err := dial(t, s, "evil", "another"); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("a tenant that is gone: %v", err)
	}
	// Who comes back finds its account again.
	if err := s.SetTenants(both); err != nil {
		t.Fatal(err)
	}
	canSubmit(t, mustDial(t, s, "evil", "evil-key"), "evil")
	canSubmit(t, acme, "acme")
	if _, err := s.Connect("own"); err != nil {
		t.Errorf("our own part: %v", err)
	}
}

func TestSetTenantsRefuses(t *testing.T) {
	s := start(t, Config{Tenants: both})
	setup(t, s)
	for name, list := range map[string][]Tenant{
		"none at all":      nil,
		"no key":           {{Name: "acme", Key: ""}},
		"a bad name":       {{Name: "a.b", Key: "k"}},
		"a wildcard":       {{Name: "*", Key: "k"}},
		"our own":          {{Name: "$sluice", Key: "k"}},
		"our account":      {{Name: "$G", Key: "k"}},
		"a key's bad name": {{Name: "acme", Key: "k", Keys: []Key{{"a=b", "l"}}}},
		"an empty key":     {{Name: "acme", Key: "k", Keys: []Key{{"ci", ""}}}},
		"a key twice":      {{Name: "acme", Key: "k", Keys: []Key{{"ci", "l"}, {"ci", "m"}}}},
		"a payer":          {{Name: "acme=ci", Key: "k"}},
		"the same twice":   {{Name: "acme", Key: "k"}, {Name: "acme", Key: "l"}},
	} {
		if err := s.SetTenants(list); err == nil {
			t.Errorf("%s is taken", name)
		} else if strings.Contains(err.Error(), "-key") {
			t.Errorf("the error tells a key: %v", err)
		}
		canSubmit(t, mustDial(t, s, "acme", "acme-key"), "acme")
	}
	if _, err := Start(Config{DataDir: t.TempDir(), Tenants: []Tenant{{Name: "acme", Key: ""}}}); err == nil {
		t.Error("a tenant without a key is taken at the start")
	}
	open := start(t, Config{})
	if err := open.SetTenants(nil); err != nil {
		t.Errorf("no tenants as before: %v", err)
	}
	if err := open.SetTenants(both); err == nil {
		t.Error("an open server asks for keys now?")
	}
}

// Without tenants anyone comes in, also with a key.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Config{DataDir: dir})
	setup(t, s)
	canSubmit(t, mustDial(t, s, "acme", "any"), "acme")
	canSubmit(t, mustDial(t, s, "", ""), "globex")
	if _, err := os.Stat(filepath.Join(dir, PasswordFile)); err == nil {
		t.Error("there is a password that nobody needs")
	}
}

// The same data with and without tenants.
func TestTenantsOverRestarts(t *testing.T) {
	dir := t.TempDir()
	var passwords []string
	for i, tenants := range [][]Tenant{nil, both, both, nil, both} {
		s, err := Start(Config{DataDir: dir, Tenants: tenants, Listen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		js := setup(t, s)
		nc := mustDial(t, s, "acme", "acme-key")
		canSubmit(t, nc, "acme")
		st, err := js.Stream(t.Context(), "SLUICE_JOBS")
		if err != nil {
			t.Fatal(err)
		}
		info, err := st.Info(t.Context(), jetstream.WithSubjectFilter("sluice.jobs.>"))
		if n := info.State.Subjects["sluice.jobs.acme.batch"]; err != nil || n != uint64(i+1) {
			t.Errorf("start %d: %d jobs, %v", i, n, err)
		}
		if tenants != nil {
			path := filepath.Join(dir, PasswordFile)
			b, err := os.ReadFile(path)
			fi, _ := os.Stat(path)
			if err != nil || fi.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", fi.Mode(), err)
			}
			passwords = append(passwords, string(b))
			admin := mustDial(t, s, "$sluice", strings.TrimSpace(string(b)))
			if _, err := admin.Request("$JS.API.INFO", nil, time.Second); err != nil {
				t.Errorf("our own user: %v", err)
			}
			if err := os.Chmod(path, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		nc.Close()
		s.Stop()
	}
	if passwords[0] != passwords[1] || passwords[0] != passwords[2] || len(passwords[0]) < 20 {
		t.Error("the password changes, or is short")
	}
}

package sdk

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestDialChecksOptions(t *testing.T) {
	for name, opts := range map[string][]Option{
		"tenant":        {WithTenant("a.b")},
		"no tenant":     {WithTenant("")},
		"prefix":        {WithPrefix("a.*")},
		"no prefix":     {WithPrefix("")},
		"prefix's dots": {WithPrefix("a..b")},
	} {
		if _, err := Dial(t.Context(), "", opts...); CodeOf(err) != wire.CodeInvalidSubject {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := Dial(t.Context(), "", WithTenant("*"), WithPrefix(">"))
	if msg := err.Error(); !strings.Contains(msg, "tenant") || !strings.Contains(msg, "prefix") {
		t.Errorf("not all faults are told: %v", err)
	}
}

func TestDialNobody(t *testing.T) {
	_, err := Dial(t.Context(), "nats://user:secret@127.0.0.1:1")
	if CodeOf(err) != wire.CodeConnection || strings.Contains(err.Error(), "secret") {
		t.Errorf("gives %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("gives %v", err)
	}
}

// nobody is a dialer of a network without servers.
type nobody struct{}

func (nobody) Dial(string, string) (net.Conn, error) { return nil, errors.New("nobody there") }

// FuzzDial: whatever the key in a URL, and whatever is beside it, no error
// shows it.
func FuzzDial(f *testing.F) {
	f.Add("nats", "acme", "", "", "127.0.0.1:4222")
	f.Add("tls", "acme", "p%", "ss", "h:4222,other:4222")
	f.Add("nats", "acme", "12/", "#", "h")
	f.Add("ws", "a@b", "x?", ",", "[::1]:80/path")
	f.Add("", "", " ", ":", "h:port")
	f.Fuzz(func(t *testing.T, scheme, user, before, after, host string) {
		url := scheme + "://" + user + ":" + before + "Geh3im" + after + "@" + host
		_, err := Dial(t.Context(), url, WithNATS(nats.SkipHostLookup(), nats.SetCustomDialer(nobody{}), nats.RetryOnFailedConnect(false)))
		if CodeOf(err) != wire.CodeConnection {
			t.Fatalf("%q: %v", url, err)
		}
		if strings.Contains(err.Error(), "Geh3im") && !strings.Contains(host+scheme, "Geh3im") {
			t.Fatalf("%q: the key is in %v", url, err)
		}
	})
}

func TestDialWrongKey(t *testing.T) {
	b := newServer(t, listening(tenants(serverOptions(t))))
	_, err := Dial(t.Context(), b.srv.ClientURL(), WithTenant("acme"), WithKey("wrong-key"))
	if CodeOf(err) != wire.CodePermission || strings.Contains(err.Error(), "wrong-key") {
		t.Errorf("gives %v", err)
	}
}

func TestDialWithConn(t *testing.T) {
	b := newBroker(t)
	if _, err := Dial(t.Context(), "nats://127.0.0.1", WithConn(b.nc)); CodeOf(err) != wire.CodeInvalidRequest {
		t.Errorf("a URL and a connection give %v", err)
	}
	c, err := Dial(t.Context(), "", WithConn(b.nc))
	if err != nil {
		t.Fatal(err)
	}
	if c.Tenant() != "default" || c.Conn() != b.nc {
		t.Error("not as asked for")
	}
	h, err := c.Submit(t.Context(), ask())
	if err != nil {
		t.Fatal(err)
	}
	if r, err := h.Wait(t.Context()); err != nil || r.Tenant != "default" || h.Tenant() != "default" {
		t.Errorf("result %+v, %v", r, err)
	}
	c.Close()
	c.Close()
	if b.nc.IsClosed() {
		t.Error("Close closed a connection that is not its own")
	}
	if _, err := h.Wait(t.Context()); CodeOf(err) != wire.CodeConnection {
		t.Errorf("a wait after Close gives %v", err)
	}
	if _, err := c.Submit(t.Context(), ask()); CodeOf(err) != wire.CodeConnection {
		t.Errorf("a submission after Close gives %v", err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	b := newBroker(t)
	b.play(func(*testBroker, wire.Job) {})
	c := b.dial()
	h, err := c.Submit(t.Context(), ask())
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 3)
	go func() { _, err := h.Wait(t.Context()); errs <- err }()
	go func() { _, err := h.Text(t.Context()); errs <- err }()
	go func() {
		for _, err := range h.Records(t.Context()) {
			errs <- err
		}
	}()
	time.Sleep(50 * time.Millisecond)
	c.Close()
	for range cap(errs) {
		if err := <-errs; CodeOf(err) != wire.CodeConnection {
			t.Errorf("gives %v", err)
		}
	}
	if _, err := c.Submit(t.Context(), ask()); CodeOf(err) != wire.CodeConnection {
		t.Errorf("a submission after Close gives %v", err)
	}
	for _, err := range c.SubmitMany(t.Context(), repeat(ask(), 2)) {
		if CodeOf(err) != wire.CodeConnection {
			t.Errorf("SubmitMany after Close gives %v", err)
		}
	}
	if n := len(c.watch.jobs); n != 0 || c.watch.n != 0 {
		t.Errorf("%d watches of %d listeners are left", n, c.watch.n)
	}
}

func TestDrain(t *testing.T) {
	b := newServer(t, serverOptions(t))
	b.streams()
	c := b.dial()
	for range c.SubmitMany(t.Context(), repeat(ask(), 1000)) {
		break // the rest is on its way, or was not read
	}
	if err := c.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if !c.nc.IsClosed() {
		t.Error("the client is not closed")
	}
}

func TestPrefix(t *testing.T) {
	b := newServer(t, serverOptions(t))
	b.sub.Prefix = "prod.sluice"
	b.streams()
	b.serve()
	h, err := b.dial(WithPrefix("prod.sluice")).Submit(t.Context(), Job{Request: Prompt("chat", "hi"), Stream: true})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := h.Text(t.Context()); err != nil || text != "hello" {
		t.Errorf("text %q, %v", text, err)
	}
}

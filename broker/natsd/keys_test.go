package natsd

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

// keyed are tenants of whom acme has two named keys.
func keyed(ci, web string) []Tenant {
	return []Tenant{{Name: "acme", Key: "acme-key", Keys: []Key{{"ci", ci}, {"web", web}}}, {Name: "evil", Key: "evil-key", Keys: []Key{{"ci", "evil-ci"}}}}
}

// stored are the subjects of the jobs in the stream since the last call.
func stored(t *testing.T, js jetstream.JetStream) (out []string) {
	t.Helper()
	s, err := js.Stream(t.Context(), "SLUICE_JOBS")
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(t.Context(), jetstream.WithSubjectFilter("sluice.jobs.*.*"))
	if err != nil {
		t.Fatal(err)
	}
	for subject, n := range info.State.Subjects {
		for range n {
			out = append(out, subject)
		}
	}
	if err := s.Purge(t.Context(), jetstream.WithPurgeSubject("sluice.jobs.>")); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestNamedKeys (I5): which of its keys a tenant logs in with says whose budget a
// job is of. The client does nothing else than with the tenant's own key.
func TestNamedKeys(t *testing.T) {
	s := start(t, Config{Tenants: keyed("ci-key", "web-key")})
	js := setup(t, s)
	for key, payer := range map[string]string{"acme-key": "acme", "ci-key": "acme=ci", "web-key": "acme=web"} {
		nc := mustDial(t, s, "acme", key)
		canSubmit(t, nc, "acme")
		if got := stored(t, js); len(got) != 1 || got[0] != "sluice.jobs."+payer+".batch" {
			t.Errorf("submitted with %s: %v", key, got)
		}
		c, err := sdk.Dial(t.Context(), "", sdk.WithConn(nc), sdk.WithTenant("acme"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Submit(t.Context(), sdk.Job{Class: wire.Batch, Body: []byte(`{"model":"m","messages":[1]}`)}); err != nil {
			t.Error(err)
		}
		if got := stored(t, js); len(got) != 1 || got[0] != "sluice.jobs."+payer+".batch" {
			t.Errorf("submitted by the SDK with %s: %v", key, got)
		}
		c.Close()
	}
	for _, c := range [][2]string{{"acme", "evil-ci"}, {"evil", "ci-key"}, {"acme=ci", "ci-key"}, {"acme/ci", "ci-key"}, {"ci", "ci-key"}, {"acme", ""}} {
		if _, err := dial(t, s, c[0], c[1]); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s comes in with %s: %v", c[0], c[1], err)
		}
	}
}

// TestKeysAreNotForged: whoever has one key can submit for no other: not on its
// subject, not by headers, not by having the server answer there.
func TestKeysAreNotForged(t *testing.T) {
	s := start(t, Config{Tenants: keyed("ci-key", "web-key")})
	js := setup(t, s)
	own, err := s.Connect("answers")
	if err != nil {
		t.Fatal(err)
	}
	asked, err := own.SubscribeSync("sluice.status.acme.*")
	if err != nil || own.Flush() != nil {
		t.Fatal(err)
	}
	targets := []string{"acme=web", "acme=ci", "acme=", "acme", "evil=ci", "evil"}
	for key, payer := range map[string]string{"acme-key": "acme", "ci-key": "acme=ci"} {
		nc := mustDial(t, s, "acme", key, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		for _, target := range targets {
			subject := "sluice.jobs." + target + ".batch"
			if err := nc.Publish(subject, []byte(`{}`)); err != nil {
				t.Error(err)
			}
			if err := nc.PublishRequest("sluice.status.acme.j1", subject, nil); err != nil { // the answer goes there
				t.Error(err)
			}
			q, err := asked.NextMsg(5 * time.Second)
			if err != nil || q.Respond([]byte(`{}`)) != nil {
				t.Fatal(err)
			}
		}
		if err := own.Flush(); err != nil {
			t.Fatal(err)
		}
		m := message("sluice.jobs.acme.batch", `{}`, "Sluice-Key", "web", "Sluice-Assignment", `{"j":{"k":"web"}}`)
		if _, err := nc.RequestMsg(m, time.Second); err != nil { // stored, and so is what came before
			t.Error(err)
		}
		got := stored(t, js)
		for _, subject := range got {
			if subject != "sluice.jobs."+payer+".batch" {
				t.Errorf("%s submitted to %s", key, subject)
			}
		}
		if len(got) < 2 {
			t.Errorf("%s: %v, want its own jobs", key, got)
		}
	}
}

// TestKeysChange: a key that is replaced or gone lets nobody stay, and no other
// connection notices; what is read is the tenant's with every key.
func TestKeysChange(t *testing.T) {
	s := start(t, Config{Tenants: keyed("ci-key", "web-key")})
	setup(t, s)
	gone := make(chan string, 10)
	open := map[string]*nats.Conn{}
	for _, key := range []string{"acme-key", "ci-key", "web-key"} {
		open[key] = mustDial(t, s, "acme", key, nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { gone <- key }))
		canSubmit(t, open[key], "acme")
	}
	sub, err := open["web-key"].SubscribeSync("sluice.records.acme.*")
	if err != nil {
		t.Fatal(err)
	}
	other, err := open["web-key"].SubscribeSync("sluice.records.evil.*")
	if err != nil || open["web-key"].Flush() != nil {
		t.Fatal(err)
	}
	if err := s.SetTenants(keyed("ci-new", "web-key")); err != nil {
		t.Fatal(err)
	}
	if key := <-gone; key != "ci-key" {
		t.Errorf("%s was disconnected", key)
	}
	canSubmit(t, open["web-key"], "acme")
	canSubmit(t, open["acme-key"], "acme")
	own, err := s.Connect("own")
	if err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []string{"evil", "acme"} {
		if err := own.Publish("sluice.records."+tenant+".x", nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sub.NextMsg(5 * time.Second); err != nil {
		t.Errorf("a key does not hear its tenant's records: %v", err)
	}
	if n, _, err := other.Pending(); n != 0 || err != nil {
		t.Errorf("a key hears %d records of another tenant (%v)", n, err)
	}
	if err := s.SetTenants(both); err != nil {
		t.Fatal(err)
	}
	if key := <-gone; key != "web-key" {
		t.Errorf("%s was disconnected", key)
	}
	if _, err := dial(t, s, "acme", "web-key"); !errors.Is(err, nats.ErrAuthorization) || strings.Contains(err.Error(), "web-key") {
		t.Errorf("a key that is gone: %v", err)
	}
	select {
	case key := <-gone:
		t.Errorf("%s was disconnected too", key)
	default:
	}
}

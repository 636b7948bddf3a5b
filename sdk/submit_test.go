package sdk

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestSubmitWithoutBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newServer(t, serverOptions(t)).dial()
		start := time.Now()
		h, err := c.Submit(t.Context(), ask())
		if CodeOf(err) != wire.CodeUnavailable || err.(*Error).Job != h.ID() {
			t.Errorf("gives %v", err)
		}
		if d := time.Since(start); d < 2*time.Second || d > 3*time.Second {
			t.Errorf("after %v", d)
		}
		if _, err := h.Cancel(t.Context()); CodeOf(err) != wire.CodeUnavailable {
			t.Errorf("cancel gives %v", err)
		}
		if _, err := h.Status(t.Context()); CodeOf(err) != wire.CodeUnavailable {
			t.Errorf("status gives %v", err)
		}
	})
}

// A broker that comes up a second late is no error.
func TestSubmitWaitsForTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newServer(t, serverOptions(t))
		c := b.dial()
		time.AfterFunc(time.Second, b.streams)
		if _, err := c.Submit(t.Context(), ask()); err != nil {
			t.Error(err)
		}
	})
}

func TestSubmitContext(t *testing.T) {
	c := newServer(t, serverOptions(t)).dial()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Submit(ctx, ask()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("gives %v", err)
	}
}

// A stream that takes the message and loses the acknowledgement: the SDK
// publishes again, and the job is stored once.
func TestSubmitRepeatsAnUnacknowledgedPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newServer(t, serverOptions(t))
		b.streams()
		c := b.dial()
		c.js = &lossyJS{JetStream: c.js, lose: 2}
		h, err := c.Submit(t.Context(), ask())
		if err != nil {
			t.Fatal(err)
		}
		if got := b.stream(wire.StreamJobs).State.Msgs; got != 1 {
			t.Errorf("%d messages for job %s", got, h.ID())
		}
	})
}

// lossyJS loses the acknowledgements of the first publishes, and stalls the
// first asynchronous ones.
type lossyJS struct {
	jetstream.JetStream
	lose, stall int
	refused     int // asynchronous publishes refused as stalled
}

func (l *lossyJS) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ack, err := l.JetStream.PublishMsg(ctx, m, opts...)
	if l.lose > 0 && err == nil {
		l.lose--
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return ack, err
}

func (l *lossyJS) PublishMsgAsync(m *nats.Msg, opts ...jetstream.PublishOpt) (jetstream.PubAckFuture, error) {
	if l.stall > 0 {
		l.stall--
		l.refused++
		return nil, jetstream.ErrTooManyStalledMsgs
	}
	f, err := l.JetStream.PublishMsgAsync(m, opts...)
	if l.lose > 0 && err == nil {
		l.lose--
		return lostFuture(m), nil
	}
	return f, err
}

// lostFuture is what a publish that met a disconnect leaves.
func lostFuture(m *nats.Msg) jetstream.PubAckFuture {
	failed := make(chan error, 1)
	failed <- nats.ErrDisconnected
	return &future{failed: failed, msg: m}
}

type future struct {
	failed chan error
	msg    *nats.Msg
}

func (f *future) Ok() <-chan *jetstream.PubAck { return nil }
func (f *future) Err() <-chan error            { return f.failed }
func (f *future) Msg() *nats.Msg               { return f.msg }

func TestSubmitBacklogFull(t *testing.T) {
	b := newServer(t, serverOptions(t))
	b.streams()
	_, err := b.js.UpdateStream(t.Context(), jetstream.StreamConfig{
		Name: b.sub.Stream(wire.StreamJobs), Subjects: []string{b.sub.Jobs("*", "*")}, Retention: jetstream.WorkQueuePolicy,
		Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, MaxMsgsPerSubject: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	c, full := b.dial(), 0
	for _, err := range c.SubmitMany(t.Context(), repeat(ask(), 5)) {
		if CodeOf(err) == wire.CodeBacklogFull {
			full++
		} else if err != nil {
			t.Error(err)
		}
	}
	if full != 3 {
		t.Errorf("%d of 5 were refused, want 3", full)
	}
	if _, err := c.Submit(t.Context(), ask()); CodeOf(err) != wire.CodeBacklogFull || !err.(*Error).Retryable() {
		t.Errorf("gives %v", err)
	}
}

// tenants makes the server demand keys, with permissions as a broker with
// tenants gives them.
func tenants(o *server.Options) *server.Options {
	s := wire.Subjects{}
	o.Users = []*server.User{
		{Username: "broker", Password: "secret"},
		{Username: "acme", Password: "key", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{
				s.Jobs("acme", ">"), s.Status("acme", "*"), s.Cancel("acme", "*"), s.Replay("acme", "*"),
				"$JS.API.DIRECT.GET." + s.Stream(wire.StreamLedger) + "." + s.Records("acme", "*"),
			}},
			Subscribe: &server.SubjectPermission{Allow: []string{s.Records("acme", "*"), s.Chunks("acme", "*"), "_INBOX.>"}},
		}},
	}
	return o
}

func TestTenantsPermissionsSuffice(t *testing.T) {
	b := newServer(t, tenants(serverOptions(t)))
	b.streams()
	b.serve()
	c := b.dial(WithKey("key"))
	var denied error
	c.nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied = err })
	h, err := c.Submit(t.Context(), Job{Request: Prompt("chat", "hi"), Stream: true})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := h.Wait(t.Context()); err != nil || r.Text() != "hello" {
		t.Errorf("result %+v, %v", r, err)
	}
	if text, err := h.Text(t.Context()); err != nil || text != "hello" {
		t.Errorf("text %q, %v", text, err)
	}
	for _, err := range h.Records(t.Context()) {
		if err != nil {
			t.Error(err)
		}
	}
	if a, err := h.Status(t.Context()); err != nil || a.Status != Succeeded {
		t.Errorf("status %+v, %v", a, err)
	}
	if _, err := h.Cancel(t.Context()); CodeOf(err) != wire.CodeFinished {
		t.Errorf("cancel gives %v", err)
	}
	if denied != nil {
		t.Errorf("the server denied something: %v", denied)
	}
}

// What another tenant may do is denied at once, not by time-out.
func TestDeniedAtOnce(t *testing.T) {
	b := newServer(t, tenants(serverOptions(t)))
	b.streams()
	c := b.dial(WithKey("key"))
	c.tenant = "other"
	start := time.Now()
	if _, err := c.Submit(t.Context(), ask()); CodeOf(err) != wire.CodePermission {
		t.Errorf("submit gives %v", err)
	}
	if _, err := c.Attach("x").Wait(t.Context()); CodeOf(err) != wire.CodePermission {
		t.Errorf("wait gives %v", err)
	}
	if _, err := c.Attach("x").Cancel(t.Context()); CodeOf(err) != wire.CodePermission {
		t.Errorf("cancel gives %v", err)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("after %v", d)
	}
}

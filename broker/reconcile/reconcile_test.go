package reconcile

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/natsd"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

func TestMain(m *testing.M) {
	ats.Register()
	code := m.Run()
	ats.Unregister()
	os.Exit(code)
}

var subjects wire.Subjects

// bubble runs f with a server and its streams under fake time, and a
// reconciler that looks every minute.
func bubble(t *testing.T, f func(ctx context.Context, js jetstream.JetStream)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		srv, err := natsd.Start(natsd.Config{DataDir: dir, Sync: time.Second})
		must(t, err)
		defer srv.Stop()
		nc, err := srv.Connect("test")
		must(t, err)
		defer nc.Close()
		js, err := jetstream.New(nc)
		must(t, err)
		ctx, stop := context.WithCancel(t.Context())
		must(t, topology.Ensure(ctx, js, topology.Config{Subjects: subjects}))
		var wg sync.WaitGroup
		defer func() { stop(); wg.Wait() }()
		r := New(Config{JS: js, Subjects: subjects, Logger: slog.New(slog.DiscardHandler)})
		wg.Go(func() {
			if err := r.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		f(ctx, js)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const ackWait = 30 * time.Second

// TestForgottenMessageIsDeliveredAgain gives judge the count that a stream
// with a forgotten message has: no client can bring a server to forget one.
func TestForgottenMessageIsDeliveredAgain(t *testing.T) {
	bubble(t, func(ctx context.Context, js jetstream.JetStream) {
		stream, err := js.Stream(ctx, subjects.Stream(wire.StreamWork))
		must(t, err)
		create := func() jetstream.Consumer {
			c, err := js.CreateOrUpdateConsumer(ctx, stream.CachedInfo().Config.Name, ledger.WorkConsumerConfig(subjects, "a", 4, ackWait))
			must(t, err)
			return c
		}
		_, err = js.Publish(ctx, subjects.Work("a"), []byte("forgotten"))
		must(t, err)
		q := create().CachedInfo()
		r := New(Config{JS: js, Subjects: subjects, Logger: slog.New(slog.DiscardHandler)})
		look := func(held uint64) bool { // reports whether the queue is still there
			must(t, r.judge(ctx, stream, q, held))
			_, err := js.Consumer(ctx, q.Stream, q.Name)
			return err == nil
		}
		begin := time.Now()
		for ; time.Since(begin) <= 2*ackWait; time.Sleep(20 * time.Second) {
			if !look(2) {
				t.Fatalf("reset after %s, before two ack waits: a message under way looks the same", time.Since(begin))
			}
		}
		look(1) // all are known again: the clock starts anew
		if !look(2) {
			t.Fatal("reset though all messages were known in between")
		}
		time.Sleep(2*ackWait + time.Second)
		if look(2) {
			t.Fatal("not reset after two ack waits")
		}
		m, err := create().Next(jetstream.FetchMaxWait(time.Second))
		must(t, err)
		if string(m.Data()) != "forgotten" {
			t.Fatalf("got %q", m.Data())
		}
		must(t, m.Ack())
	})
}

func TestOrdinaryQueueIsLeftAlone(t *testing.T) {
	bubble(t, func(ctx context.Context, js jetstream.JetStream) {
		c, err := js.CreateOrUpdateConsumer(ctx, subjects.Stream(wire.StreamWork), ledger.WorkConsumerConfig(subjects, "a", 1, ackWait))
		must(t, err)
		for range 5 {
			_, err := js.Publish(ctx, subjects.Work("a"), nil)
			must(t, err)
		}
		m, err := c.Next(jetstream.FetchMaxWait(time.Second))
		must(t, err)
		for range 30 { // ten minutes of a call that is under way
			time.Sleep(20 * time.Second)
			must(t, m.InProgress())
		}
		info, err := c.Info(ctx)
		must(t, err)
		if info.NumAckPending != 1 || info.NumPending != 4 {
			t.Fatalf("%d delivered, %d pending: want 1 and 4, untouched", info.NumAckPending, info.NumPending)
		}
	})
}

package reconcile

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/natsd/natstest"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

func TestMain(m *testing.M) { natstest.Main(m) }

var subjects wire.Subjects

// bubble runs f with a server and its streams under fake time, and a
// reconciler that looks every minute.
func bubble(t *testing.T, f func(ctx context.Context, js jetstream.JetStream)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		js := natstest.JetStream(t, dir)
		ctx, stop := context.WithCancel(t.Context())
		must(t, topology.Ensure(ctx, js, topology.Config{Subjects: subjects, Pins: true})) // only OpenQueue pins
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

// queue makes a pool's queue.
func queue(ctx context.Context, t *testing.T, js jetstream.JetStream) (jetstream.Stream, jetstream.Consumer) {
	t.Helper()
	stream, err := js.Stream(ctx, subjects.Stream(wire.StreamWork))
	must(t, err)
	c, err := stream.CreateOrUpdateConsumer(ctx, ledger.WorkConsumerConfig(subjects, "a", 64, ackWait))
	must(t, err)
	return stream, c
}

// TestForgottenMessageIsDeliveredAgain has the server forget a message, by a
// reset to the sequence behind it.
func TestForgottenMessageIsDeliveredAgain(t *testing.T) {
	bubble(t, func(ctx context.Context, js jetstream.JetStream) {
		stream := subjects.Stream(wire.StreamWork)
		_, c := queue(ctx, t, js)
		ack, err := js.Publish(ctx, subjects.Work("a"), []byte("forgotten"))
		must(t, err)
		_, err = js.ResetConsumerToSequence(ctx, stream, c.CachedInfo().Name, ack.Sequence+1)
		must(t, err)
		next := func() (jetstream.Msg, error) { return c.Next(jetstream.FetchMaxWait(time.Second)) }
		begin := time.Now()
		for ; time.Since(begin) <= 2*ackWait; time.Sleep(20 * time.Second) {
			if m, err := next(); err == nil {
				t.Fatalf("delivered %q after %s, before two ack waits: a message under way looks the same", m.Data(), time.Since(begin))
			}
		}
		time.Sleep(3 * time.Minute) // two looks, and what they cost
		m, err := next()
		must(t, err)
		if string(m.Data()) != "forgotten" {
			t.Fatalf("got %q", m.Data())
		}
		must(t, m.DoubleAck(ctx))
		time.Sleep(5 * time.Minute)
		if m, err := next(); err == nil {
			t.Fatalf("%q is delivered again, though nothing is in the queue", m.Data())
		}
	})
}

// TestForgottenForAMoment gives judge sequences: only what is forgotten in every
// look for two ack waits is delivered again.
func TestForgottenForAMoment(t *testing.T) {
	bubble(t, func(ctx context.Context, js jetstream.JetStream) {
		stream, c := queue(ctx, t, js)
		_, err := js.Publish(ctx, subjects.Work("a"), nil)
		must(t, err)
		m, err := c.Next()
		must(t, err)
		r := New(Config{JS: js, Subjects: subjects, Logger: slog.New(slog.DiscardHandler)})
		look := func(seq uint64) bool { // reports whether the queue was left alone
			must(t, m.InProgress())
			must(t, r.judge(ctx, stream, c.CachedInfo(), seq))
			info, err := c.Info(ctx)
			must(t, err)
			return info.NumAckPending == 1 && info.NumPending == 0
		}
		for range 10 {
			for _, seq := range []uint64{1, 0, 1, 2} { // known in between; another one
				if !look(seq) {
					t.Fatal("reset, though no message was forgotten for two ack waits")
				}
				time.Sleep(20 * time.Second)
			}
		}
		look(1)
		for range 3 {
			time.Sleep(21 * time.Second)
			if !look(1) {
				return
			}
		}
		t.Fatal("not reset after two ack waits")
	})
}

// TestBusyQueueIsLeftAlone looks while jobs come and go behind one that runs.
func TestBusyQueueIsLeftAlone(t *testing.T) {
	bubble(t, func(ctx context.Context, js jetstream.JetStream) {
		stream, c := queue(ctx, t, js)
		_, err := js.Publish(ctx, subjects.Work("a"), nil)
		must(t, err)
		_, err = c.Next() // and it is not acknowledged
		must(t, err)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := js.Publish(ctx, subjects.Work("a"), nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				msgs, err := c.FetchNoWait(16)
				if err != nil {
					t.Error(err)
					return
				}
				for m := range msgs.Messages() {
					_ = m.Ack() // a lost one would be delivered again
				}
			}
		})
		for range 100 {
			seq, err := forgotten(ctx, stream, c.CachedInfo().Name)
			must(t, err)
			if seq != 0 {
				t.Errorf("message %d seems to be forgotten", seq)
			}
		}
		close(stop)
		wg.Wait()
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

// What pins a queue is put back, and is not taken for a forgotten message.
func TestPinIsPutBack(t *testing.T) {
	bubble(t, func(ctx context.Context, js jetstream.JetStream) {
		q, err := ledger.OpenQueue(ctx, js, subjects, wire.StreamWork, ledger.WorkConsumerConfig(subjects, "a", 1, ackWait))
		must(t, err)
		stream, err := js.Stream(ctx, subjects.Stream(wire.StreamWork))
		must(t, err)
		pin := func() uint64 {
			m, err := stream.GetLastMsgForSubject(ctx, ledger.PinOf(q.CachedInfo()))
			must(t, err)
			return m.Sequence
		}
		batch, err := q.FetchNoWait(10)
		must(t, err)
		for m := range batch.Messages() {
			if !subjects.IsPin(m.Subject()) {
				t.Errorf("a message of %s", m.Subject())
			}
		}
		was := pin()
		time.Sleep(10 * time.Minute)
		info, err := q.Info(ctx)
		must(t, err)
		if pin() != was || info.Delivered.Consumer != 1 {
			t.Errorf("after ten minutes the pin is %d, was %d, and %d messages were given out", pin(), was, info.Delivered.Consumer)
		}
		must(t, stream.DeleteMsg(ctx, was))
		time.Sleep(61 * time.Second)
		if pin() == was {
			t.Error("the pin was not put back")
		}
	})
}

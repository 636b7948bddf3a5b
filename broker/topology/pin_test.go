package topology

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/natsd/natstest"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// A pinned queue gives out as many jobs at once as its pool may run, and its
// floor does not move whatever is acknowledged. Nobody sees the difference.
func TestPinnedQueue(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		js, s, ctx := natstest.JetStream(t, dir), wire.Subjects{}, t.Context()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(Ensure(ctx, js, Config{Pins: true}))
		open := func() jetstream.Consumer {
			q, err := ledger.OpenQueue(ctx, js, s, wire.StreamWork, ledger.WorkConsumerConfig(s, "a", 2, 30*time.Second))
			must(err)
			return q
		}
		open()
		q := open() // of two workers; there is one pin
		for range 5 {
			_, err := js.Publish(ctx, s.Work("a"), nil)
			must(err)
		}
		waiting := func(want uint64) {
			t.Helper()
			if n, _, err := Messages(ctx, js, s, wire.StreamWork); err != nil || n != want {
				t.Errorf("%d messages, want %d (%v)", n, want, err)
			}
		}
		waiting(5)
		pin := uint64(0)
		take := func() (jobs []jetstream.Msg) {
			batch, err := q.FetchNoWait(100)
			must(err)
			for m := range batch.Messages() {
				md, err := m.Metadata()
				must(err)
				if s.IsPin(m.Subject()) {
					pin = md.Sequence.Stream
					continue
				}
				jobs = append(jobs, m)
			}
			return jobs
		}
		for want := range slices.Values([]int{2, 2, 1, 0}) {
			jobs := take()
			if len(jobs) != want {
				t.Fatalf("%d jobs at once, want %d", len(jobs), want)
			}
			info, err := q.Info(ctx)
			must(err)
			if n := ledger.Taken(s, info); n != want {
				t.Errorf("%d slots taken, want %d", n, want)
			}
			if info.AckFloor.Stream >= pin {
				t.Errorf("the floor is at %d, the pin at %d", info.AckFloor.Stream, pin)
			}
			for _, m := range jobs {
				must(m.DoubleAck(ctx))
			}
		}
		waiting(0)
		was := pin
		pin = 0
		time.Sleep(31 * time.Second)
		if jobs := take(); len(jobs) != 0 || pin != was {
			t.Errorf("after the ack wait came %d jobs and message %d, want the pin, %d", len(jobs), pin, was)
		}
		// One that is gone is put back.
		stream, err := js.Stream(ctx, s.Stream(wire.StreamWork))
		must(err)
		must(stream.DeleteMsg(ctx, was))
		must(ledger.Pin(ctx, js, s, wire.StreamWork, ledger.WorkConsumer("a")))
		if take(); pin <= was {
			t.Errorf("the new pin is %d, the old one was %d", pin, was)
		}
	})
}

// The queues of a single server are not pinned.
func TestQueueOfOneServer(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		js, s, ctx := natstest.JetStream(t, dir), wire.Subjects{}, t.Context()
		if err := Ensure(ctx, js, Config{}); err != nil {
			t.Fatal(err)
		}
		sources, err := Sources(ctx, js, s)
		if err != nil {
			t.Fatal(err)
		}
		for _, src := range sources {
			info := src.Consumer.CachedInfo()
			if ledger.Pinned(s, info) {
				t.Errorf("queue %s is pinned", info.Name)
			}
			stream, err := js.Stream(ctx, info.Stream)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.GetLastMsgForSubject(ctx, s.Pin(src.kind, info.Name)); !errors.Is(err, jetstream.ErrMsgNotFound) {
				t.Errorf("queue %s has a pin: %v", info.Name, err)
			}
		}
	})
}

// Where streams have replicas, each of the queues' streams has room for pins.
func TestClusterIsPinned(t *testing.T) {
	var s wire.Subjects
	for _, sc := range streams(Config{Replicas: 3}) {
		kind := sc.Name[len(s.Stream("")):]
		if queues := sc.Retention == jetstream.WorkQueuePolicy; queues != slices.Contains(sc.Subjects, s.Pin(kind, "*")) {
			t.Errorf("stream %s of a cluster: queues %v, subjects %v", sc.Name, queues, sc.Subjects)
		}
	}
}

package topology

import (
	"slices"
	"strings"
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
			if n := ledger.Taken(info); n != want {
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
		must(ledger.Pin(ctx, js, stream, ledger.PinOf(q.CachedInfo())))
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
			if pin := ledger.PinOf(src.Consumer.CachedInfo()); pin != "" {
				t.Errorf("queue of %s has the pin %s", src.Class, pin)
			}
		}
	})
}

// A pin is given out by its queue and by no other, is no tenant's, and is found
// among those of its stream.
func TestPinSubjects(t *testing.T) {
	s := wire.Subjects{Prefix: "my.broker"}
	for _, tc := range []struct{ filter, pin, widened, kind string }{
		{s.Jobs("*", wire.Batch), "my.broker.jobs.pin=.batch", s.Jobs("*", wire.Batch), wire.StreamJobs},
		{s.Requeue("*", wire.Batch), "my.broker.requeue.pin=.batch", s.Requeue("*", wire.Batch), wire.StreamSched},
		{s.Backlog(wire.Batch, "r/1", "*"), "my.broker.backlog.batch.r=2F1.pin=", s.Backlog(wire.Batch, "r/1", "*"), wire.StreamJobs},
		{s.Work("a b"), "my.broker.pin=.a=20b", "my.broker.*.a=20b", wire.StreamWork},
	} {
		pin, widened := s.Pin(tc.filter)
		if pin != tc.pin || widened != tc.widened || !s.IsPin(pin) {
			t.Errorf("%s: %s by %s, want %s by %s", tc.filter, pin, widened, tc.pin, tc.widened)
		}
		if !slices.ContainsFunc(s.Pins(tc.kind), func(f string) bool { return matches(pin, f) }) {
			t.Errorf("%s is not among %v", pin, s.Pins(tc.kind))
		}
		if tenant, _, ok := s.SplitJobs(pin); ok && tc.kind != wire.StreamWork {
			t.Errorf("%s is a job of %s", pin, tenant)
		}
		if _, _, _, ok := s.SplitBacklog(pin); ok {
			t.Errorf("%s is a parked job", pin)
		}
	}
	for _, subject := range []string{s.Jobs("acme=ci", wire.Batch), s.Jobs("pin=ci", wire.Batch), s.Work("pin="), s.Work("pin"), s.Jobs("pin", wire.Batch), s.Backlog(wire.Batch, "pin=", "pin")} {
		if s.IsPin(subject) {
			t.Errorf("%s counts as a pin", subject)
		}
	}
}

func matches(subject, filter string) bool {
	a, b := strings.Split(subject, "."), strings.Split(filter, ".")
	return slices.EqualFunc(a, b, func(x, y string) bool { return x == y || y == "*" })
}

// Where streams have replicas, the work stream has room for pins; the others have
// anyway.
func TestClusterIsPinned(t *testing.T) {
	var s wire.Subjects
	for _, c := range []Config{{Replicas: 3}, {Pins: true}, {}} {
		for _, sc := range streams(c) {
			want := sc.Name == s.Stream(wire.StreamWork) && (c.Pins || c.Replicas > 1)
			if got := slices.Contains(sc.Subjects, s.Pins(wire.StreamWork)[0]); got != want {
				t.Errorf("%+v: stream %s has %v", c, sc.Name, sc.Subjects)
			}
		}
	}
}

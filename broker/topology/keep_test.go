package topology

import (
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/natsd/natstest"
	"github.com/sluicehq/sluice/sdk/wire"
)

// However much has gone through a queue, a job that comes and goes makes no new
// file; a queue that stands still is left alone, whoever looks after it; and
// what a process that died left behind goes.
func TestKeepersFollow(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		js, s, ctx := natstest.JetStream(t, dir), wire.Subjects{}, t.Context()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(Ensure(ctx, js, Config{}))
		stream, err := js.Stream(ctx, s.Stream(wire.StreamWork))
		must(err)
		pass := func(size int) { // a job comes and goes
			t.Helper()
			ack, err := js.Publish(ctx, s.Work("a"), make([]byte, size))
			must(err)
			must(stream.DeleteMsg(ctx, ack.Sequence))
		}
		files := func() []string {
			names, err := filepath.Glob(filepath.Join(dir, "nats", "jetstream", "*", "streams", s.Stream(wire.StreamWork), "msgs", "*.blk"))
			must(err)
			slices.Sort(names)
			return names
		}
		last := func() uint64 {
			info, err := stream.Info(ctx)
			must(err)
			return info.State.LastSeq
		}
		kept := func() (n int) {
			t.Helper()
			info, err := stream.Info(ctx, jetstream.WithSubjectFilter(s.Work(keeper)))
			must(err)
			if waiting, _, err := Messages(ctx, js, s, wire.StreamWork); err != nil || waiting != 0 {
				t.Errorf("%d messages wait, want none (%v)", waiting, err)
			}
			return int(info.State.Subjects[s.Work(keeper)])
		}
		for range 7 { // more than a block
			pass(1 << 20)
		}
		before := files()
		if pass(100); slices.Equal(files(), before) {
			t.Fatalf("the file store does not make a new file each time: is there anything to keep? %v", before)
		}

		for i := range time.Duration(3) { // processes that do not look at the same time
			go func() {
				time.Sleep(i * keepEvery / 3)
				if err := KeepBlocks(ctx, js, s); err != nil {
					t.Error(err)
				}
			}()
		}
		time.Sleep(3 * keepEvery)
		was := last()
		time.Sleep(time.Minute)
		if n := last(); n != was {
			t.Errorf("in a minute without jobs %d messages came", n-was)
		}
		before = files()
		for range 50 {
			pass(100)
		}
		if after := files(); len(after) != 1 || !slices.Equal(before, after) {
			t.Errorf("jobs that came and went made files: %v, before %v", after, before)
		}
		if n := kept(); n != 1 {
			t.Errorf("%d keepers, want 1", n)
		}
		was = last()
		for range 100 {
			pass(100)
			time.Sleep(keepEvery / 10)
		}
		if n := last() - was - 100; n < 5 || n > 12 {
			t.Errorf("in 10 s with jobs %d keepers came, want one a second of all processes", n)
		}

		for range 2 { // a process that dies behind its publish, twice
			_, err = js.Publish(ctx, s.Work(keeper), nil)
			must(err)
		}
		if n := kept(); n != 3 {
			t.Errorf("%d keepers, want 3", n)
		}
		pass(100)
		time.Sleep(3 * keepEvery)
		if n := kept(); n != 1 {
			t.Errorf("%d keepers after the next one, want 1", n)
		}
		m, err := stream.GetLastMsgForSubject(ctx, s.Work(keeper))
		must(err)
		must(stream.DeleteMsg(ctx, m.Sequence)) // by somebody who purges the queue
		pass(100)
		time.Sleep(2 * keepEvery)
		if n := kept(); n != 1 {
			t.Errorf("%d keepers after a purge, want 1", n)
		}
	})
}

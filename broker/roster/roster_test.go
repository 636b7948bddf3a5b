package roster

import (
	"context"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/natsd/natstest"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/wire"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// TestReadEnds: a reader that has what it wants ends the watch, and does not take
// its end for a fault, whichever it sees first: a process would not start.
func TestReadEnds(t *testing.T) {
	js := natstest.JetStream(t, t.TempDir())
	if err := topology.Ensure(t.Context(), js, topology.Config{}); err != nil {
		t.Fatal(err)
	}
	r := New(js, wire.Subjects{})
	for n := range 30 {
		ctx, stop := context.WithCancel(t.Context())
		err := r.follow(ctx, func(State) {
			stop()
			time.Sleep(2 * time.Millisecond) // the watch has ended too
		})
		if err != nil {
			t.Fatalf("read %d: %v", n, err)
		}
	}
	if s, err := r.Read(t.Context()); err != nil || len(s.Pools) != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	over, stop := context.WithCancel(t.Context())
	stop()
	if _, err := r.Read(over); err == nil {
		t.Error("a read that was given up has an answer")
	}
}

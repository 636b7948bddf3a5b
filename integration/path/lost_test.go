package path

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestWorkStreamWithoutALeader: many jobs are sent to a work stream that does
// not answer. When it does again, all of them run soon: they are given up
// together, and not each after the time-out of the one before.
func TestWorkStreamWithoutALeader(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: time.Second})
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", concurrency: 200, provider: p}}})
		r.dispatcher("d1")
		synctest.Wait()
		if err := r.js.DeleteStream(t.Context(), r.subj.Stream(wire.StreamWork)); err != nil {
			t.Fatal(err)
		}
		silent, err := r.nc.Subscribe(r.subj.WorkAll(), func(*nats.Msg) {}) // takes work messages and says nothing
		if err != nil {
			t.Fatal(err)
		}
		ids := r.flood(wire.Standard, 100, chat)
		time.Sleep(5 * time.Second)
		if err := silent.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
		if err := topology.Ensure(t.Context(), r.js, topology.Config{Subjects: r.subj}); err != nil {
			t.Fatal(err)
		}
		back := time.Now()
		r.worker("w1")
		r.allSucceed(ids)
		if took := time.Since(back); took > 30*time.Second {
			t.Errorf("the last of %d jobs ran %s after the stream was back", len(ids), took)
		}
		r.empty()
	})
}

// TestStopWithRequestsUnderWay: a process that answers requests stops within
// seconds, also when the streams that it asks do not answer.
func TestStopWithRequestsUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: always(reply{delay: time.Hour})}}})
		control, worker := r.procs[0], r.procs[len(r.procs)-1]
		id := r.publish(chat)
		r.reached(id, wire.Running)
		worker.gate.freeze() // so that the request waits for it
		if err := r.nc.PublishRequest(r.subj.Cancel("acme", id), "nobody", nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		control.gate.freeze()
		began := time.Now()
		control.cancel()
		control.done.Wait()
		near(t, "stopped", time.Since(began), 0, 6*time.Second)
		control.gate.thaw()
		worker.gate.thaw()
	})
}

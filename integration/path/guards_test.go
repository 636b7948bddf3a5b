package path

import (
	"context"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// lose deletes a stream; restore makes what is missing again.
func (r *rig) lose(kind string) {
	r.t.Helper()
	if err := r.js.DeleteStream(r.t.Context(), r.subj.Stream(kind)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) restore() {
	r.t.Helper()
	if err := topology.Ensure(r.t.Context(), r.js, topology.Config{Subjects: r.subj}); err != nil {
		r.t.Fatal(err)
	}
}

// TestRequeueIsLost: an attempt has failed, its record says that the job waits,
// and the message that brings it back cannot be stored. The work message stays,
// and its next delivery queues the job.
func TestRequeueIsLost(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := &script{reply: func(n int, _ string) reply {
			if n == 1 {
				return reply{status: 500, delay: time.Second}
			}
			return reply{}
		}}
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		id := r.publish(chat)
		r.reached(id, wire.Running)
		r.lose(wire.StreamSched)
		r.reached(id, wire.Waiting)
		time.Sleep(5 * time.Second)
		r.restore()
		if res := r.result(id); res.Status != wire.Succeeded || p.count() != 2 {
			t.Errorf("%s after %d calls: %s", res.Status, p.count(), r.steps(id))
		}
		time.Sleep(time.Minute) // copies in the queues go
		r.empty()
	})
}

// TestLedgerAway: a router cannot write how a job ends. The job stays in its
// queue and ends when there is a ledger again.
func TestLedgerAway(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: &script{}}}})
		r.lose(wire.StreamLedger)
		bad, late := r.publish("{"), r.publish(chat, wire.HeaderNotBefore, "20s")
		time.Sleep(time.Minute)
		r.restore()
		if res := r.result(bad); res.Status != wire.Failed || res.Entry.Error != wire.CodeInvalidJSON {
			t.Errorf("a malformed job: %s %s", res.Status, res.Entry.Error)
		}
		if res := r.result(late); res.Status != wire.Succeeded {
			t.Errorf("a delayed job: %s", res.Status)
		}
		time.Sleep(time.Minute)
		r.empty()
	})
}

// TestHeldJobsAreNotDeliveredAgain: jobs that wait in a router's memory for
// longer than the ack wait are not given to another router as well.
func TestHeldJobsAreNotDeliveredAgain(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", concurrency: 1, provider: always(reply{delay: 40 * time.Second})}}})
		r.dispatcher("d2")
		ids := r.flood(wire.Interactive, 12, chat)
		time.Sleep(2 * time.Minute)
		c, err := r.js.Consumer(t.Context(), r.subj.Stream(wire.StreamJobs), "router_"+string(wire.Interactive))
		if err != nil {
			t.Fatal(err)
		}
		if i := c.CachedInfo(); i.NumRedelivered != 0 || i.NumAckPending == 0 {
			t.Errorf("%d jobs in memory, %d delivered again", i.NumAckPending, i.NumRedelivered)
		}
		r.allSucceed(ids)
		r.empty()
	})
}

// TestLiveWorkerIsWaitedFor: the queue has not heard of a running call for
// longer than the ack wait and gives its job to another worker, or to the same
// one again. The first is alive, and its call is the only one.
func TestLiveWorkerIsWaitedFor(t *testing.T) {
	for _, other := range []bool{true, false} {
		bubble(t, func(t *testing.T, dir string) {
			p := always(reply{delay: 20 * time.Second})
			// Within 15 s: under fake time the server's file store expires what
			// it holds at the first look (see ledger.TestVanished).
			r := start(t, setup{dir: dir, ackWait: 6 * time.Second, pools: []pool{{name: "a", provider: p}}})
			w1 := r.procs[len(r.procs)-1]
			id := r.publish(chat)
			r.reached(id, wire.Running)
			alive, done := context.WithCancel(t.Context())
			defer done()
			r.procs[0].done.Go(func() { // its signs of life go another way than its leases
				if err := ledger.Announce(alive, r.js, r.subj, func() ledger.Node { return ledger.Node{Instance: "w1"} }); err != nil {
					t.Error(err)
				}
			})
			if other {
				r.worker("w2")
			}
			time.Sleep(time.Second)
			w1.gate.freeze()
			time.Sleep(11 * time.Second)
			w1.gate.thaw()
			if res := r.result(id); res.Status != wire.Succeeded || p.count() != 1 || r.steps(id) != "running succeeded" {
				t.Errorf("other worker %v: %s with %d calls: %s", other, res.Status, p.count(), r.steps(id))
			}
			done()
			time.Sleep(time.Minute)
			r.empty()
		})
	}
}

// TestPinStays: nobody acknowledges what pins a queue, however often it comes;
// jobs run beside it, as many as their pool may.
func TestPinStays(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, pins: true, pools: []pool{{name: "a", concurrency: 2, provider: always(reply{delay: time.Minute})}}})
		began := time.Now()
		r.allSucceed(r.flood(wire.Interactive, 6, chat))
		if took := time.Since(began); took < 3*time.Minute || took > 4*time.Minute {
			t.Errorf("6 calls of a minute, two at a time, took %s", took)
		}
		time.Sleep(5 * time.Minute)
		queues := 0
		for _, kind := range []string{wire.StreamJobs, wire.StreamSched, wire.StreamWork} {
			stream, err := r.js.Stream(t.Context(), r.subj.Stream(kind))
			if err != nil {
				t.Fatal(err)
			}
			list := stream.ListConsumers(t.Context())
			for q := range list.Info() {
				queues++
				pin, err := stream.GetLastMsgForSubject(t.Context(), ledger.PinOf(q))
				if err != nil {
					t.Errorf("queue %s of %s: %v", q.Name, kind, err)
					continue
				}
				if q.AckFloor.Stream >= pin.Sequence || q.NumAckPending != 1 || q.NumRedelivered != 1 {
					t.Errorf("queue %s of %s: pin %d, %+v", q.Name, kind, pin.Sequence, q)
				}
			}
			if list.Err() != nil {
				t.Error(list.Err())
			}
		}
		if queues != 7 {
			t.Errorf("%d queues, want those of three classes, new and requeued, and the pool's", queues)
		}
		r.empty()
	})
}

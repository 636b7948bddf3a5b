package path

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// TestRollingRestart: routers and workers are replaced one after the other, in
// good order, under load: every job succeeds at its first attempt, no call is
// made twice, and nobody waits longer than usual.
func TestRollingRestart(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: 400 * time.Millisecond})
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", concurrency: 40, provider: p}}})
		routers := []*proc{r.router("r0", nil), r.router("r1", nil)}
		workers := []*proc{r.serve("w0", "a"), r.serve("w1", "a")}
		time.Sleep(time.Second)
		// The load goes on while a process drains.
		done, ids := make(chan struct{}), make(chan string, 10_000)
		go func() {
			defer close(ids)
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				case <-time.After(25 * time.Millisecond):
				}
				if id, err := r.send(r.subj.Jobs("acme", wire.Classes()[n%3]), chat, wire.HeaderJobID, fmt.Sprint("r-", n)); err != nil {
					t.Errorf("publish %s: %v", id, err)
				} else {
					ids <- fmt.Sprint("r-", n)
				}
			}
		}()
		for n := range 8 {
			time.Sleep(3 * time.Second)
			began := time.Now()
			if i := n / 2 % 2; n%2 == 0 {
				next := r.serve(fmt.Sprint("w", n+2), "a")
				workers[i].stop()
				workers[i] = next
			} else {
				next := r.router(fmt.Sprint("r", n+2), nil)
				routers[i].stop()
				routers[i] = next
			}
			near(t, "drained", time.Since(began), 0, time.Second)
		}
		time.Sleep(3 * time.Second)
		close(done)
		jobs := 0
		var waits []time.Duration
		for id := range ids {
			jobs++
			res := r.result(id)
			if got := r.steps(id); got != "running succeeded" {
				t.Errorf("%s: %q", id, got)
			}
			waits = append(waits, res.At.Sub(time.Unix(0, res.Entry.Meta.SubmittedAt)))
		}
		if jobs < 900 || p.count() != jobs {
			t.Errorf("%d calls for %d jobs", p.count(), jobs)
		}
		if longest := slices.Max(waits); longest > time.Second {
			t.Errorf("a job took %s, a call takes 400 ms", longest)
		}
		r.empty()
	})
}

// TestStopWhileJobsArrive: what reaches a router in the moment when it stops is
// given back, so that the next one has it at once and not after the ack wait.
func TestStopWhileJobsArrive(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", concurrency: 500, provider: always(reply{})}}})
		r.worker("w")
		d := r.dispatcher("d0")
		for n := range 50 {
			time.Sleep(time.Second)
			began := time.Now()
			var ids []string
			var sent sync.WaitGroup
			sent.Go(func() { ids = r.flood(wire.Interactive, 200, chat) })
			for range n * 20 {
				runtime.Gosched()
			}
			d.stop()
			sent.Wait()
			d = r.dispatcher(fmt.Sprint("d", n+1))
			r.allSucceed(ids)
			if took := time.Since(began); took > 5*time.Second {
				t.Fatalf("round %d took %s", n, took)
			}
		}
		r.empty()
	})
}

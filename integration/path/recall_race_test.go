package path

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// TestRecallWhileAWorkerBegins: a router takes a job back from a pool's queue,
// and after each message that it sends for that it stands still, while a worker
// begins the job and is killed. The job ends once.
func TestRecallWhileAWorkerBegins(t *testing.T) {
	begun, recalled := 0, 0
	for at := 1; at <= 24; at++ {
		bubble(t, func(t *testing.T, dir string) {
			a := &script{reply: func(n int, _ string) reply {
				return reply{delay: []time.Duration{12 * time.Second, time.Hour, time.Second}[min(n, 3)-1]}
			}}
			r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", concurrency: 1, provider: a}, {name: "b", provider: always(reply{})}}})
			d := r.router("r1", nil)
			w := r.serve("w1", "a")
			time.Sleep(time.Second)
			ids := []string{r.publish(chat)}
			r.reached(ids[0], wire.Running)
			ids = append(ids, r.publish(chat)) // waits behind it
			r.serve("w2", "b")
			time.Sleep(9500 * time.Millisecond)
			d.gate.set(func() { d.gate.halt = d.gate.sent + at })
			time.Sleep(4 * time.Second) // the first one ends, and the worker goes on
			last := r.history(ids[1])
			if n := len(last); n > 0 && last[n-1].Status == wire.Running && last[n-1].Entry.Owner == "w1" {
				begun++
			} else {
				recalled++
			}
			w.gate.kill()
			d.gate.set(func() { d.gate.halt, d.gate.frozen = 0, false })
			r.serve("w3", "a")
			r.allSucceed(ids)
			time.Sleep(2 * time.Minute) // copies in the queues go
			r.history(ids[1])
			r.empty()
		})
		if t.Failed() {
			t.Fatalf("stood still after message %d", at)
		}
	}
	if t.Logf("begun in between %d times, taken back before that %d times", begun, recalled); begun == 0 || recalled == 0 {
		t.Error("the moments are not met")
	}
}

package run

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A crew handles all at once, however many, keeps a bounded number of
// goroutines for later, and leaves none.
func TestCrew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var handled, now, most atomic.Int32
		c := newCrew(func(jetstream.Msg) {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Second)
			now.Add(-1)
			handled.Add(1)
		})
		start := time.Now()
		for round := range 3 {
			for range 5 * maxIdle {
				c.take(nil)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if n := handled.Load(); n != int32(5*maxIdle*(round+1)) || c.idle.Load() != maxIdle {
				t.Errorf("round %d: %d handled, %d idle", round, n, c.idle.Load())
			}
		}
		c.take(nil)
		c.wait()
		if n := handled.Load(); n != 15*maxIdle+1 || time.Since(start) != 4*time.Second || most.Load() != 5*maxIdle {
			t.Errorf("%d handled in %s, at most %d at once", n, time.Since(start), most.Load())
		}
	})
}

package observe

import (
	"time"

	"github.com/sluicehq/sluice/router"
)

// Stall says whether the pool's queue stands still while jobs wait in it: its
// provider hangs, or is very slow. Such a pool is chosen only if there is no
// other.
func (o *Observer) Stall(pool string, stalled bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if p := o.state.pools[pool]; p != nil && p.stalled != stalled {
		p.stalled = stalled
		o.publish(time.Now())
	}
}

// Troubled reports whether jobs that wait in the pool's queue are better off
// elsewhere: its circuit is open, so whoever starts there fails.
func (p *Pool) Troubled(now int64) bool {
	return p.Breaker.At(breakerConfig, now).Circuit == router.Open
}

package ledger

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// TestBackoff: full jitter below a ceiling that doubles, and never past its
// bound.
func TestBackoff(t *testing.T) {
	r := Retries{MaxAttempts: 3, Backoff: 500 * time.Millisecond, BackoffMax: BackoffMax}
	for n, ceiling := range map[int]time.Duration{1: 500 * time.Millisecond, 2: time.Second, 5: 8 * time.Second, 7: 30 * time.Second, 60: 30 * time.Second, 1000: 30 * time.Second} {
		var low, high time.Duration = ceiling, 0
		for range 2000 {
			d := r.Wait(&wire.Progress{}, &wire.Attempt{N: n, Status: wire.Failed}, 0, rand.N[time.Duration])
			low, high = min(low, d), max(high, d)
		}
		if low < 1 || high > ceiling || low > ceiling/20 || high < ceiling*19/20 {
			t.Errorf("attempt %d: %s to %s, want all of 0 to %s", n, low, high, ceiling)
		}
	}
}

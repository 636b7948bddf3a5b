package steer

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// TestRolloutShares: shares are kept, keys only ever go forward as the share
// grows, and an unknown share is none.
func TestRolloutShares(t *testing.T) {
	tab, now := table(t), time.Unix(0, submitted)
	p := New(Config{Rollouts: map[string]*Rollout{"main": {Name: "v2", Key: KeyAffinity, To: "small"}}})
	green := map[string]bool{}
	const n = 10_000
	for _, share := range []int{0, 5, 25, 50, 99, 100} {
		plan, got := p.With(map[string]int{"v2": share, "other": 100}), 0
		for i := range n {
			m := &wire.Meta{Tenant: "acme", Affinity: fmt.Sprintf("u%d", i), Route: "main", Class: wire.Standard}
			c := plan.Steer(tab, m, "", 1, now)
			isGreen := c.Variant == "green"
			if isGreen != (c.Route == "small") || c.Experiment != "v2" || c.Base != "main" {
				t.Fatalf("%+v", c)
			}
			if green[m.Affinity] && !isGreen {
				t.Fatalf("%s went back at %d%%", m.Affinity, share)
			}
			if green[m.Affinity] = isGreen; isGreen {
				got++
			}
		}
		if math.Abs(100*float64(got)/n-float64(share)) > 1.5 || share == 100 && got != n || share == 0 && got != 0 {
			t.Errorf("%d of %d at %d%%", got, n, share)
		}
	}
	if c := p.Steer(tab, meta(), "", 1, now); c.Route != "main" || c.Variant != "blue" {
		t.Errorf("before the share is known: %+v", c)
	}
}

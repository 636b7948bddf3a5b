package observe

import (
	"fmt"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

// doubts asks about a job at pool a after so many failed attempts of its own.
func (f *fold) doubts(job string, own int, now int64) bool {
	t := f.setup.Table
	pool := t.PoolIndex("a")
	s := f.snapshot(now, nil)
	return s.Doubts(pool, t.TargetIndex(pool, "m"), &wire.Meta{Tenant: "acme", ID: job}, &wire.Progress{Attempts: own}, now)
}

// TestDoubts: a job's failures count against it, unless the pool fails others.
func TestDoubts(t *testing.T) {
	f := newTestFold(t, nil)
	now := 1000 * second
	bad := failed(wire.CodeProviderError)
	step := func(want bool, what, job string, own int) {
		t.Helper()
		if got := f.doubts(job, own, now); got != want {
			t.Errorf("%s: %t", what, got)
		}
	}
	step(false, "nothing is known", "x", 0)
	f.record(end("a", "x", bad), now)
	f.record(end("a", "x", bad), now)
	step(false, "the job alone fails", "x", 2)
	step(true, "another one comes", "y", 0)
	f.record(end("a", "y", bad), now)
	step(true, "two fail", "x", 2)
	now += 2 * blameFor
	step(false, "long ago", "x", 2)
	f.record(end("a", "y", bad), now)
	f.record(end("a", "z", nil), now)
	step(false, "a success since", "x", 2)
}

// TestDoubtsByChance: at a pool that fails a share of its calls, as many
// failures as that makes likely are no fault of the job.
func TestDoubtsByChance(t *testing.T) {
	for _, c := range []struct{ fails, least, most int }{{0, 0, 0}, {1, 1, 3}, {3, 5, 6}, {6, 12, 15}} { // of ten calls
		f := newTestFold(t, nil)
		now := 1000 * second
		for i := range 1000 {
			change := failed(wire.CodeProviderError)
			if i%10 >= c.fails {
				change = nil
			}
			f.record(end("a", fmt.Sprint(i), change), now)
			now += second / 10
		}
		own := 0
		for own < 50 && f.doubts("x", own, now) {
			own++
		}
		if own < c.least || own > c.most {
			t.Errorf("%d of 10 calls fail: %d failures are excused, want %d to %d", c.fails, own, c.least, c.most)
		}
	}
}

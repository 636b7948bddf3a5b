package path

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// expireBy checks that jobs end as expired at a time, within a tolerance, and
// only once.
func (r *rig) expireBy(ids []string, at time.Time, tolerance time.Duration) {
	r.t.Helper()
	for _, id := range ids {
		res := r.result(id)
		if late := res.At.Sub(at); res.Status != wire.Expired || late < 0 || late > tolerance {
			r.t.Fatalf("%s: %s %s after its deadline, want expired within %s", id, res.Status, late, tolerance)
		}
		r.history(id)
	}
}

// TestOverdueDeep: jobs far behind what a dispatcher holds in memory expire in
// time, new ones and parked ones, and again after a restart; who has no
// deadline is still there.
func TestOverdueDeep(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		slow, free := always(reply{delay: 10 * time.Minute}), &script{}
		s := setup{dir: dir, held: 64, pools: []pool{
			{name: "slow", concurrency: 1, provider: slow, routes: []string{"slow.route"}},
			{name: "free", provider: free, routes: []string{"free"}}}}
		r := start(t, s)
		began := time.Now()
		kept := r.flood(wire.Batch, 300, routeTo("slow.route"))
		time.Sleep(time.Millisecond) // IDs are of the time
		soon := r.flood(wire.Batch, 300, routeTo("slow.route"), wire.HeaderDeadline, "1m")
		time.Sleep(time.Millisecond)
		later := r.flood(wire.Batch, 300, routeTo("slow.route"), wire.HeaderDeadline, "5m")
		r.expireBy(soon, began.Add(time.Minute), 3*time.Second)
		r.stop()
		r = start(t, s)
		r.allSucceed(r.flood(wire.Batch, 1, routeTo("free"))) // which has the others parked
		if n := r.parked(); n < 100 {
			t.Fatalf("%d jobs are parked, want most of 600", n)
		}
		r.expireBy(later, began.Add(5*time.Minute), 3*time.Second)
		if a := r.status(kept[299]); a.Status != wire.Queued {
			t.Errorf("a job without a deadline is %s", a.Status)
		}
		if n := slow.count(); n > 2 {
			t.Errorf("%d calls, want those of the jobs that were first", n)
		}
	})
}

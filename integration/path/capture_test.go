package path

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// captured is what the captures of a job say, with the recorded decisions.
type captured struct {
	Decisions []struct {
		Attempt  int
		Status   wire.Status
		Reason   wire.Reason
		Decision *wire.Decision
		Capture  *router.Capture
		Missing  string
	}
}

func (r *rig) captures(id string) captured {
	r.t.Helper()
	return ask[captured](r, r.subj.Admin("route.captures"), `{"tenant":"acme","job":"`+id+`"}`)
}

// replayed checks that every decision about a job is made again bit for bit, and
// that a capture which was changed is found out; it returns what they led to,
// such as "running succeeded".
func (r *rig) replayed(id string) (led []string) {
	r.t.Helper()
	got := r.captures(id)
	for i, d := range got.Decisions {
		led = append(led, strings.TrimSuffix(string(d.Status)+":"+string(d.Reason), ":"))
		if d.Capture == nil {
			r.t.Fatalf("job %s: the capture of decision %d (%s) is missing: %s", id, i, led[i], d.Missing)
		}
		replayed, differs, err := router.Verify(d.Capture, d.Decision)
		if err != nil || len(differs) > 0 {
			r.t.Fatalf("job %s, decision %d (%s): %v, %q", id, i, led[i], err, differs)
		}
		if d.Attempt > 0 && replayed.Pool == "" {
			r.t.Errorf("job %s: attempt %d by a decision for nobody", id, d.Attempt)
		}
		d.Capture.Load[0].Depth += 3
		if _, differs, err := router.Verify(d.Capture, d.Decision); err != nil || len(differs) == 0 {
			r.t.Errorf("a changed capture is not found out: %v", err)
		}
	}
	return led
}

// TestEveryDecisionReplays: under load, failures, limits and retries, with two
// routers, every decision is made again from what was captured, bit for bit;
// and a capture that was changed is found out.
func TestEveryDecisionReplays(t *testing.T) {
	for _, strategy := range []string{"least_connections", "power_of_two", "adaptive_weights", "performance", "consistent_hashing", "weighted_round_robin", "cost"} {
		t.Run(strategy, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				flaky := func() *script {
					return &script{reply: func(int, string) reply {
						if rand.IntN(5) == 0 {
							return reply{status: http.StatusInternalServerError, delay: 20 * time.Millisecond}
						}
						return reply{delay: time.Duration(50+rand.IntN(100)) * time.Millisecond}
					}}
				}
				r := start(t, setup{dir: dir, bare: true, strategy: strategy, captures: 1, attempts: 20, pools: []pool{
					{name: "a", concurrency: 4, weight: 3, provider: flaky()}, {name: "b", concurrency: 4, provider: flaky()}, {name: "c", concurrency: 4, unpriced: true, provider: flaky()}}})
				r.router("r1", nil)
				r.router("r2", nil)
				r.serve("w1", "a", "b", "c")
				time.Sleep(time.Second)
				var ids []string
				for i := range 60 {
					ids = append(ids, r.publish(chat, "Sluice-Affinity", string(rune('a'+i%7)), "Sluice-Label-n", strings.Repeat("x", i)))
					time.Sleep(30 * time.Millisecond)
				}
				r.allSucceed(ids)
				time.Sleep(time.Second)
				decisions := 0
				for _, id := range ids {
					led := r.replayed(id)
					if len(led) == 0 {
						t.Fatalf("job %s has no decision", id)
					}
					decisions += len(led)
				}
				if decisions <= len(ids) {
					t.Errorf("%d decisions of %d jobs: no retries among them", decisions, len(ids))
				}
			})
		})
	}
}

// TestCaptureSample: the same share of the jobs is captured whole, whoever
// decides, and in few messages; what is gone is said to be.
func TestCaptureSample(t *testing.T) {
	for share, want := range map[float64][2]int{0: {0, 0}, 0.2: {40, 120}, 1: {400, 400}} {
		bubble(t, func(t *testing.T, dir string) {
			r := start(t, setup{dir: dir, bare: true, captures: share, pools: []pool{{name: "a", concurrency: 64, provider: &script{}}}})
			r.router("r1", nil)
			r.router("r2", nil)
			r.serve("w1", "a")
			time.Sleep(time.Second)
			ids := r.flood(wire.Standard, 400, chat)
			r.allSucceed(ids)
			time.Sleep(time.Second)
			n := 0
			for _, id := range ids {
				if r.captures(id).Decisions[0].Capture != nil {
					n++
				}
			}
			messages := r.streamSeq(wire.StreamCaptures)
			if n < want[0] || n > want[1] || messages > 100 || n > 0 && messages == 0 {
				t.Errorf("%d of 400 jobs are captured at a share of %g, in %d messages", n, share, messages)
			}
			if share < 1 {
				return
			}
			work, err := r.js.Stream(t.Context(), r.subj.Stream(wire.StreamCaptures))
			if err == nil {
				err = work.Purge(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := r.captures(ids[0]).Decisions[0]; d.Capture != nil || !strings.Contains(d.Missing, "not kept any more") {
				t.Errorf("purged, and there: %+v", d)
			}
		})
	}
}

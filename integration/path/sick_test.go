package path

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

const poison = `{"model":"chat","messages":[{"role":"user","content":"poison"}]}`

// TestOnlyPoolFails: while the only pool there is fails every call, or many of
// them, no job fails for that, and there is no storm of calls; when it is well
// again every job runs, and it is in use at once.
func TestOnlyPoolFails(t *testing.T) {
	for name, x := range map[string]struct {
		mood  func(int) reply
		calls int // at most; 0: any number
		pace  time.Duration
		jobs  int
	}{
		"every call is a 500": {func(int) reply { return reply{status: http.StatusInternalServerError, delay: 20 * time.Millisecond} }, 80, time.Second, 120},
		"three of ten calls": {func(int) reply {
			if rand.IntN(10) < 3 {
				return reply{status: http.StatusInternalServerError, delay: 20 * time.Millisecond}
			}
			return reply{delay: 20 * time.Millisecond}
		}, 0, 300 * time.Millisecond, 300},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				a := newMoody(takes(20 * time.Millisecond))
				r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", concurrency: 8, provider: &a.script}}})
				r.router("r1", nil)
				r.router("r2", nil)
				r.serve("w1", "a")
				r.serve("w2", "a")
				time.Sleep(time.Second)
				ids := r.flood(wire.Standard, 30, chat)
				r.allSucceed(ids)
				before := a.count()
				a.set(x.mood)
				ids = nil
				for range x.jobs {
					ids = append(ids, r.publish(chat))
					time.Sleep(x.pace)
				}
				calls := a.count() - before
				t.Logf("%d calls for %d jobs in a bad time", calls, x.jobs)
				if x.calls > 0 && calls > x.calls {
					t.Errorf("%d calls, want at most %d", calls, x.calls)
				}
				a.set(takes(20 * time.Millisecond))
				began := time.Now()
				r.allSucceed(ids)
				near(t, "all done", time.Since(began), 0, 30*time.Second)
				r.empty()
			})
		})
	}
}

// TestPoison: a job that a well pool fails is dead after its attempts, and one
// that a bad pool fails too, if later; the jobs beside it are not.
func TestPoison(t *testing.T) {
	for name, x := range map[string]struct {
		fails int // of ten calls
		most  int // attempts of the job
	}{"at a well pool": {0, 3}, "at a bad pool": {3, 20}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				a := &script{reply: func(_ int, body string) reply {
					if strings.Contains(body, "poison") || rand.IntN(10) < x.fails {
						return reply{status: http.StatusInternalServerError}
					}
					return reply{delay: 50 * time.Millisecond}
				}}
				r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", concurrency: 8, provider: a}}})
				r.router("r1", nil)
				r.serve("w1", "a")
				time.Sleep(time.Second)
				var ids []string
				bad := ""
				for i := range 300 {
					if i == 100 {
						bad = r.publish(poison)
					}
					ids = append(ids, r.publish(chat))
					time.Sleep(100 * time.Millisecond)
				}
				r.allSucceed(ids)
				res := r.result(bad)
				if n := res.Entry.Progress.Attempts; res.Status != wire.Failed || n < 3 || n > x.most {
					t.Errorf("%s after %d attempts: %s", res.Status, n, r.steps(bad))
				}
			})
		})
	}
}

// TestRetryBudget: retries are a share of the traffic, whatever fails.
func TestRetryBudget(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		a := &script{reply: func(_ int, body string) reply {
			if strings.Contains(body, "poison") {
				return reply{status: http.StatusInternalServerError}
			}
			return reply{}
		}}
		r := start(t, setup{dir: dir, bare: true, attempts: 50, budget: 0.1, pools: []pool{{name: "a", concurrency: 2, provider: a}}})
		r.router("r1", nil)
		r.serve("w1", "a")
		time.Sleep(time.Second)
		var ids []string
		for i := range 400 {
			body := chat
			if i%10 == 5 {
				body = poison
			}
			if id := r.publish(body); body == chat {
				ids = append(ids, id)
			}
			time.Sleep(100 * time.Millisecond)
		}
		retries := a.count() - 400
		t.Logf("%d retries in 40 s", retries)
		if retries > 62 || retries < 50 { // the least that is allowed, or a tenth of 400
			t.Errorf("%d retries, want 60", retries)
		}
		r.allSucceed(ids)
	})
}

// TestWrongKey: what waiting does not mend counts, however many jobs fail for
// it, so that somebody hears of it.
func TestWrongKey(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		a := always(reply{status: http.StatusUnauthorized})
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: a}}})
		r.router("r1", nil)
		r.serve("w1", "a")
		time.Sleep(time.Second)
		for _, id := range r.flood(wire.Standard, 4, chat) {
			if res := r.result(id); res.Status != wire.Failed || res.Entry.Error != wire.CodeProviderAuth {
				t.Errorf("%s/%s", res.Status, res.Entry.Error)
			}
		}
	})
}

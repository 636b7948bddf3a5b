package path

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// onlyOnce checks that no attempt was made twice, and that no job ran again
// while an earlier call for it was still under way.
func onlyOnce(t *testing.T, pools ...*script) {
	t.Helper()
	seen := map[string]int{}
	for _, s := range pools {
		for _, c := range s.seen() {
			if seen[c.Key]++; seen[c.Key] > 1 {
				t.Errorf("the attempt %s was made %d times", c.Key, seen[c.Key])
			}
		}
	}
}

// TestHungProvider: a provider that stops answering holds only what it has
// begun. What waits in its queue goes elsewhere, and it is avoided, although no
// call of it has failed; when its calls end in time-outs their jobs run
// elsewhere too, and when it is well it is used again.
func TestHungProvider(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		a, b, c := newMoody(takes(100*time.Millisecond)), always(reply{delay: 100 * time.Millisecond}), always(reply{delay: 100 * time.Millisecond})
		r := start(t, setup{dir: dir, bare: true, strategy: "round_robin", timeout: time.Minute, pools: []pool{
			{name: "a", concurrency: 4, provider: &a.script}, {name: "b", concurrency: 4, provider: b}, {name: "c", concurrency: 4, provider: c}}})
		r.router("r1", nil)
		r.router("r2", nil)
		r.serve("w1", "a", "b", "c")
		time.Sleep(time.Second)
		var ids []string
		var began []time.Time
		run := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				ids, began = append(ids, r.publish(chat)), append(began, time.Now())
			}
		}
		run(5 * time.Second)
		a.set(takes(24 * time.Hour))
		hung, first := time.Now(), len(ids)
		run(40 * time.Second)
		held := 0
		var late []time.Duration
		for i, id := range ids {
			last, err := r.led.Last(t.Context(), "acme", id)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case i < first:
			case last == nil || last.Status != wire.Succeeded:
				held++
			case began[i].After(hung.Add(12 * time.Second)):
				late = append(late, last.At.Sub(began[i]))
			}
		}
		slices.Sort(late)
		t.Logf("%d jobs held by the hung provider; p99 of the %d later ones %s", held, len(late), late[len(late)*99/100])
		if held > 6 { // its slots, and what was just published
			t.Errorf("%d jobs wait for a provider with 4 slots", held)
		}
		if p99 := late[len(late)*99/100]; p99 > 300*time.Millisecond {
			t.Errorf("p99 %s from 12 s after, want about 100 ms", p99)
		}
		a.set(takes(100 * time.Millisecond))
		time.Sleep(time.Minute) // the engine gives up its calls
		before := a.count()
		run(20 * time.Second)
		if n := a.count() - before; n < 60 {
			t.Errorf("%d of 400 calls go to the pool that is well again", n)
		}
		r.allSucceed(ids)
		onlyOnce(t, &a.script, b, c)
		r.empty()
	})
}

// TestRecallOnOpenCircuit: when a pool's circuit opens, what waits in its queue
// goes elsewhere instead of failing there one after the other.
func TestRecallOnOpenCircuit(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		n := 0
		slow := &script{reply: func(int, string) reply { // the first five fail at once, others would take long to
			if n++; n <= 5 {
				return reply{status: http.StatusInternalServerError}
			}
			return reply{status: http.StatusInternalServerError, delay: 20 * time.Second}
		}}
		good := always(reply{delay: 100 * time.Millisecond})
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", weight: 1000, concurrency: 8, provider: slow}, {name: "b", concurrency: 8, provider: good}}})
		r.router("r1", nil)
		r.serve("w1", "a", "b")
		time.Sleep(time.Second)
		began := time.Now()
		ids := r.flood(wire.Standard, 12, chat)
		time.Sleep(5 * time.Second)
		if n := slow.count(); n > 5+8 {
			t.Errorf("%d calls of the pool whose circuit is open, want 13: its slots are taken by slow failures", n)
		}
		r.allSucceed(ids)
		near(t, "all done", time.Since(began), 20*time.Second, 10*time.Second)
		onlyOnce(t, slow, good)
		r.empty()
	})
}

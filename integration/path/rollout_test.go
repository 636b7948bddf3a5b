package path

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/rollout"
	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/sdk/wire"
)

// blueGreen is a route with two versions, under traffic over two routers.
type blueGreen struct {
	r        *rig
	green    *moody
	watchers []*rollout.Watcher
	stop     chan struct{}
	traffic  sync.WaitGroup
	ids      []string
}

var rolloutSpec = rollout.Spec{Name: "v2", Steps: []int{20, 50, 100}, Every: time.Minute, MinSamples: 20, MaxErrors: 0.1, MaxSlowdown: 0.5}

// startBlueGreen runs 5 jobs a second until end is called.
func startBlueGreen(t *testing.T, dir string) *blueGreen {
	x := &blueGreen{green: newMoody(takes(100 * time.Millisecond)), stop: make(chan struct{})}
	x.r = start(t, setup{dir: dir, bare: true, attempts: 10, pools: []pool{{name: "b", concurrency: 16, provider: always(reply{delay: 100 * time.Millisecond})},
		{name: "g", concurrency: 16, provider: &x.green.script, only: true, routes: []string{"chat-v2"}}}})
	plan := steer.New(steer.Config{Rollouts: map[string]*steer.Rollout{"chat": {Name: "v2", Key: steer.KeyJob, To: "chat-v2"}},
		Fallbacks: map[string][]steer.Step{"chat": {{Route: "chat"}}}})
	for i := range 2 {
		p := x.r.router(fmt.Sprintf("r%d", i), nil)
		w := rollout.New(rollout.Config{JS: p.jetstream(t), Logger: x.r.log, Tail: p.observer.Tail(),
			Apply: func(shares map[string]int) { p.dispatcher.SetPlan(plan.With(shares)) }}, []rollout.Spec{rolloutSpec})
		x.watchers = append(x.watchers, w)
		p.goRun(x.r, w.Run)
	}
	x.r.serve("w1", "b", "g")
	time.Sleep(3 * time.Second)
	x.traffic.Go(func() {
		for {
			select {
			case <-x.stop:
				return
			case <-time.After(200 * time.Millisecond):
				x.ids = append(x.ids, x.r.publish(chat))
			}
		}
	})
	return x
}

// end stops the traffic and counts the jobs by the version that they had; every
// one must have succeeded.
func (x *blueGreen) end() map[string]int {
	close(x.stop)
	x.traffic.Wait()
	jobs := map[string]int{}
	for _, id := range x.ids {
		res := x.r.result(id)
		if res.Status != wire.Succeeded {
			x.r.t.Errorf("%s: %s %s", id, res.Status, res.Body)
		}
		first := x.r.attempts(id)[0].Decision
		if first.Experiment != "v2" || first.Variant == rollout.Green != (first.Pool == "g") && first.Fallback == 0 {
			x.r.t.Errorf("%s: %+v", id, first)
		}
		jobs[first.Variant]++
	}
	return jobs
}

// phase waits for a phase, which all routers must then agree on.
func (x *blueGreen) phase(want rollout.Phase, within time.Duration) rollout.Status {
	x.r.t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(time.Second) {
		st, _ := x.watchers[0].Status("v2")
		if st.State.Phase != want {
			continue
		}
		time.Sleep(time.Second)
		for i, w := range x.watchers {
			if other, _ := w.Status("v2"); other.State != st.State || other.Share != st.Share {
				x.r.t.Errorf("router %d says %+v, the first %+v", i, other.State, st.State)
			}
		}
		return st
	}
	st, _ := x.watchers[0].Status("v2")
	x.r.t.Fatalf("not %s within %s, but %+v", want, within, st)
	return st
}

// TestRolloutArrives: by its steps, and the share of jobs follows.
func TestRolloutArrives(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		x := startBlueGreen(t, dir)
		began := time.Now()
		x.phase(rollout.Done, 10*time.Minute)
		near(t, "three steps", time.Since(began), 175*time.Second, 30*time.Second)
		before := x.green.count()
		time.Sleep(10 * time.Second)
		if n := x.green.count() - before; n < 45 {
			t.Errorf("%d of 50 jobs at green when all go there", n)
		}
		if jobs := x.end(); jobs[rollout.Blue] < 300 || jobs[rollout.Green] < 300 {
			t.Errorf("%v", jobs)
		}
	})
}

// TestRolloutGoesBack: a version that begins to fail in the middle has no
// traffic soon after, at any router, and no job is lost; a switch and a return
// by hand are at once.
func TestRolloutGoesBack(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		x := startBlueGreen(t, dir)
		time.Sleep(90 * time.Second) // half of the jobs are at green
		fails := func(n int) reply { return reply{status: http.StatusBadRequest + 100, delay: 100 * time.Millisecond} }
		x.green.set(fails)
		failing := time.Now()
		st := x.phase(rollout.RolledBack, 2*time.Minute)
		if took := time.Since(failing); took > 30*time.Second || st.Share != 0 || st.State.Reason == "" {
			t.Errorf("rolled back after %s: %+v", took, st)
		}
		time.Sleep(2 * time.Second)
		before := x.green.count()
		time.Sleep(10 * time.Second)
		if n := x.green.count() - before; n != 0 {
			t.Errorf("%d calls of green after the roll-back", n)
		}
		x.green.set(takes(100 * time.Millisecond))
		if _, err := x.watchers[1].Do(t.Context(), "v2", rollout.Switch); err != nil {
			t.Fatal(err)
		}
		x.phase(rollout.Done, 3*time.Second)
		time.Sleep(40 * time.Second) // circuits close again
		before = x.green.count()
		time.Sleep(10 * time.Second)
		if n := x.green.count() - before; n < 45 {
			t.Errorf("%d of 50 jobs at green after the switch", n)
		}
		if _, err := x.watchers[0].Do(t.Context(), "v2", rollout.Back); err != nil {
			t.Fatal(err)
		}
		x.phase(rollout.RolledBack, 3*time.Second)
		if _, err := x.watchers[0].Do(t.Context(), "v2", rollout.Resume); err == nil {
			t.Error("what is rolled back was resumed")
		}
		if _, err := x.watchers[0].Do(t.Context(), "other", rollout.Back); err == nil {
			t.Error("a rollout that is none")
		}
		x.end()
	})
}

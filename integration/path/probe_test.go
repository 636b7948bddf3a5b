package path

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
	"github.com/sluicehq/sluice/workers/probe"
)

// prober adds a prober of the named pools to a process, every 5 s.
func (r *rig) prober(p *proc, name string, pools ...string) {
	r.t.Helper()
	var probed []probe.Pool
	for _, x := range r.setup.pools {
		for _, want := range pools {
			if x.name != want {
				continue
			}
			e, err := engine.New(engine.Config{Pool: x.name, Adapter: "openai", Transport: x.provider})
			if err != nil {
				r.t.Fatal(err)
			}
			probed = append(probed, probe.Pool{Name: x.name, Endpoint: e, Interval: 5 * time.Second, Timeout: 2 * time.Second, Model: "m-" + x.name, Price: testPrice})
		}
	}
	p.goRun(r, probe.New(probe.Config{JS: p.jetstream(r.t), Subjects: r.subj, Logger: r.log, Instance: name, Pools: probed}).Run)
}

// probes counts a provider's calls that were probes.
func (s *script) probes() (n int) {
	for _, c := range s.seen() {
		if strings.Contains(c.Key, "-probe-") {
			n++
		}
	}
	return n
}

// TestProbes: of three workers one makes each probe; a pool whose probes fail,
// or hang, takes no jobs, so none fails there; it is used again when they
// succeed. Probes are in no record, and their cost is told.
func TestProbes(t *testing.T) {
	for name, down := range map[string]func(int) reply{
		"500":   func(int) reply { return reply{status: http.StatusInternalServerError} },
		"hangs": takes(time.Hour),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				a, b := newMoody(takes(10*time.Millisecond)), &script{}
				r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", weight: 1000, provider: &a.script}, {name: "b", provider: b}}})
				router := r.router("r1", nil)
				for _, w := range []string{"w1", "w2", "w3"} {
					r.prober(r.serve(w, "a", "b"), w, "a")
				}
				time.Sleep(60 * time.Second)
				if n := a.probes(); n < 11 || n > 13 {
					t.Errorf("%d probes in a minute, want one each 5 s", n)
				}
				if b.count() != 0 {
					t.Error("a pool is probed that shall not be")
				}
				a.set(down)
				time.Sleep(30 * time.Second)
				health := router.observer.Health()["a"]
				if p := health.Probe; !health.Unhealthy || p.Probes < 16 || p.Failures < 3 || p.Cost < 11*16_000 {
					t.Errorf("%+v, probe %+v", health, p)
				}
				before := a.count() - a.probes()
				ids := r.flood(wire.Standard, 20, chat)
				r.allSucceed(ids)
				for _, id := range ids {
					if got := r.steps(id); got != "running succeeded" {
						t.Errorf("%s", got)
					}
				}
				if n := a.count() - a.probes() - before; n != 0 {
					t.Errorf("%d calls of a pool whose probes fail", n)
				}
				a.set(takes(10 * time.Millisecond))
				time.Sleep(25 * time.Second)
				if r.allSucceed(r.flood(wire.Standard, 20, chat)); a.count()-a.probes() == before {
					t.Error("a pool that is well again is not used")
				}
				if n := r.streamSeq(wire.StreamLedger); n != 80 {
					t.Errorf("%d records, want two for each of 40 jobs", n)
				}
			})
		})
	}
}

// TestProbeFreshness: the word of a prober that is gone does not hold for ever.
func TestProbeFreshness(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		a := newMoody(func(int) reply { return reply{status: http.StatusInternalServerError} })
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: &a.script}}})
		router := r.router("r1", nil)
		r.serve("w1", "a")
		p := r.proc("prober")
		r.prober(p, "prober", "a")
		time.Sleep(30 * time.Second)
		p.stop()
		a.set(takes(0))
		if !router.observer.Health()["a"].Unhealthy {
			t.Error("not unhealthy")
		}
		r.router("r2", nil) // learns it
		began := time.Now()
		r.allSucceed([]string{r.publish(chat)})
		near(t, "answer", time.Since(began), 10*time.Second, 20*time.Second)
	})
}

// TestProbeCutOff: a probe that the worker's own stop cuts off is no failure.
func TestProbeCutOff(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		a := newMoody(takes(0))
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: &a.script}}})
		router := r.router("r1", nil)
		p := r.proc("prober")
		r.prober(p, "prober", "a")
		time.Sleep(7 * time.Second)
		a.set(takes(time.Second))
		time.Sleep(3*time.Second + 500*time.Millisecond) // in the middle of the third
		p.stop()
		time.Sleep(time.Second)
		if got := router.observer.Health()["a"].Probe; got.Probes != 2 || got.Failures != 0 || a.count() != 3 {
			t.Errorf("%+v after %d calls", got, a.count())
		}
	})
}

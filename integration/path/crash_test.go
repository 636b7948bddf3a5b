package path

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// TestHeartbeats: a call of 10 minutes is made once, though another worker
// waits for the job all the time. (With one worker a missing heartbeat would
// stay hidden.)
func TestHeartbeats(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: 599 * time.Second})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		r.worker("w2")
		id := r.publish(chat)
		res := r.result(id)
		if res.Status != wire.Succeeded || p.count() != 1 || r.steps(id) != "running succeeded" {
			t.Errorf("%q, %d calls", r.steps(id), p.count())
		}
		r.empty()
	})
}

// dies is how a worker can be lost.
var dies = map[string]func(p *proc){
	"killed": func(p *proc) { p.gate.kill() },
	"cut off, back later": func(p *proc) {
		p.gate.freeze()
		time.AfterFunc(100*time.Second, p.gate.thaw)
	},
}

// TestLostWorker: the attempt of a worker that is lost becomes an interrupted
// record with an estimated cost, another worker makes the next attempt, and
// the lost one's late end is refused.
func TestLostWorker(t *testing.T) {
	for name, die := range dies {
		for _, streamed := range []string{"false", "true"} {
			t.Run(name+", stream "+streamed, func(t *testing.T) {
				bubble(t, func(t *testing.T, dir string) {
					p := &script{reply: func(n int, _ string) reply {
						rep := reply{delay: 90 * time.Second}
						if n > 1 {
							rep.delay = 30 * time.Second
						}
						if streamed == "true" {
							rep = reply{events: words("one ", "two ", "three"), every: rep.delay / 3}
						}
						return rep
					}}
					r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
					w1 := r.procs[len(r.procs)-1]
					began := time.Now()
					id := r.publish(chat, wire.HeaderStream, streamed)
					r.reached(id, wire.Running)
					r.worker("w2")
					time.Sleep(50 * time.Second)
					die(w1)
					res := r.result(id)
					time.Sleep(10 * time.Minute) // the lost one ends, and gives up
					if got := r.steps(id); got != "running waiting/retry(interrupted) running succeeded" {
						t.Fatalf("history %q", got)
					}
					h := r.history(id)
					cut, last := h[1].Entry.Attempt, res.Entry.Attempt
					if cut.N != 1 || cut.ErrorCode != wire.CodeInterrupted || cut.Source != wire.UsageEstimated || cut.Cost == nil || *cut.Cost == 0 {
						t.Errorf("interrupted attempt: %+v", cut)
					}
					if streamed == "true" && cut.Usage.Output != 1 { // one word at 30 s
						t.Errorf("estimated output %d, want 1 chunk", cut.Usage.Output)
					}
					if h[0].Entry.Owner != "w1" || h[2].Entry.Owner != "w2" || last.N != 2 {
						t.Errorf("owners %s and %s", h[0].Entry.Owner, h[2].Entry.Owner)
					}
					near(t, "noticed", h[1].At.Sub(began), 60*time.Second, 25*time.Second)
					if p.count() != 2 {
						t.Errorf("%d calls, want 2", p.count())
					}
					if spent := res.Entry.Progress.Spent; spent != *cut.Cost+*last.Cost {
						t.Errorf("spent %d, want %d and %d", spent, *cut.Cost, *last.Cost)
					}
					r.empty()
				})
			})
		}
	}
}

// TestLostWorkerOfPackedChunks: every event that was published counts, also those
// that went together, and the stream is closed behind the last.
func TestLostWorkerOfPackedChunks(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{events: words("a", "b", "c", "d", "e", "f", "g", "h"), every: 30 * time.Second, burst: 4})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		w1 := r.procs[len(r.procs)-1]
		id := r.publish(chat, wire.HeaderStream, "true", wire.HeaderPack, "true")
		r.reached(id, wire.Running)
		r.worker("w2")
		time.Sleep(50 * time.Second)
		w1.gate.kill()
		r.result(id)
		if cut := r.history(id)[1].Entry.Attempt; cut.ErrorCode != wire.CodeInterrupted || cut.Usage.Output != 4 {
			t.Errorf("%+v, want 4 chunks", cut)
		}
		stored := r.chunks(id)
		checkChunks(t, stored, 2)
		if len(stored) < 5 || stored[4].attempt != 1 || !stored[4].end || !strings.Contains(stored[4].data, "interrupted") {
			t.Errorf("chunks %+v", stored)
		}
		r.empty()
	})
}

// TestLostWorkerAfterDeadline: the deadline passes while nobody holds the job.
func TestLostWorkerAfterDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: 90 * time.Second})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		w1 := r.procs[len(r.procs)-1]
		id := r.publish(chat, wire.HeaderDeadline, "20s")
		r.reached(id, wire.Running)
		r.worker("w2")
		w1.gate.kill()
		res := r.result(id)
		if res.Status != wire.Expired || r.steps(id) != "running expired(interrupted)" || p.count() != 1 {
			t.Errorf("%q, %d calls", r.steps(id), p.count())
		}
		r.empty()
	})
}

// TestLostWorkerOfCancelledJob: the wish to cancel outlives the worker.
func TestLostWorkerOfCancelledJob(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: 90 * time.Second})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		w1 := r.procs[len(r.procs)-1]
		id := r.publish(chat)
		r.reached(id, wire.Running)
		r.worker("w2")
		w1.gate.kill()
		if a := r.cancelJob(id); a.Status != wire.Running || a.Reason != wire.ReasonCancel {
			t.Errorf("cancel answers %+v", a)
		}
		if res := r.result(id); res.Status != wire.Cancelled || res.Entry.Attempt.Status != wire.Interrupted || p.count() != 1 {
			t.Errorf("%q, %d calls", r.steps(id), p.count())
		}
		r.empty()
	})
}

// TestWorkerDies: how often a job may be cut before it is dead is bounded.
func TestWorkerDiesAgainAndAgain(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		var victim *proc
		kill := func(int, string) reply {
			time.AfterFunc(time.Second, victim.gate.kill)
			return reply{delay: time.Hour}
		}
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: &script{reply: kill}}}})
		r.dispatcher("d1")
		id := r.publish(chat)
		for n := range 12 {
			victim = r.worker(fmt.Sprint("w", n))
			time.Sleep(2 * time.Minute)
		}
		res := r.result(id)
		if res.Status != wire.Failed || res.Entry.Error != wire.CodeInterrupted || res.Entry.Progress.Cuts != 11 {
			t.Errorf("%s/%s after %d cuts", res.Status, res.Entry.Error, res.Entry.Progress.Cuts)
		}
		if list := r.admin("dead.list", ""); !bytes.Contains([]byte(text(list)), []byte(id)) {
			t.Errorf("not in the dead letters: %v", list)
		}
	})
}

// TestDrain: a worker that is stopped lets its calls finish, hands back what
// does not finish in time, and takes nothing new.
func TestDrain(t *testing.T) {
	for name, c := range map[string]struct {
		delay time.Duration
		steps string
	}{
		"finishes": {20 * time.Second, "running succeeded"},
		"cut off":  {5 * time.Minute, "running waiting/retry(interrupted) running succeeded"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				p := always(reply{delay: c.delay})
				r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
				w1 := r.procs[len(r.procs)-1]
				id := r.publish(chat)
				r.reached(id, wire.Running)
				r.worker("w2")
				time.Sleep(10 * time.Second)
				began := time.Now()
				w1.stop()
				if d := time.Since(began); d > 31*time.Second {
					t.Errorf("stopped after %s", d)
				}
				r.result(id)
				if got := r.steps(id); got != c.steps {
					t.Errorf("history %q, want %q", got, c.steps)
				}
				r.empty()
			})
		})
	}
}

// TestRestart: everything is stopped in the middle of the work and starts
// again on the same data. Nothing is lost, nothing ends twice.
func TestRestart(t *testing.T) {
	for name, stop := range map[string]func(r *rig){
		"in good order": func(r *rig) { r.stop() },
		"killed": func(r *rig) {
			for _, p := range r.procs {
				p.gate.kill()
			}
			r.stop()
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				p := always(reply{delay: 5 * time.Second})
				s := setup{dir: dir, pools: []pool{{name: "a", concurrency: 5, provider: p}}}
				r := start(t, s)
				var ids []string
				for i := range 60 {
					ids = append(ids, r.publishAs(wire.Classes()[i%3], chat))
				}
				time.Sleep(22 * time.Second)
				stop(r)
				r = start(t, s)
				for _, id := range ids {
					if res := r.result(id); res.Status != wire.Succeeded {
						t.Errorf("%s: %s", id, res.Status)
					}
					r.history(id)
				}
				if n := p.count(); n < 60 || n > 65 {
					t.Errorf("%d calls for 60 jobs, want at most 5 repeated", n)
				}
				r.empty()
			})
		})
	}
}

// TestCrashPoints: a worker, or a dispatcher, dies after each message that it
// publishes in the life of one job. Another carries on. The job ends once.
func TestCrashPoints(t *testing.T) {
	for _, role := range []string{"dispatcher", "worker"} {
		t.Run(role, func(t *testing.T) {
			points := 0
			for at := 1; ; at++ {
				more := false
				bubble(t, func(t *testing.T, dir string) { more = crashAt(t, dir, role, at) })
				if t.Failed() {
					t.Fatalf("died after message %d", at)
				}
				if !more {
					break
				}
				points++
			}
			t.Logf("%d crash points", points)
			if points < 6 {
				t.Errorf("only %d crash points", points)
			}
		})
	}
}

// crashAt reports whether the process died before the job had ended and been
// acknowledged.
func crashAt(t *testing.T, dir, role string, at int) bool {
	p := &script{reply: func(n int, _ string) reply {
		if n == 1 {
			return reply{status: 500} // so that the job is queued again
		}
		return reply{events: words("one ", "two"), every: 100 * time.Millisecond}
	}}
	r := start(t, setup{dir: dir, bare: true, pins: at%2 == 0, pools: []pool{{name: "a", provider: p}}})
	var victim *proc
	if role == "worker" {
		r.dispatcher("d1")
		victim = r.worker("victim")
	} else {
		victim = r.dispatcher("victim")
		r.worker("w1")
	}
	time.Sleep(time.Millisecond)
	victim.gate.set(func() { victim.gate.limit = victim.gate.sent + at })
	id := r.publish(chat, wire.HeaderStream, "true")
	time.Sleep(2 * time.Second)
	if role == "worker" {
		r.worker("heir")
	} else {
		r.dispatcher("heir")
	}
	res := r.result(id)
	if res.Status != wire.Succeeded {
		t.Errorf("%s: %s", res.Status, res.Body)
	}
	ended := map[int]int{}
	for _, s := range r.history(id) {
		if s.EndsAttempt() {
			ended[s.Entry.Attempt.N]++
		}
	}
	for n := 1; n <= res.Entry.Progress.Attempts; n++ {
		if ended[n] != 1 {
			t.Errorf("attempt %d has %d ends: %s", n, ended[n], r.steps(id))
		}
	}
	if p.count() != res.Entry.Progress.Attempts {
		t.Errorf("%d calls in %d attempts", p.count(), res.Entry.Progress.Attempts)
	}
	checkChunks(t, r.chunks(id), 0)
	time.Sleep(2 * time.Minute) // copies in the queues go
	r.history(id)
	r.empty()
	return victim.gate.diedBefore(res.At.Add(time.Millisecond))
}

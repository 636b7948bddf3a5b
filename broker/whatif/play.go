package whatif

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Policy is what decides about jobs. It is not changed by a play.
type Policy struct {
	Table  *router.Table
	Plan   *steer.Plan // nil: nothing is steered
	Limits map[string]observe.Limits
	Tiers  map[string]string // by tenant
	// Retries are the workers' rules; Final says after which errors there are
	// none.
	Retries ledger.Retries
	Final   func(wire.Code) bool
	// RetryBudget is the share of a route's first attempts that retries may
	// be, RetryMinimum how many a minute always may.
	RetryBudget  float64
	RetryMinimum int
}

// Missing lists the targets that the policy can send jobs to and the model
// knows nothing of, sorted.
func (m *Model) Missing(t *router.Table) (list []Target) {
	for _, r := range t.Routes() {
		for _, c := range r.Candidates() {
			k := Target{c.PoolName, c.Model}
			if p := m.Profiles[k]; c.Weight > 0 && !t.Pools()[c.Pool].Draining && (p == nil || len(p.all) == 0) && !slices.Contains(list, k) {
				list = append(list, k)
			}
		}
	}
	slices.SortFunc(list, func(a, b Target) int { return strings.Compare(a.String(), b.String()) })
	return list
}

// world is a play under way. All times are Unix nanoseconds.
type world struct {
	*Policy
	model  *Model
	seed   uint64
	now    int64
	events events
	out    *Outcome

	jobs    []Job
	arrived int // of jobs
	left    int // that have not ended
	pools   []pool
	router  dispatcher
	play    *observe.Play
	ticking bool
	random  *rand.Rand // the broker's
	draws   rand.PCG   // of attempts: see drawing
	drawing *rand.Rand
	heard   func(*flight) // of each attempt that has ended; nil: nobody
}

// pool is a pool's queue and slots.
type pool struct {
	slots, running, depth int
	queue                 []*flight // in the order of arrival
}

// flight is a job on its way.
type flight struct {
	index    int
	job      *Job
	meta     wire.Meta
	progress wire.Progress
	course   steer.Course
	attempt  *wire.Attempt // under way; nil: none
	pool     int           // of it
	sent     int64         // when it was
	work     uint64        // sequence of its work message
	started  int64         // when it did, 0: it has not
	settle   int64         // nanoseconds from the last token to its end
	what     drawn
	ended    bool
}

// entry is the job as the ledger would have it.
func (f *flight) entry() *wire.Entry {
	return &wire.Entry{Meta: f.meta, Progress: f.progress, Attempt: f.attempt, WorkSeq: f.work}
}

// Play plays the jobs, which Replay has made, under the policy. The same
// arguments give the same outcome. stop is asked now and then and ends the play
// early, with nil; nil never does. It is an error if the model lacks a target.
func Play(p *Policy, m *Model, jobs []Job, seed uint64, stop func() bool) (*Outcome, error) {
	if missing := m.Missing(p.Table); len(missing) > 0 {
		return nil, &MissingError{Targets: missing}
	}
	w := newWorld(p, m, jobs, seed)
	for turns := 0; w.left > 0; turns++ {
		if stop != nil && turns&0xfff == 0 && stop() {
			return nil, nil
		}
		if !w.turn() { // whoever is left waits for ever
			break
		}
	}
	w.strand()
	return w.out, nil
}

func newWorld(p *Policy, m *Model, jobs []Job, seed uint64) *world {
	w := &world{Policy: p, model: m, seed: seed, jobs: jobs, left: len(jobs), out: &Outcome{Jobs: make([]Ended, len(jobs)), Parts: map[Target]*Part{}},
		play: observe.NewPlay(observe.Setup{Table: p.Table, Limits: p.Limits}), random: rand.New(rand.NewPCG(seed, 0))}
	w.drawing = rand.New(&w.draws)
	for _, rp := range p.Table.Pools() {
		w.pools = append(w.pools, pool{slots: max(rp.Concurrency, 1)})
	}
	if len(jobs) > 0 {
		w.now = jobs[0].Meta.SubmittedAt
	}
	w.router.begin(w)
	return w
}

// turn lets the next thing happen, and the router react; false: nothing will
// happen any more.
func (w *world) turn() bool {
	if !w.next() {
		return false
	}
	w.router.place(w)
	w.router.refresh(w)
	return true
}

// MissingError is about targets that nothing is known of.
type MissingError struct{ Targets []Target }

// Error implements error.
func (e *MissingError) Error() string {
	list := make([]string, len(e.Targets))
	for i, t := range e.Targets {
		list[i] = t.String()
	}
	return fmt.Sprintf("nothing was recorded of %s: how it would answer is not known", strings.Join(list, ", "))
}

// next lets the next thing happen; false: nothing will any more.
func (w *world) next() bool {
	arrival := w.arrived < len(w.jobs)
	if len(w.events.queue) == 0 && !arrival {
		return false
	}
	if arrival && (len(w.events.queue) == 0 || w.jobs[w.arrived].Meta.SubmittedAt <= w.events.queue[0].at) {
		w.now = max(w.now, w.jobs[w.arrived].Meta.SubmittedAt)
		w.arrived++
		w.arrive(w.arrived - 1)
		return true
	}
	e := w.events.pop()
	w.now = e.at
	switch e.kind {
	case evEnd:
		if !e.flight.ended {
			w.end(e.flight)
		}
	case evHere:
		if !e.flight.ended {
			w.router.hold(w, e.flight)
		}
	case evGivesUp:
		if !e.flight.ended {
			w.giveUp(e.flight)
		}
	case evLook:
		w.router.look(w, e.at)
	case evTick:
		w.tick()
	}
	return true
}

// arrive takes a job in.
func (w *world) arrive(i int) {
	j := &w.jobs[i]
	f := &flight{index: i, job: j, meta: j.Meta, pool: -1}
	f.progress.ReadyAt = j.Meta.SubmittedAt
	if j.Kept != "" {
		w.finish(f, j.Kept, "")
		return
	}
	if j.Until != 0 {
		w.events.push(event{at: max(j.Until, w.now), kind: evGivesUp, flight: f})
	}
	w.bring(f, w.now)
	w.wake()
}

// finish ends a job.
func (w *world) finish(f *flight, s wire.Status, code wire.Code) {
	f.ended = true
	w.left--
	e := &w.out.Jobs[f.index]
	e.Status, e.Code, e.Attempts = s, code, f.progress.Attempts
	e.Total = w.now - f.job.Meta.SubmittedAt
	e.Wait = e.Total
	if f.started != 0 {
		e.Wait = max(0, e.Total-f.what.taken)
	}
	w.out.spans(f.job.Meta.SubmittedAt, w.now)
}

// giveUp ends a job whose client or deadline does not wait any longer.
func (w *world) giveUp(f *flight) {
	code := wire.CodeCancelled
	if f.job.Ends == wire.Expired {
		code = wire.CodeDeadline
	}
	if f.attempt == nil {
		w.router.drop(f)
	} else if f.started != 0 { // what was written until now is paid for
		done := max(w.now-f.started, 0)
		u := &f.what.usage
		if done < f.what.taken {
			u.Output = int64(share(done, f.what.taken) * float64(u.Output))
			u.Reasoning = int64(share(done, f.what.taken) * float64(u.Reasoning))
			f.what.taken = done
		}
		f.what.status, f.what.code = f.job.Ends, code
		w.over(f)
	}
	w.finish(f, f.job.Ends, code)
}

// strand ends whoever waits for what never comes.
func (w *world) strand() {
	for _, f := range w.router.all() {
		w.finish(f, wire.Failed, wire.CodeNoCandidate)
	}
}

package sim

import (
	"fmt"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Sizes of a run.
const (
	submissions = 6
	faultySteps = 250
	calmSteps   = 4000
)

// action is something that can happen now.
type action struct {
	weight int
	do     func()
}

// run plays a whole life: steps with faults, then calm until nothing is left
// to do. It returns the first violation.
func (w *world) run() error {
	submitted := 0
	for step := range faultySteps + calmSteps {
		calm := step >= faultySteps
		if calm && submitted == submissions && w.quiet() {
			break
		}
		actions := w.progress()
		if submitted < submissions {
			actions = append(actions, action{6, func() { submitted++; w.submit(submitted) }})
		}
		if calm {
			actions = append(actions, w.recovery()...)
		} else {
			actions = append(actions, w.faults()...)
		}
		w.pick(actions)
		if err := w.check(); err != nil {
			return fmt.Errorf("step %d: %w", step, err)
		}
	}
	return w.checkEnd()
}

func (w *world) pick(actions []action) {
	sum := 0
	for _, a := range actions {
		sum += a.weight
	}
	if sum == 0 {
		return
	}
	n := w.choose(sum)
	for _, a := range actions {
		if n -= a.weight; n < 0 {
			a.do()
			return
		}
	}
}

// submit publishes a job: most have IDs of their own, some repeat another's
// with the same body or another.
func (w *world) submit(n int) {
	m := wire.Meta{Tenant: "t", Seq: uint64(w.ids + 1), BodyHash: uint64(n)}
	m.ID = wire.AutoID(m.Seq)
	switch w.choose(4) {
	case 0:
		m.ID, m.BodyHash = "same", 7
	case 1:
		m.ID = "clash"
	}
	w.put(&w.jobs, message{meta: m})
	w.accepted[m.ID] = append(w.accepted[m.ID], m.Seq)
	w.note("submitted %s with body %d", m.ID, m.BodyHash)
}

// progress is what the processes can do.
func (w *world) progress() (out []action) {
	for _, p := range w.procs {
		if p.paused {
			continue
		}
		for _, t := range p.tasks {
			if t.step != nil {
				out = append(out, action{8, func() { t.step() }})
			}
		}
		switch p.kind {
		case router:
			out = append(out, w.takes(p, w.jobs, w.route)...)
		case worker:
			out = append(out, w.takes(p, w.work, w.try)...)
		case ingester:
			out = append(out, action{3, func() { w.ingest(p) }})
		}
	}
	return out
}

// takes is a process taking a message that nobody holds.
func (w *world) takes(p *proc, queue []*message, begin func(*task)) (out []action) {
	for _, m := range queue {
		if m.holder == 0 && !m.stuck {
			out = append(out, action{4, func() {
				t := &task{p: p, m: m}
				m.holder = p.id
				p.tasks = append(p.tasks, t)
				begin(t)
			}})
		}
	}
	return out
}

// faults are what goes wrong, and what clients do beside.
func (w *world) faults() (out []action) {
	for i, p := range w.procs {
		out = append(out, action{1, func() { w.kill(i) }})
		if p.paused {
			out = append(out, action{2, func() { p.lapsed = true }}, action{2, func() { w.resume(p) }})
		} else {
			out = append(out, action{1, func() { p.paused = true; w.note("%s: paused", p.name) }})
		}
	}
	for _, queue := range [][]*message{w.jobs, w.work} {
		for _, m := range queue {
			out = append(out, action{1, func() { m.holder, m.stuck = 0, false }}) // comes again: ack wait, or a restart
			out = append(out, action{1, func() { m.stuck = true }})
		}
	}
	for _, m := range w.jobs { // lifted: read where it stands, whoever has it
		out = append(out, action{1, func() { w.ofRouter(m, w.route) }})
	}
	for _, m := range w.work {
		out = append(out, action{1, func() { w.ofRouter(m, w.recall) }})
	}
	return append(out, action{1, w.askCancel})
}

// ofRouter has a router do something about a message that it does not hold.
func (w *world) ofRouter(m *message, begin func(*task)) {
	for _, p := range w.procs {
		if p.kind == router && !p.paused {
			t := &task{p: p, m: m}
			begin(t)
			p.tasks = append(p.tasks, t)
			return
		}
	}
}

// askCancel has a router cancel some job.
func (w *world) askCancel() {
	for _, m := range append(append([]*message{}, w.jobs...), w.work...) {
		if w.choose(2) == 0 {
			w.ofRouter(m, func(t *task) { t.step = func() { w.cancelJob(t) } })
			return
		}
	}
}

// recovery is what ends the faults: what is held by nobody alive comes again,
// what is stuck is found, and who pauses goes on.
func (w *world) recovery() (out []action) {
	for _, p := range w.procs {
		if p.paused {
			out = append(out, action{4, func() { w.resume(p) }})
		}
	}
	for _, queue := range [][]*message{w.jobs, w.work} {
		for _, m := range queue {
			if m.stuck || m.holder != 0 && !w.holds(m) {
				out = append(out, action{4, func() { m.holder, m.stuck = 0, false }})
			}
		}
	}
	return out
}

// holds reports whether a task goes on with the message.
func (w *world) holds(m *message) bool {
	for _, p := range w.procs {
		for _, t := range p.tasks {
			if t.m == m && t.step != nil {
				return true
			}
		}
	}
	return false
}

func (w *world) kill(i int) {
	w.note("%s: killed", w.procs[i].name)
	w.procs[i] = w.start(w.procs[i].kind)
}

func (w *world) resume(p *proc) {
	p.paused, p.lapsed = false, false
	w.note("%s: resumed", p.name)
}

// quiet reports whether nothing is left to do.
func (w *world) quiet() bool {
	if len(w.jobs)+len(w.work) > 0 {
		return false
	}
	for _, p := range w.procs {
		if p.paused {
			return false
		}
		for _, t := range p.tasks {
			if t.step != nil {
				return false
			}
		}
	}
	return w.written()
}

// written reports whether every row is there.
func (w *world) written() bool {
	for i := len(w.ledger) - 1; i >= 0; i-- {
		if w.ledger[i].EndsAttempt() {
			return len(w.rows) > 0 && w.rows[len(w.rows)-1].seq >= w.ledger[i].Seq
		}
	}
	return true
}

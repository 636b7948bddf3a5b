package sim

import (
	"reflect"

	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// task is what a process does with one message: step is what comes next, nil
// at the end.
type task struct {
	p    *proc
	m    *message
	step func()

	claim  uint64 // sequence of the worker's claim
	call   *call
	left   bool // another attempt of the job may begin in this process
	cancel bool // the record was asked to end as cancelled
}

// write is an Append: the record is stored or not, and the answer may get
// lost; then the subject is read, and what stands there may be of somebody who
// came later. then gets the sequence, or what stood in the way.
func (w *world) write(t *task, rec wire.Record, expect uint64, blind bool, then func(seq uint64, conflict bool, last *ledger.Stored)) {
	id := rec.Entry.Meta.ID
	seq, ok := w.store(rec, expect, blind)
	w.note("%s: %s %s expecting %d: %v", t.p.name, rec.Status, id, expect, ok)
	learn := func() {
		s := w.standing(id)
		switch {
		case s != nil && same(&s.Record, &rec):
			then(s.Seq, false, nil)
		case s == nil && expect == 0, s != nil && s.Seq == expect: // it was never stored
			w.write(t, rec, expect, blind, then)
		default:
			then(0, true, s)
		}
	}
	switch {
	case ok && w.choose(8) == 0: // the acknowledgement is lost
		t.step = learn
	case ok:
		t.step = func() { then(seq, false, nil) }
	default:
		t.step = learn
	}
}

func same(a, b *wire.Record) bool {
	return a.Status == b.Status && a.Reason == b.Reason && reflect.DeepEqual(a.Entry, b.Entry)
}

// route moves a job to the workers' queue.
func (w *world) route(t *task) {
	publish := func() {
		w.put(&w.work, message{meta: t.m.meta, n: t.m.prog.Attempts + 1, prog: t.m.prog})
		w.note("%s: work for %s, attempt %d", t.p.name, t.m.meta.ID, t.m.prog.Attempts+1)
	}
	finish := func() { ack(&w.jobs, t.m); t.step = nil }
	t.step = func() { publish(); t.step = finish }
	if w.choose(24) == 0 { // its deadline has passed
		rec := wire.Record{Status: wire.Expired, Entry: wire.Entry{Meta: t.m.meta, Progress: t.m.prog}}
		t.step = func() { w.settle(t, rec, t.m.prog.Expect, 5, func() { t.step = finish }) }
		return
	}
	if w.g.moveEarly {
		t.step = func() { ack(&w.jobs, t.m); t.step = func() { publish(); t.step = nil } }
	}
}

// recall takes a job back from the workers' queue, where it would wait for
// long. A worker may have its message by now, or get it meanwhile.
func (w *world) recall(t *task) {
	if w.g.recallBlind {
		t.step = func() {
			if last := w.standing(t.m.meta.ID); last != nil && last.Status == wire.Running && last.Entry.WorkSeq == uint64(t.m.id) {
				t.step = nil
				return
			}
			w.requeue(t, wire.Entry{Meta: t.m.meta, Progress: t.m.prog}, t.m.prog.Expect)
		}
		return
	}
	rec := wire.Record{Status: wire.Waiting, Reason: wire.ReasonRecall, Entry: wire.Entry{Meta: t.m.meta, Progress: t.m.prog}}
	rec.Entry.Progress.Recalls++
	t.step = func() { w.takeBack(t, rec, t.m.prog.Expect, 5) }
}

// takeBack is Ledger.TakeBack.
func (w *world) takeBack(t *task, rec wire.Record, expect uint64, tries int) {
	if tries == 0 {
		t.step = nil
		return
	}
	w.write(t, rec, expect, false, func(seq uint64, conflict bool, last *ledger.Stored) {
		if !conflict {
			w.requeue(t, rec.Entry, seq)
			return
		}
		switch r := ledger.Judge(last, &t.m.meta, t.m.work()); {
		case r.Verdict == ledger.Claim && (w.g.forgetful || ledger.CatchUp(&rec, last)):
			t.step = func() { w.takeBack(t, rec, r.Expect, tries-1) }
		case r.Verdict == ledger.Again:
			w.requeue(t, last.Entry, last.Seq)
		case r.Verdict == ledger.Drop:
			w.done(t)
		default: // a worker has it
			t.step = nil
		}
	})
}

// done acknowledges a work message.
func (w *world) done(t *task) {
	t.step = func() { ack(&w.work, t.m); t.step = nil }
}

// try claims a job and calls the provider.
func (w *world) try(t *task) {
	if !w.g.enter {
		for _, o := range t.p.tasks { // the same job already runs in this process
			if o == t || o.step == nil || o.left || o.m.meta.ID != t.m.meta.ID {
				continue
			}
			if o.m.id == t.m.id {
				t.step = nil // the same message again: the call goes on
			} else {
				w.later(t)
			}
			return
		}
	}
	if w.g.ackEarly {
		ack(&w.work, t.m)
	}
	t.step = func() { w.claimWith(t, t.m.prog.Expect, 5) }
}

func (w *world) claimWith(t *task, expect uint64, tries int) {
	if tries == 0 {
		w.later(t)
		return
	}
	rec := wire.Record{Status: wire.Running, Entry: wire.Entry{Meta: t.m.meta, Progress: t.m.prog, Owner: t.p.name,
		WorkSeq: uint64(t.m.id), Attempt: &wire.Attempt{N: t.m.n}}}
	w.write(t, rec, expect, w.g.claimBlind, func(seq uint64, conflict bool, last *ledger.Stored) {
		if !conflict {
			t.claim = seq
			w.provide(t)
			return
		}
		r := ledger.Judge(last, &t.m.meta, t.m.work())
		if r.Verdict == ledger.Claim {
			t.step = func() { w.claimWith(t, r.Expect, tries-1) }
			return
		}
		w.refused(t, last, r)
	})
}

// later gives the message back.
func (w *world) later(t *task) {
	t.m.holder, t.step = 0, nil
}

// refused does what a ruling says.
func (w *world) refused(t *task, last *ledger.Stored, r ledger.Ruling) {
	w.note("%s: %s is refused: verdict %d", t.p.name, t.m.meta.ID, r.Verdict)
	switch r.Verdict {
	case ledger.Clash:
		w.refuse(t)
	case ledger.Again:
		if w.g.notAgain {
			w.done(t)
			return
		}
		w.requeue(t, last.Entry, last.Seq)
	case ledger.Held:
		if r.Owner != t.p.name && w.alive(r.Owner) && !w.g.overtake {
			w.later(t)
			return
		}
		w.cutOff(t, last)
	default:
		w.done(t)
	}
}

// refuse ends a submission whose ID is another job's, under its own.
func (w *world) refuse(t *task) {
	m := t.m.meta
	m.ID = wire.AutoID(m.Seq)
	rec := wire.Record{Status: wire.Failed, Entry: wire.Entry{Meta: m, Error: wire.CodeIDConflict}}
	w.write(t, rec, 0, false, func(uint64, bool, *ledger.Stored) { w.done(t) })
}

// cutOff ends the attempt of a worker that vanished.
func (w *world) cutOff(t *task, last *ledger.Stored) {
	at := *last.Entry.Attempt
	at.Status = wire.Interrupted
	w.conclude(t, &last.Entry, &at, last.Seq, last.Reason == wire.ReasonCancel, false, func(conflict bool, _ *ledger.Stored) {
		if conflict {
			w.later(t)
		}
	})
}

// provide calls the provider: one step begins the call, another ends it.
func (w *world) provide(t *task) {
	t.step = func() {
		t.call = &call{attempt: attempt{t.m.meta.ID, t.m.n}}
		w.calls = append(w.calls, t.call)
		w.note("%s: calls for %s, attempt %d", t.p.name, t.m.meta.ID, t.m.n)
		t.step = func() {
			t.call.done, t.call.cost = true, int64(1+w.choose(1000))
			w.end(t, t.claim, w.choose(3) == 0)
		}
	}
}

// end writes how the call went.
func (w *world) end(t *task, expect uint64, failed bool) {
	at := wire.Attempt{N: t.m.n, Status: wire.Succeeded}
	if failed {
		at.Status = wire.Failed
	}
	cost := wire.NanoUSD(t.call.cost)
	at.Cost = &cost
	entry := wire.Entry{Meta: t.m.meta, Progress: t.m.prog}
	w.conclude(t, &entry, &at, expect, t.cancel, w.g.endBlind, func(conflict bool, last *ledger.Stored) {
		switch {
		case !conflict:
		case last != nil && last.Status == wire.Running && last.Reason == wire.ReasonCancel &&
			last.Entry.Owner == t.p.name && last.Entry.WorkSeq == uint64(t.m.id):
			t.cancel = true
			t.step = func() { w.end(t, last.Seq, failed) }
		default: // overtaken: touch nothing more
			w.note("%s: overtaken on %s", t.p.name, t.m.meta.ID)
			t.step = nil
		}
	})
}

// maxAttempts before a job is dead, maxCuts of them interrupted.
const maxAttempts, maxCuts = 3, 6

// conclude writes what follows from the end of an attempt, and queues the job
// again where that is another one.
func (w *world) conclude(t *task, e *wire.Entry, at *wire.Attempt, expect uint64, cancelled, blind bool, then func(bool, *ledger.Stored)) {
	entry := *e
	entry.Attempt, entry.Owner, entry.WorkSeq = at, "", 0
	entry.Progress.Add(at)
	rec := wire.Record{Status: wire.Waiting, Reason: wire.ReasonRetry, Entry: entry}
	switch {
	case at.Status == wire.Succeeded:
		rec.Status, rec.Reason = wire.Succeeded, ""
	case cancelled:
		rec.Status, rec.Reason = wire.Cancelled, ""
	case entry.Progress.Cuts > maxCuts, entry.Progress.Failures() >= maxAttempts && at.Status != wire.Interrupted:
		rec.Status, rec.Reason = wire.Failed, ""
	}
	w.write(t, rec, expect, blind, func(seq uint64, conflict bool, last *ledger.Stored) {
		then(conflict, last)
		switch {
		case conflict:
		case rec.Status == wire.Waiting:
			w.requeue(t, rec.Entry, seq)
		default:
			w.done(t)
		}
	})
}

// requeue brings a job back to the routers, and then acknowledges.
func (w *world) requeue(t *task, e wire.Entry, expect uint64) {
	t.left = true
	t.step = func() {
		prog := e.Progress
		prog.Expect = expect
		w.put(&w.jobs, message{meta: e.Meta, prog: prog})
		w.note("%s: %s is queued again", t.p.name, e.Meta.ID)
		w.done(t)
	}
}

// cancelJob is package control's: a queued or waiting job ends at once, a
// running one is asked to.
func (w *world) cancelJob(t *task) {
	last, ended := w.standing(t.m.meta.ID), func() { t.step = nil }
	switch {
	case last == nil:
		w.settle(t, wire.Record{Status: wire.Cancelled, Entry: wire.Entry{Meta: t.m.meta}}, 0, 5, ended)
	case last.Status == wire.Waiting:
		w.settle(t, wire.Record{Status: wire.Cancelled, Entry: wire.Entry{Meta: last.Entry.Meta, Progress: last.Entry.Progress}}, last.Seq, 5, ended)
	case last.Status == wire.Running && last.Reason == "":
		rec := last.Record
		rec.Reason = wire.ReasonCancel
		w.write(t, rec, last.Seq, false, func(uint64, bool, *ledger.Stored) { t.step = nil })
	default:
		t.step = nil
	}
}

// settle is Ledger.Settle; then follows if it worked or nothing is left to do.
func (w *world) settle(t *task, rec wire.Record, expect uint64, tries int, then func()) {
	if tries == 0 {
		w.later(t)
		return
	}
	w.write(t, rec, expect, false, func(_ uint64, conflict bool, last *ledger.Stored) {
		if !conflict {
			then()
			return
		}
		switch r := ledger.Judge(last, &rec.Entry.Meta, ledger.Work{}); {
		case r.Verdict == ledger.Clash:
			w.later(t) // the worker's part: see refuse
		case r.Verdict == ledger.Claim && (w.g.forgetful || ledger.CatchUp(&rec, last)):
			t.step = func() { w.settle(t, rec, r.Expect, tries-1, then) }
		default:
			then()
		}
	})
}

// ingest is one step of an ingester: look up the position, read on, insert.
func (w *world) ingest(p *proc) {
	if !p.started {
		p.started, p.batch, p.have = true, nil, 0
		if n := len(w.rows); n > 0 {
			p.have = w.rows[n-1].seq
		}
		p.read = p.have
		return
	}
	if len(p.batch) > 0 && w.choose(3) == 0 || p.read == uint64(len(w.ledger)) {
		w.insert(p)
		return
	}
	rec := &w.ledger[p.read]
	p.read++
	if a := rec.Entry.Attempt; rec.EndsAttempt() {
		r := row{attempt: attempt{rec.Entry.Meta.ID, a.N}, seq: rec.Seq, cut: a.Status == wire.Interrupted}
		if a.Cost != nil {
			r.cost = int64(*a.Cost)
		}
		p.batch = append(p.batch, r)
	}
}

// insert is atomic, and may fail without a word of whether it worked.
func (w *world) insert(p *proc) {
	if len(p.batch) == 0 {
		return
	}
	var now uint64
	if n := len(w.rows); n > 0 {
		now = w.rows[n-1].seq
	}
	batch := p.batch
	p.batch = nil
	if w.g.skipAhead && w.choose(4) == 0 { // the process believes that it worked
		p.have = batch[len(batch)-1].seq
		return
	}
	if now != p.have && !w.g.insertBlind {
		p.started = false // refused: look again
		return
	}
	w.rows = append(w.rows, batch...)
	if p.have = batch[len(batch)-1].seq; w.choose(6) == 0 {
		p.started = false // the answer is lost: look again
	}
}

package sim

import (
	"fmt"

	"github.com/sluicehq/sluice/sdk/wire"
)

// life is a job's records so far.
type life struct {
	status wire.Status
	n      int // of the last claim
	ended  int // of the last attempt that ended
	spent  wire.NanoUSD
}

// check looks for a violation of I1 to I5.
func (w *world) check() error {
	lives := map[string]*life{}
	claims := 0
	for i := range w.ledger {
		rec := &w.ledger[i].Record
		id := rec.Entry.Meta.ID
		l := lives[id]
		if l == nil {
			l = &life{}
			lives[id] = l
		}
		if l.status.Terminal() {
			return fmt.Errorf("I1: %s of %s after %s", rec.Status, id, l.status)
		}
		if err := l.take(id, rec); err != nil {
			return err
		}
		if rec.Status == wire.Running && rec.Reason == "" {
			claims++
		}
	}
	if len(w.calls) > claims {
		return fmt.Errorf("I3: %d calls under %d claims", len(w.calls), claims)
	}
	return w.checkRows()
}

// take follows one record of a job.
func (l *life) take(id string, rec *wire.Record) error {
	at := rec.Entry.Attempt
	switch {
	case rec.Status == wire.Running && rec.Reason == wire.ReasonCancel:
		if l.status != wire.Running {
			return fmt.Errorf("I2: %s is asked to stop while it is %q", id, l.status)
		}
	case rec.Status == wire.Running:
		if l.status == wire.Running || at.N != l.ended+1 {
			return fmt.Errorf("I2: attempt %d of %s is claimed while it is %q after attempt %d", at.N, id, l.status, l.ended)
		}
		l.n = at.N
	case rec.EndsAttempt():
		if at.N != l.n || at.N == l.ended {
			return fmt.Errorf("I2: attempt %d of %s ends, claimed is %d and ended %d", at.N, id, l.n, l.ended)
		}
		l.ended = at.N
	case l.status == wire.Running:
		return fmt.Errorf("I2: %s of %s while attempt %d runs", rec.Status, id, l.n)
	}
	l.status = rec.Status
	if p := &rec.Entry.Progress; rec.Status != wire.Running {
		if rec.EndsAttempt() && at.Cost != nil {
			l.spent += *at.Cost
		}
		if p.Attempts != l.ended || p.Spent != l.spent {
			return fmt.Errorf("I5: %s of %s tells of %d attempts for %d, ended are %d for %d", rec.Status, id, p.Attempts, p.Spent, l.ended, l.spent)
		}
	}
	return nil
}

// checkRows compares the rows with the ledger.
func (w *world) checkRows() error {
	n := 0
	for i := range w.ledger {
		if !w.ledger[i].EndsAttempt() {
			continue
		}
		if n == len(w.rows) {
			return nil
		}
		if w.rows[n].seq != w.ledger[i].Seq {
			return fmt.Errorf("I4: row %d is of record %d, want %d", n, w.rows[n].seq, w.ledger[i].Seq)
		}
		n++
	}
	if n != len(w.rows) {
		return fmt.Errorf("I4: %d rows for %d ends", len(w.rows), n)
	}
	return nil
}

// checkEnd looks for a violation of I6 and I7.
func (w *world) checkEnd() error {
	if !w.quiet() {
		return fmt.Errorf("I6: no rest: %d in the queues of jobs, %d of work, %d rows", len(w.jobs), len(w.work), len(w.rows))
	}
	for id, seqs := range w.accepted {
		if s := w.standing(id); s == nil || !s.Status.Terminal() {
			return fmt.Errorf("I6: %s has no end", id)
		}
		for _, seq := range seqs {
			own, auto := w.standing(id).Entry.Meta.Seq, w.standing(wire.AutoID(seq))
			if id == "clash" && own != seq && (auto == nil || auto.Status != wire.Failed) {
				return fmt.Errorf("I6: submission %d of %s is neither that job nor refused", seq, id)
			}
		}
	}
	return w.checkBooks()
}

// checkBooks compares rows and calls one by one.
func (w *world) checkBooks() error {
	rows := map[attempt]row{}
	for _, r := range w.rows {
		rows[r.attempt] = r
	}
	called := map[attempt]bool{}
	for _, c := range w.calls {
		r, ok := rows[c.attempt]
		switch {
		case called[c.attempt]:
			return fmt.Errorf("I7: attempt %d of %s was called twice", c.n, c.job)
		case !ok:
			return fmt.Errorf("I7: the call of attempt %d of %s is no row", c.n, c.job)
		case !r.cut && (!c.done || r.cost != c.cost):
			return fmt.Errorf("I7: attempt %d of %s: row %d, books %d (ended: %v)", c.n, c.job, r.cost, c.cost, c.done)
		}
		called[c.attempt] = true
	}
	for a, r := range rows {
		if !r.cut && !called[a] {
			return fmt.Errorf("I7: attempt %d of %s has a row with a cost and was never called", a.n, a.job)
		}
	}
	return nil
}

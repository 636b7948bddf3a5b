package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Verdict is what to do with a work message whose claim was refused.
type Verdict int

// Verdicts of [Judge].
const (
	// Claim: nothing is in the way; claim again, expecting Ruling.Expect.
	Claim Verdict = iota
	// Drop: the job is finished, or another message carries it on; acknowledge.
	Drop
	// Clash: the ID belongs to another job with another body; this submission
	// gets a failed record under its own automatic ID.
	Clash
	// Again: this attempt ended, or a router took its message back, but what
	// follows may not have been queued; queue it again from the record, then
	// acknowledge.
	Again
	// Held: the same message is claimed by Ruling.Owner; wait if it lives,
	// else end its attempt as interrupted.
	Held
)

// Ruling is a verdict with what it needs.
type Ruling struct {
	Verdict Verdict
	Expect  uint64 // of Claim
	Owner   string // of Held
}

// Work is what tells a work message from others of the same job. The zero value
// is for a message that is no work message (a router's).
type Work struct {
	N       int    // the attempt that it carries
	Recalls int    // Progress.Recalls: one that was taken back has fewer than the job
	Seq     uint64 // in the stream: copies differ in it
}

// WorkOf is the work message seq that carries an assignment.
func WorkOf(a *wire.Assignment, seq uint64) Work {
	return Work{N: a.Attempt.N, Recalls: a.Progress.Recalls, Seq: seq}
}

// Judge decides about a message of a job when the job's last record is last
// (nil: none).
func Judge(last *Stored, m *wire.Meta, w Work) Ruling {
	if last == nil {
		return Ruling{Verdict: Claim} // records were removed by retention
	}
	e := &last.Entry
	if e.Meta.Seq != m.Seq {
		if e.Meta.BodyHash == m.BodyHash && e.Meta.BodyBytes == m.BodyBytes && e.Meta.Endpoint == m.Endpoint {
			return Ruling{Verdict: Drop} // the same job, published again
		}
		return Ruling{Verdict: Clash}
	}
	if last.Status.Terminal() {
		return Ruling{Verdict: Drop}
	}
	if last.Status == wire.Waiting {
		if w.N != 0 && (w.N <= e.Progress.Attempts || w.Recalls < e.Progress.Recalls) {
			return Ruling{Verdict: Again}
		}
		return Ruling{Verdict: Claim, Expect: last.Seq}
	}
	if e.Attempt != nil && e.Attempt.N == w.N && e.WorkSeq == w.Seq {
		return Ruling{Verdict: Held, Owner: e.Owner}
	}
	return Ruling{Verdict: Drop} // a copy, or a later attempt is under way
}

// settleTries bounds how often a router's write follows a moving subject.
const settleTries = 5

// Settle appends a record for a job that no worker holds (a router ends it,
// or makes it wait). It returns the record's sequence, or 0 if there was
// nothing left to do because the job is finished or carried on by another
// message. A submission whose ID belongs to another job gets a failed record
// under its own automatic ID. rec may be changed: see [CatchUp].
func (l *Ledger) Settle(ctx context.Context, rec *wire.Record, expect uint64) (uint64, error) {
	m := &rec.Entry.Meta
	for range settleTries {
		seq, err := l.Append(ctx, rec, expect)
		var c *Conflict
		if !errors.As(err, &c) {
			return seq, err
		}
		switch r := Judge(c.Last, m, Work{}); r.Verdict {
		case Claim:
			if expect = r.Expect; !CatchUp(rec, c.Last) {
				return 0, nil
			}
		case Clash:
			return 0, l.Refuse(ctx, m)
		default:
			return 0, nil
		}
	}
	return 0, fmt.Errorf("ledger: job %s keeps changing", m.ID)
}

// TakeBack brings the job of work message workSeq, which carries attempt a of
// it, back to the routers, and reports whether the message may be removed. It
// may not if a worker has begun the attempt, even if that worker is gone by
// then: only the message leads another one to it. So the record that the job
// waits comes first, and refuses the claim of whoever gets the message still.
func (l *Ledger) TakeBack(ctx context.Context, a *wire.Assignment, workSeq uint64, body []byte) (bool, error) {
	rec := &wire.Record{Status: wire.Waiting, Reason: wire.ReasonRecall, Until: time.Now(), Entry: wire.Entry{Meta: a.Meta, Progress: a.Progress}}
	rec.Entry.Progress.Recalls++
	expect := a.Progress.Expect
	for range settleTries {
		seq, err := l.Append(ctx, rec, expect)
		if err == nil {
			return true, l.RequeueWaiting(ctx, rec, seq, body)
		}
		var c *Conflict
		if !errors.As(err, &c) {
			return false, err
		}
		switch r := Judge(c.Last, &a.Meta, WorkOf(a, workSeq)); {
		case r.Verdict == Claim && CatchUp(rec, c.Last):
			expect = r.Expect
		case r.Verdict == Again:
			return true, l.RequeueWaiting(ctx, &c.Last.Record, c.Last.Seq, body)
		default:
			return r.Verdict == Drop, nil
		}
	}
	return false, fmt.Errorf("ledger: job %s keeps changing", a.Meta.ID)
}

// CatchUp has a record that was made from an old copy of a job take over what
// the standing record (nil: none) knows of attempts that have ended and recalls
// since. It reports false if there is nothing to write then: the job waits
// already, with what it has been through, and another message brings it back.
func CatchUp(rec *wire.Record, standing *Stored) bool {
	if standing == nil {
		return true
	}
	is, was := &standing.Entry.Progress, &rec.Entry.Progress
	if is.Attempts <= was.Attempts && is.Recalls <= was.Recalls {
		return true
	}
	rec.Entry.Progress = standing.Entry.Progress
	return rec.Status != wire.Waiting
}

// Refuse writes the failed record of a submission whose ID belongs to another
// job with another body, under the ID AutoID(m.Seq).
func (l *Ledger) Refuse(ctx context.Context, m *wire.Meta) error {
	cause := wire.Errorf(wire.CodeIDConflict, wire.HeaderJobID,
		"job ID %s already belongs to a job with another body: choose another ID; this one is recorded as %s", m.ID, wire.AutoID(m.Seq))
	refused := *m
	refused.ID = wire.AutoID(m.Seq)
	rec := &wire.Record{Status: wire.Failed, Body: cause.Body(), Entry: wire.Entry{Meta: refused, Error: cause.Code}}
	_, err := l.Append(ctx, rec, 0)
	var c *Conflict
	if errors.As(err, &c) {
		return nil // written by an earlier delivery
	}
	return err
}

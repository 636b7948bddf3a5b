package run

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/internal/tracing"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
)

// verdict is what becomes of a delivery.
type verdict int

const (
	done    verdict = iota // acknowledge: its effect is durable
	later                  // come again after a while; the slot stays taken
	abandon                // not ours any more, or unsure: touch nothing (I3)
)

// attempt is one delivery of a work message on its way.
type attempt struct {
	*Runner
	pool    Pool
	asg     wire.Assignment
	key     string
	body    []byte
	workSeq uint64
	call    *call
	span    tracing.Span
	owner   string // who claims it; empty: this worker
}

// handle makes one attempt and acts on its verdict (I5).
func (r *Runner) handle(hard context.Context, p Pool, m jetstream.Msg) {
	r.acknowledge(m, r.deliver(hard, p, m))
}

func (r *Runner) acknowledge(m jetstream.Msg, v verdict) {
	var err error
	switch v {
	case done:
		err = m.Ack()
	case later:
		err = m.NakWithDelay(r.cfg.AckWait / 2)
	case abandon:
	}
	if err != nil {
		r.cfg.Logger.Debug("work message not acknowledged; it will come again", "subject", m.Subject(), "err", err)
	}
}

func (r *Runner) deliver(hard context.Context, p Pool, m jetstream.Msg) verdict {
	md, err := ledger.ParseReply(m.Reply())
	if err != nil {
		r.cfg.Logger.Error("work message without JetStream metadata dropped", "pool", p.Name)
		return done
	}
	asg, err := wire.DecodeWork(m.Headers())
	if err != nil || asg.Attempt == nil || !asg.Meta.Valid() {
		r.cfg.Logger.Error("unreadable work message dropped", "pool", p.Name, "seq", md.Seq, "err", err)
		return done
	}
	ctx, cancel := context.WithCancelCause(hard)
	defer cancel(nil)
	a := &attempt{Runner: r, pool: p, asg: asg, key: asg.Meta.Tenant + "." + asg.Meta.ID, body: m.Data(),
		workSeq: md.Seq, call: &call{msg: m, workSeq: md.Seq, cancel: cancel}}
	if !r.enter(a.key, a.call) {
		if r.runs(a.key, a.workSeq) {
			return abandon // the same message again while its call runs here
		}
		return later // a copy; look again when the other is through
	}
	defer r.leave(a.key, a.call)
	return a.run(ctx, hard)
}

// run claims, calls and ends.
func (a *attempt) run(ctx, hard context.Context) verdict {
	now := time.Now()
	if a.asg.Meta.Expired(now) {
		return a.expire(hard)
	}
	at := a.asg.Attempt
	at.QueueMS = max(0, (now.UnixNano()-max(a.asg.Progress.ReadyAt, a.asg.Meta.SubmittedAt))/int64(time.Millisecond))
	claim, v, ok := a.claim(hard)
	if !ok {
		return v
	}
	if a.asg.Meta.Deadline != 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, time.Unix(0, a.asg.Meta.Deadline))
		defer stop()
	}
	chunks := &chunker{a: a, n: at.N}
	c := engine.Call{Meta: &a.asg.Meta, Body: a.capped(), Model: at.Model, Attempt: at.N}
	switch {
	case a.asg.Meta.Stream && a.asg.Meta.Shadow != "": // streamed as the job is, for nobody
		c.Emit = func([][]byte, bool) error { return nil }
	case a.asg.Meta.Stream:
		c.Emit = chunks.emit
	}
	a.span = a.cfg.Tracer.Attempt(ctx, &a.asg)
	c.Trace = a.span.Traceparent()
	out := a.pool.Endpoint.Do(ctx, &c)
	if chunks.open() { // the call ended without a last event
		chunks.close(out.Err)
	}
	return a.end(claim, out, context.Cause(ctx))
}

// expire ends a job whose deadline passed in the pool's queue.
func (a *attempt) expire(hard context.Context) verdict {
	cause := wire.Errorf(wire.CodeDeadline, wire.HeaderDeadline, "the deadline passed before an attempt could start")
	_, v, _ := a.enterLedger(hard, &wire.Record{Status: wire.Expired, Body: cause.Body(),
		Entry: wire.Entry{Meta: a.asg.Meta, Progress: a.asg.Progress, Error: cause.Code}})
	return v
}

// claim writes the running record (I1). If it may not, ok is false and the
// verdict says what becomes of the message.
func (a *attempt) claim(hard context.Context) (seq uint64, v verdict, ok bool) {
	return a.enterLedger(hard, &wire.Record{Status: wire.Running, Entry: wire.Entry{Meta: a.asg.Meta, Progress: a.asg.Progress,
		Attempt: a.asg.Attempt, Owner: cmp.Or(a.owner, a.cfg.Instance), WorkSeq: a.workSeq}})
}

// claimTries bounds how often a claim follows a moving subject.
const claimTries = 5

// enterLedger writes the first record of this delivery, if nothing that stands
// on the job's subject forbids it. An attempt that an earlier delivery began
// is ended first, so that it is not forgotten (I2).
func (a *attempt) enterLedger(hard context.Context, rec *wire.Record) (seq uint64, v verdict, ok bool) {
	expect := a.asg.Progress.Expect
	for range claimTries {
		seq, err := a.cfg.Ledger.Append(hard, rec, expect)
		if err == nil {
			return seq, done, true
		}
		var c *ledger.Conflict
		if !errors.As(err, &c) {
			a.warn("job not claimed", err)
			return 0, later, false
		}
		ruling := ledger.Judge(c.Last, &a.asg.Meta, ledger.WorkOf(&a.asg, a.workSeq))
		if ruling.Verdict == ledger.Claim {
			expect = ruling.Expect
			continue
		}
		return 0, a.refused(hard, c.Last, ruling), false
	}
	return 0, later, false
}

// refused acts on a claim that something stands in the way of.
func (a *attempt) refused(hard context.Context, last *ledger.Stored, r ledger.Ruling) verdict {
	var err error
	switch r.Verdict {
	case ledger.Clash:
		err = a.cfg.Ledger.Refuse(hard, &a.asg.Meta)
	case ledger.Again:
		a.leave(a.key, a.call)
		err = a.cfg.Ledger.RequeueWaiting(hard, &last.Record, last.Seq, a.body)
	case ledger.Held:
		if strings.HasPrefix(r.Owner, ownerPrefix) {
			if v, err := a.holds(hard, r.Owner, &a.asg.Meta, a.workSeq); err != nil || v != abandon {
				if err != nil {
					a.warn("work message kept", err)
					return later
				}
				return v
			}
			return a.voided(hard, last)
		}
		if r.Owner != a.cfg.Instance { // our own earlier delivery has ended: see enter
			alive, err := ledger.Alive(hard, a.cfg.JS, a.cfg.Subjects, r.Owner)
			if err != nil || alive {
				return later
			}
		}
		err = a.overtake(hard, last)
	}
	if err != nil {
		var c *ledger.Conflict
		if !errors.As(err, &c) {
			a.warn("work message kept", err)
		}
		return later
	}
	return done
}

// overtake ends the attempt of a worker that vanished: an `interrupted`
// record with a cost estimated from what was streamed, and the job goes back
// to the routers (I2).
func (a *attempt) overtake(hard context.Context, last *ledger.Stored) error {
	at := *last.Entry.Attempt
	at.Status, at.ErrorCode = wire.Interrupted, wire.CodeInterrupted
	streamed, ended, err := a.streamed(hard, at.N)
	if err != nil {
		return err
	}
	at.Settle(wire.Usage{Input: last.Entry.Meta.InputTokens(), Output: streamed}, wire.UsageEstimated)
	at.LatencyMS = max(0, time.Since(last.At).Milliseconds())
	cause := wire.Errorf(wire.CodeInterrupted, "", "the worker of attempt %d vanished", at.N)
	if !ended {
		a.closeCut(hard, at.N, streamed, cause)
	}
	next := a.next(&last.Entry, &at, cause, engine.RetryElsewhere, 0, last.Reason == wire.ReasonCancel)
	if err := a.write(hard, next, last.Seq); err != nil {
		return err
	}
	a.cfg.Tracer.Past(hard, &last.Entry.Meta, &at, last.At, nil)
	return nil
}

// end writes how the call went (I2) and what follows.
func (a *attempt) end(claim uint64, out *engine.Outcome, cause error) verdict {
	at := *a.asg.Attempt
	at.Status, at.HTTP = out.Status, out.HTTP
	at.TTFTMS, at.LatencyMS = out.TTFT.Milliseconds(), out.Latency.Milliseconds()
	at.Settle(out.Usage, out.Source)
	at.RetryAfterMS, at.Limits = out.RetryAfter.Milliseconds(), out.Limits
	if out.Err != nil {
		at.ErrorCode = out.Err.Code
	}
	if at.Status != wire.Succeeded { // what follows depends on what the router had in mind
		if err := at.Unfold(); err != nil {
			a.warn("the router's decision cannot be read", err)
		}
	}
	cancelled := errors.Is(cause, errAborted)
	if out.Status == wire.Cancelled && !cancelled { // cut off by our own stop
		at.Status, at.ErrorCode = wire.Interrupted, wire.CodeInterrupted
	}
	a.span.Ended(&at, out.Body)
	a.keepText(&at, out)
	entry := wire.Entry{Meta: a.asg.Meta, Progress: a.asg.Progress}
	ctx, until := a.final, time.Now().Add(endTimeout)
	for expect := claim; ; {
		n := a.next(&entry, &at, out.Err, out.Verdict, out.RetryAfter, cancelled)
		if out.Status == wire.Succeeded && entry.Meta.Shadow == "" {
			n.rec.Body = out.Body
		}
		err := a.write(ctx, n, expect)
		if err == nil {
			return done
		}
		var c *ledger.Conflict
		switch {
		case errors.Is(err, errNotQueued):
			a.warn("job not queued again yet", err)
			return later
		case errors.As(err, &c) && a.mine(c.Last):
			expect, cancelled = c.Last.Seq, true
		case errors.As(err, &c):
			a.cfg.Logger.Warn("another worker ended this attempt: result discarded", "tenant", a.asg.Meta.Tenant,
				"job", a.asg.Meta.ID, "attempt", at.N, "pool", at.Pool)
			return abandon
		default:
			a.warn("end of attempt not written, trying again", err)
			if a.cfg.JS.Conn().IsClosed() || ledger.Pause(ctx, time.Second) != nil || time.Now().After(until) {
				return abandon
			}
		}
	}
}

// keepText keeps what was said, before the end of the attempt is written: a
// crash in between leaves a text too many, not one too few. Of an attempt that
// was interrupted nothing is kept; another one follows with the same prompt.
func (a *attempt) keepText(at *wire.Attempt, out *engine.Outcome) {
	if at.Status != wire.Interrupted {
		a.cfg.Texts.Keep(a.final, &a.asg.Meta, at, a.body, out.Body)
	}
}

// endTimeout is how long a worker tries to write a result while the ledger
// cannot be reached; while the worker stops, Config.Drain. After that the
// attempt will count as interrupted.
const endTimeout = 10 * time.Minute

// mine reports whether the record is our claim with a request to cancel.
func (a *attempt) mine(last *ledger.Stored) bool {
	return last != nil && last.Status == wire.Running && last.Reason == wire.ReasonCancel &&
		last.Entry.Owner == a.cfg.Instance && last.Entry.WorkSeq == a.workSeq
}

// next is what follows the end of an attempt.
type next struct {
	rec  *wire.Record // of a job that waits, until when
	bury bool         // the job is dead: its attempts are used up
}

// next decides what follows: success, cancellation, expiry, a retry elsewhere
// or later, or the end.
func (a *attempt) next(e *wire.Entry, at *wire.Attempt, cause *wire.Error, v engine.Verdict, after time.Duration, cancelled bool) next {
	now, retries := time.Now(), a.cfg.retries()
	entry := *e
	entry.Attempt, entry.Owner, entry.WorkSeq = at, "", 0
	entry.Progress.Add(at)
	rec := &wire.Record{Entry: entry}
	end := func(s wire.Status, err *wire.Error) next {
		rec.Status, rec.Entry.Error, rec.Body = s, err.Code, err.Body()
		return next{rec: rec}
	}
	if cause == nil {
		cause = wire.Errorf(at.ErrorCode, "", "the attempt was cut off")
	}
	switch {
	case at.Status == wire.Succeeded:
		rec.Status = wire.Succeeded
		return next{rec: rec}
	case entry.Meta.Shadow != "":
		return end(wire.Failed, cause) // one attempt is all that a shadow has
	case cancelled:
		if at.Status != wire.Interrupted {
			at.Status, at.ErrorCode = wire.Cancelled, wire.CodeCancelled
		}
		return end(wire.Cancelled, wire.Errorf(wire.CodeCancelled, "", "the job was cancelled while it ran"))
	case at.Status == wire.Expired || entry.Meta.Expired(now):
		return end(wire.Expired, wire.Errorf(wire.CodeDeadline, wire.HeaderDeadline, "the deadline passed while attempt %d ran", at.N))
	case at.Status == wire.Failed && (v == engine.Final || at.ErrorCode.Misfit() && !ledger.Fits(&entry.Progress, at)):
		return end(wire.Failed, cause)
	case retries.Over(&entry.Progress, at):
		n := end(wire.Failed, wire.Errorf(cause.Code, cause.Param, "%s (attempt %d, the last; the job is in the dead letters)", cause.Message, at.N))
		n.bury = true
		return n
	}
	retries.Blame(&rec.Entry.Progress, at)
	if a.pool.Bundle != nil && at.NotTaken() {
		rec.Entry.Progress.Tried = e.Progress.Tried // it may wait for room there
	}
	until := now.Add(retries.Wait(&rec.Entry.Progress, at, after, rand.N[time.Duration]))
	if d := entry.Meta.Deadline; d != 0 && until.UnixNano() >= d {
		return end(wire.Expired, wire.Errorf(wire.CodeDeadline, wire.HeaderDeadline,
			"attempt %d failed (%s) and the deadline leaves no time for another", at.N, cause.Code))
	}
	rec.Status, rec.Reason, rec.Until = wire.Waiting, wire.ReasonRetry, until
	return next{rec: rec}
}

// capped is the job's body, with the output that a fallback allows.
func (a *attempt) capped() []byte {
	at := a.asg.Attempt
	if at.MaxTokens == 0 {
		return a.body
	}
	return wire.CapTokens(a.body, a.asg.Meta.Endpoint, at.MaxTokens, at.Provider == "openai" || at.Provider == "azure")
}

// retries are the rules that a failed attempt follows.
func (c *Config) retries() ledger.Retries {
	return ledger.Retries{MaxAttempts: c.MaxAttempts, MaxCuts: c.MaxCuts, Backoff: c.Backoff, BackoffMax: c.BackoffMax}
}

// write makes what follows durable: dead letter, record, requeue, in that
// order, each of which may be repeated.
func (a *attempt) write(ctx context.Context, n next, expect uint64) error {
	if n.bury {
		if err := a.cfg.Ledger.Bury(ctx, n.rec, a.body); err != nil {
			return err
		}
	}
	seq, err := a.cfg.Ledger.Append(ctx, n.rec, expect)
	if err != nil || n.rec.Status != wire.Waiting {
		return err
	}
	// Before the job is queued: the next attempt may be here before this
	// function returns, and must not find the place of its job taken.
	a.leave(a.key, a.call)
	if err := a.cfg.Ledger.RequeueWaiting(ctx, n.rec, seq, a.body); err != nil {
		return errors.Join(errNotQueued, err)
	}
	return nil
}

// errNotQueued: the waiting record stands but the job is in no queue yet. The
// work message must stay: its next delivery finds the record and queues the
// job (ledger.Again).
var errNotQueued = errors.New("job not queued again yet")

func (a *attempt) warn(what string, err error) {
	a.cfg.Logger.Warn(what, "tenant", a.asg.Meta.Tenant, "job", a.asg.Meta.ID, "pool", a.pool.Name, "err", err)
}

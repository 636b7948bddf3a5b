package run

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/adapter"
	"github.com/sluicehq/sluice/workers/engine"
)

// lineID is a line's own among all bundles.
func (c *carrier) lineID(l *line) string { return c.b.ID + "-" + strconv.FormatUint(l.seq, 10) }

// callOf is the attempt that a line is.
func (c *carrier) callOf(l *line) *engine.Call {
	a := attempt{Runner: c.Runner, asg: l.asg, body: l.body}
	return &engine.Call{Meta: &l.asg.Meta, Body: a.capped(), Model: l.asg.Attempt.Model, Attempt: l.asg.Attempt.N}
}

// lineAt is a line of the bundle, nil if that is none.
func (c *carrier) lineAt(ctx context.Context, seq uint64) (*line, error) {
	s, err := c.lines(ctx)
	if err != nil {
		return nil, err
	}
	m, err := s.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(m.Subject, strings.TrimSuffix(c.cfg.Subjects.Bundles(c.b.ID, "*", "*"), "*.*")) {
		return nil, nil
	}
	return readBundleLine(m.Header, m.Data, m.Sequence)
}

// errForeign says that a bundle that was found by time and size is not ours.
var errForeign = errors.New("the provider's bundle is another's")

// settleAtOnce bounds how many lines' ends are written at a time.
const settleAtOnce = 16

// collect ends the jobs of a bundle by its results. Lines without one were not
// run.
func (c *carrier) collect(ctx context.Context, x *engine.Bundle) (over bool, err error) {
	var all errgroup.Group
	all.SetLimit(settleAtOnce)
	err = c.api.Results(ctx, x, func(res adapter.BundleResult) error {
		bundle, tail, _ := strings.Cut(res.ID, "-")
		seq, perr := strconv.ParseUint(tail, 10, 64)
		if bundle != c.b.ID || perr != nil {
			if c.b.Guess {
				return errForeign
			}
			c.log.Error("the provider has results of other lines in a bundle", "provider", x.ID)
			return nil
		}
		if res.Status == 0 {
			return nil
		}
		res.Body = append([]byte(nil), res.Body...)
		all.Go(func() error {
			l, err := c.lineAt(ctx, seq)
			if err != nil || l == nil {
				return err
			}
			return c.settle(ctx, l, c.api.Outcome(c.callOf(l), res))
		})
		return nil
	})
	if err = errors.Join(err, all.Wait()); errors.Is(err, errForeign) {
		return false, c.change(ctx, func(b *bundle) { b.Not, b.Provider, b.Guess = append(b.Not, b.Provider), "", false })
	}
	if err != nil {
		return false, err
	}
	return c.close(ctx, x, c.unrun)
}

// close ends every job that the bundle still has, and then the bundle.
func (c *carrier) close(ctx context.Context, x *engine.Bundle, outcome func(*line) *engine.Outcome) (over bool, err error) {
	var all errgroup.Group
	all.SetLimit(settleAtOnce)
	err = c.eachLine(ctx, c.b, func(l *line) error {
		all.Go(func() error { return c.settle(ctx, l, outcome(l)) })
		return ctx.Err()
	})
	if err = errors.Join(err, all.Wait()); err != nil {
		return false, err
	}
	if x != nil {
		if err := c.api.Discard(ctx, x); err != nil {
			c.log.Debug("the provider keeps what it has of a bundle", "provider", x.ID, "err", err)
		}
	}
	c.log.Info("a bundle is over", "lines", c.b.Lines, "provider", c.b.Provider)
	return true, c.forget(ctx, c.b)
}

// unrun is the outcome of a line that the provider has not run, which costs
// nothing: it goes back to the routers, unless its time is up.
func (c *carrier) unrun(l *line) *engine.Outcome {
	out := &engine.Outcome{Status: wire.Interrupted, Source: wire.UsageEstimated, Verdict: engine.RetryElsewhere,
		Err: wire.Errorf(wire.CodeInterrupted, "", "the provider's batch was stopped before it ran the line")}
	switch m := &l.asg.Meta; {
	case m.Expired(time.Now()):
		out.Status, out.Err = wire.Expired, wire.Errorf(wire.CodeDeadline, wire.HeaderDeadline, "the deadline passed before the provider's batch ran the line")
	case m.Bundles(time.Now().UnixNano()): // not stopped by us: the provider's own time was up
		out.Status, out.Err = wire.Failed, wire.Errorf(wire.CodeTimeout, "", "the provider's batch ended before it ran the line")
	}
	return out
}

// lost is the outcome of a line of which nobody knows whether it was run: what
// it cost is not known.
func (c *carrier) lost(l *line) *engine.Outcome {
	out := c.unrun(l)
	out.Source = ""
	return out
}

// settle ends a line's attempt and deletes the line, so that it is not met again.
func (c *carrier) settle(ctx context.Context, l *line, out *engine.Outcome) error {
	if err := c.end(ctx, l, out); err != nil {
		return err
	}
	s, err := c.lines(ctx)
	if err != nil {
		return err
	}
	if err := s.DeleteMsg(ctx, l.seq); err != nil {
		c.log.Debug("a line stays in a bundle; it is seen that it has ended", "err", err)
	}
	return nil
}

// end ends a line's attempt (I2), unless it has ended, and does what follows.
// What another owner of the bundle has written stands.
func (c *carrier) end(ctx context.Context, l *line, out *engine.Outcome) error {
	m := &l.asg.Meta
	a := &attempt{Runner: c.Runner, pool: c.p, asg: l.asg, key: m.Tenant + "." + m.ID, body: l.body, workSeq: l.work}
	for range claimTries {
		last, err := c.cfg.Ledger.Last(ctx, m.Tenant, m.ID)
		if err != nil {
			return err
		}
		entry, expect, began, cancelled := wire.Entry{Meta: *m, Progress: l.asg.Progress}, uint64(0), time.Unix(0, c.b.At), false
		at := *l.asg.Attempt
		switch {
		case last == nil: // its claim is older than the retention
		case c.has(l, last):
			entry, expect, began, cancelled = last.Entry, last.Seq, last.At, last.Reason == wire.ReasonCancel
			at = *last.Entry.Attempt
		default:
			if r := ledger.Judge(last, m, ledger.WorkOf(&l.asg, l.work)); r.Verdict == ledger.Again {
				a.refused(ctx, last, r)
			}
			return nil
		}
		if cancelled && out.Status != wire.Succeeded {
			x := *out
			x.Status, x.Err = wire.Cancelled, wire.Errorf(wire.CodeCancelled, "", "the job was cancelled")
			out = &x
		}
		n := a.next(&entry, a.ended(&at, out, time.Since(began)), out.Err, out.Verdict, out.RetryAfter, cancelled)
		a.keepText(&at, out)
		if out.Status == wire.Succeeded {
			n.rec.Body = out.Body
		}
		if err = a.write(ctx, n, expect); err == nil {
			c.cfg.Tracer.Past(ctx, m, &at, began, out.Body)
			return nil
		}
		var x *ledger.Conflict
		if !errors.As(err, &x) {
			return err
		}
	}
	return errors.New("a job of a bundle keeps changing")
}

// ended is an attempt at its end. An outcome without a source says nothing of
// the cost.
func (a *attempt) ended(at *wire.Attempt, out *engine.Outcome, took time.Duration) *wire.Attempt {
	at.Status, at.HTTP, at.LatencyMS = out.Status, out.HTTP, max(0, took.Milliseconds())
	at.RetryAfterMS, at.ErrorCode = out.RetryAfter.Milliseconds(), ""
	if out.Err != nil {
		at.ErrorCode = out.Err.Code
	}
	if out.Source == "" {
		at.Price = nil
		at.Settle(wire.Usage{Input: a.asg.Meta.InputTokens()}, wire.UsageEstimated)
		return at
	}
	at.Settle(out.Usage, out.Source)
	return at
}

// voided ends an attempt that was claimed for a bundle which went on without it:
// nothing was sent, so it costs nothing (I7).
func (a *attempt) voided(ctx context.Context, last *ledger.Stored) verdict {
	at := *last.Entry.Attempt
	cause := wire.Errorf(wire.CodeInterrupted, "", "the worker of attempt %d vanished before it sent anything", at.N)
	out := &engine.Outcome{Status: wire.Interrupted, Source: wire.UsageEstimated, Err: cause}
	n := a.next(&last.Entry, a.ended(&at, out, time.Since(last.At)), cause, engine.RetryElsewhere, 0, last.Reason == wire.ReasonCancel)
	if err := a.write(ctx, n, last.Seq); err != nil {
		a.warn("work message kept", err)
		return later
	}
	a.cfg.Tracer.Past(ctx, &last.Entry.Meta, &at, last.At, nil)
	return done
}

func readBundle(e jetstream.KeyValueEntry) (*bundle, error) {
	b := &bundle{rev: e.Revision()}
	return b, json.Unmarshal(e.Value(), b)
}

package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/cron"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// source is one queue that jobs come from, with the free places for them.
type source struct {
	topology.Source
	free  chan struct{}
	lot   bool   // of parked jobs
	lifts *lifts // that hear when there is no free place; nil: nobody does
}

func newSource(s topology.Source, held int) *source {
	src := &source{Source: s, free: make(chan struct{}, held)}
	src.release(held)
	return src
}

func (s *source) release(n int) {
	for range n {
		s.free <- struct{}{}
	}
}

// acquire takes at least one place, at most limit, waiting for the first.
func (s *source) acquire(ctx context.Context, limit int) int {
	if n := s.take(limit); n > 0 {
		return n
	}
	if s.lifts != nil {
		s.lifts.full.Add(1)
		defer s.lifts.full.Add(-1)
		select {
		case s.lifts.crowded <- struct{}{}:
		default:
		}
	}
	select {
	case <-s.free:
	case <-ctx.Done():
		return 0
	}
	return 1 + s.take(limit-1)
}

// take takes the places that are free, at most limit.
func (s *source) take(limit int) int {
	for n := range limit {
		select {
		case <-s.free:
		default:
			return n
		}
	}
	return limit
}

// fetchMost and fetchWait shape one pull. Messages arrive as they come, the
// wait only says how long an unfilled pull stays open.
const (
	fetchMost = 256
	fetchWait = 5 * time.Second
)

// intake fetches jobs of one source until ctx ends, and makes its queue anew
// when it is gone (package reconcile removes one that forgets messages).
func (d *Dispatcher) intake(ctx context.Context, src *source) {
	for ctx.Err() == nil {
		d.intakeUntil(ctx, src, fetchWait, func() bool { return false })
		for ctx.Err() == nil {
			s, err := src.Renew(ctx, d.cfg.JS)
			if err == nil {
				src.Source = s
				break
			}
			d.cfg.Logger.Warn("queue of jobs is gone and cannot be made yet, trying again", "class", src.Class, "err", err)
			_ = ledger.Pause(ctx, time.Second) // ends with ctx, as the loop does
		}
	}
}

// gone reports whether a pull failed because its consumer does not exist.
func gone(err error) bool {
	return errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrConsumerDeleted)
}

// intakeUntil fetches jobs of one source until ctx ends, or until a pull of
// the given length brought nothing and empty agrees (true). A source that is
// gone ends it too (false).
func (d *Dispatcher) intakeUntil(ctx context.Context, src *source, wait time.Duration, empty func() bool) bool {
	pull := newPuller(d.cfg.JS.Conn(), d.cfg.Subjects, src.Consumer)
	defer pull.close()
	for {
		n := src.acquire(ctx, fetchMost)
		if n == 0 {
			return false
		}
		got, err := pull.fetch(ctx, n, wait, func(m *delivery) { d.admit(ctx, &item{msg: m, source: src}) })
		src.release(n - got)
		switch {
		case ctx.Err() != nil:
			return false
		case gone(err):
			return false
		case got == 0 && empty():
			return true
		case err != nil && !errors.Is(err, context.DeadlineExceeded):
			d.cfg.Logger.Warn("a pull for jobs failed, trying again", "class", src.Class, "err", err)
			if ledger.Pause(ctx, 500*time.Millisecond) != nil {
				return false
			}
		}
	}
}

// admit reads one message and sends it where it belongs: to the loop, to a
// failed or expired record, or to its schedule.
func (d *Dispatcher) admit(ctx context.Context, it *item) {
	now := time.Now()
	fault, readable := it.parse(d.cfg.Subjects)
	if !readable {
		d.cfg.Logger.Error("unreadable queue message dropped: only Sluice's own parts may publish there", "subject", it.msg.Subject())
		d.done(it)
		return
	}
	if fault != nil {
		d.settle(ctx, it, func() error { return d.finish(ctx, it, wire.Failed, nil, fault) })
		return
	}
	if !d.lifts.enter(it) {
		it.source.release(1) // the queue gives out what is lifted already
		return
	}
	d.steer(it, now)
	m := &it.asg.Meta
	if _, ok := d.table.Load().Route(it.course.Route); !ok {
		err := wire.Errorf(wire.CodeUnknownRoute, "model", "no route is called %.80q: see the configured routes with `sluice route list`", m.Route)
		d.settle(ctx, it, func() error { return d.finish(ctx, it, wire.Failed, nil, err) })
		return
	}
	if m.Webhook != "" && d.cfg.NoWebhooks && it.asg.Progress.Attempts == 0 {
		err := wire.Errorf(wire.CodeInvalidHeader, wire.HeaderWebhook, "this Sluice calls no webhooks: webhooks.secret is not configured")
		d.settle(ctx, it, func() error { return d.finish(ctx, it, wire.Failed, nil, err) })
		return
	}
	if m.Expired(now) {
		d.settle(ctx, it, func() error { return d.expire(ctx, it) })
		return
	}
	if m.NotBefore > now.UnixNano() && it.asg.Progress.Attempts == 0 {
		d.settle(ctx, it, func() error { return d.delay(ctx, it, wire.ReasonDelay, nil, m.NotBefore) })
		return
	}
	select {
	case d.arrived <- it:
	case <-ctx.Done():
		d.giveBack(it, 0)
	}
}

// parse reads a submitted job, whose faults get a record, or one that Sluice
// itself queued again: unless that is readable, nobody knows whose it is.
func (it *item) parse(s wire.Subjects) (fault *wire.Error, readable bool) {
	md, err := it.msg.Metadata()
	if err != nil {
		return nil, false
	}
	submitted := func(job wire.Job) {
		it.asg = wire.Assignment{Meta: job.Meta, Progress: wire.Progress{ReadyAt: job.SubmittedAt}}
	}
	if cron.Fired(s, it.msg.Headers()) && md.Stream == s.Stream(wire.StreamSched) {
		_, class, _ := s.SplitJobs(it.msg.Subject())
		job, fault := cron.Job(s, it.msg.Headers(), class, it.msg.Data(), md.Seq, md.At)
		submitted(job)
		return fault, true
	}
	if it.source.lot || md.Stream == s.Stream(wire.StreamSched) {
		it.asg, err = wire.DecodeAssignment(it.msg.Headers())
		return nil, err == nil && it.asg.Meta.Valid()
	}
	tenant, class, ok := s.SplitJobs(it.msg.Subject())
	if !ok {
		return nil, false
	}
	job, fault := wire.ParseJob(tenant, class, it.msg.Headers(), it.msg.Data(), md.Seq, md.At)
	submitted(job)
	return fault, true
}

// settle runs what ends or delays a job, and acknowledges its message if that
// worked (I1).
func (d *Dispatcher) settle(ctx context.Context, it *item, f func() error) {
	if err := f(); err != nil {
		if ctx.Err() == nil {
			d.cfg.Logger.Warn("job stays in its queue", "job", it.asg.Meta.ID, "tenant", it.asg.Meta.Tenant, "err", err)
		}
		d.giveBack(it, time.Second)
		return
	}
	d.done(it)
}

// expire ends a job whose deadline has passed.
func (d *Dispatcher) expire(ctx context.Context, it *item) error {
	return d.finish(ctx, it, wire.Expired, it.last, wire.Errorf(wire.CodeDeadline, wire.HeaderDeadline,
		"the deadline %s passed before an attempt could start", time.Unix(0, it.asg.Meta.Deadline).UTC().Format(time.RFC3339)))
}

// finish writes the job's terminal record, with the decision that it follows
// from; nil: none.
func (d *Dispatcher) finish(ctx context.Context, it *item, status wire.Status, dec *wire.Decision, cause *wire.Error) error {
	rec := &wire.Record{Status: status, Body: cause.Body(),
		Entry: wire.Entry{Meta: it.asg.Meta, Progress: it.asg.Progress, Error: cause.Code, Decision: dec}}
	_, err := d.cfg.Ledger.Settle(ctx, rec, it.asg.Progress.Expect)
	return err
}

// delay writes a waiting record, with the decision that it follows from or nil,
// and the schedule that brings the job back.
func (d *Dispatcher) delay(ctx context.Context, it *item, why wire.Reason, dec *wire.Decision, at int64) error {
	asg := it.asg
	if d := asg.Meta.Deadline; d != 0 && d < at {
		at = d // to end as expired
	}
	until := time.Unix(0, at)
	rec := &wire.Record{Status: wire.Waiting, Reason: why, Until: until,
		Entry: wire.Entry{Meta: asg.Meta, Progress: asg.Progress, Decision: dec}}
	seq, err := d.cfg.Ledger.Settle(ctx, rec, asg.Progress.Expect)
	if err != nil || seq == 0 {
		return err
	}
	asg.Progress.Expect = seq
	return d.cfg.Ledger.Requeue(ctx, &asg, it.msg.Data(), until, time.Now())
}

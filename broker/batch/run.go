package batch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// run is a batch in the hands of its owner. Every error of it ends it: the
// next run starts as after a crash, from the manifest and the log.
type run struct {
	s   *Service
	m   *Manifest
	log *slog.Logger

	results *results
	was     bitmap // lines that had a result when this run began; not changed any more
	window  *window
	records chan record   // from the follower
	local   chan result   // of lines that get no job
	gone    chan struct{} // closed when nobody reads records any more

	folded atomic.Uint64 // results.position, for the follower

	cancel chan struct{} // closed when the client wants the batch to stop
	once   sync.Once     // closes cancel
	over   chan struct{} // closed when no line is to be started any more
	why    wire.Status   // then: Cancelled or Expired
}

// record is a terminal record of a line.
type record struct {
	line int64
	seq  uint64
	rec  wire.Record
}

const (
	commitDelay    = 100 * time.Millisecond // after which a lone result is committed
	progressEvery  = 500 * time.Millisecond // between two looks that clients can have at the sums
	recordsAhead   = 64
	closeOutEvery  = 2 * time.Second
	closeOutAtOnce = 32
)

// run brings the batch forward until it has ended, ctx ends or something
// fails.
func (r *run) run(ctx context.Context) error {
	m, _, err := r.s.store.manifest(ctx, r.m.Tenant, r.m.ID)
	if errors.Is(err, ErrNotFound) {
		gone := *r.m
		gone.Status = Failed
		r.m = &gone
		return nil
	}
	if err != nil {
		return err
	}
	if r.m = m; r.m.Status == Validating {
		if err := r.validate(ctx); err != nil {
			return err
		}
	}
	if r.m.Status == Cancelling && r.m.Lines == 0 { // before anything ran
		return r.move(ctx, Cancelled, nil)
	}
	if r.m.Status.Terminal() {
		return nil
	}
	if r.results, err = r.s.store.openLog(ctx, r.m); err != nil {
		return err
	}
	if r.m.Status != Finalizing {
		err := r.execute(ctx)
		if errors.Is(err, errNoInput) {
			return r.move(ctx, Failed, func(m *Manifest) {
				m.Faults = []Fault{{Code: faultGone, Param: "input_file_id", Message: "The input file is not there any more."}}
			})
		}
		if err != nil {
			return err
		}
	}
	return r.finalize(ctx)
}

// move changes the status, and what else follows from it.
func (r *run) move(ctx context.Context, to Status, change func(*Manifest)) error {
	m, err := r.s.store.update(ctx, r.m.Tenant, r.m.ID, func(m *Manifest) error {
		if !m.move(to, time.Now()) {
			return errUnchanged
		}
		if change != nil {
			change(m)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if r.m = m; m.Status == to {
		r.log.Info("batch is "+string(to), "lines", m.Lines, "succeeded", m.Tally.Succeeded, "failed", m.Tally.Done()-m.Tally.Succeeded)
	}
	return nil
}

// validate reads the whole input before any of it runs.
func (r *run) validate(ctx context.Context) error {
	v := &validator{m: r.m, most: r.s.cfg.MaxLines, routes: r.s.cfg.Routes, now: time.Now()}
	lines, model, faults, err := v.validate(ctx, r.s.store)
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		return r.move(ctx, Failed, func(m *Manifest) { m.Faults = faults })
	}
	stream, err := r.s.cfg.JS.Stream(ctx, r.s.cfg.Subjects.Stream(wire.StreamLedger))
	if err != nil {
		return fmt.Errorf("look at the ledger: %w", err)
	}
	start := stream.CachedInfo().State.LastSeq
	return r.move(ctx, InProgress, func(m *Manifest) { m.Lines, m.Model, m.Start = lines, model, start })
}

// execute runs the lines that have no result, until each has one.
func (r *run) execute(ctx context.Context) error {
	if r.results.tally.Done() >= r.m.Lines {
		return nil
	}
	r.was = append(bitmap(nil), r.results.done...)
	r.window = newWindow(r.size())
	r.records, r.local, r.gone, r.over = make(chan record, recordsAhead), make(chan result), make(chan struct{}), make(chan struct{})
	r.folded.Store(r.results.position)
	if r.m.Status == Cancelling {
		r.stopped()
	}
	defer close(r.gone)
	r.s.follow(r)
	defer r.s.unfollow(r)
	ctx, finish := context.WithCancelCause(ctx)
	defer finish(nil)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.submit(ctx) })
	g.Go(func() error { return r.endings(ctx) })
	g.Go(func() error {
		err := r.fold(ctx)
		if err == nil {
			finish(errFinished)
		}
		return err
	})
	if err := g.Wait(); err != nil && !errors.Is(err, errFinished) {
		return err
	}
	return nil
}

// errFinished ends what goes beside the fold when every line has a result.
var errFinished = errors.New("finished")

// stopped says that the client wants the batch to stop.
func (r *run) stopped() { r.once.Do(func() { close(r.cancel) }) }

// fold gathers results and commits them, until every line has one.
func (r *run) fold(ctx context.Context) error {
	p := r.fresh(nil)
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	armed, shown := false, time.Time{}
	for r.results.tally.Done() < r.m.Lines {
		flush := false
		select {
		case rec := <-r.records:
			if err := r.take(ctx, p, &rec); err != nil {
				return err
			}
		case res := <-r.local:
			if err := r.settle(ctx, p, &res); err != nil {
				return err
			}
		case <-due.C:
			armed, flush = false, true
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		switch n := len(p.lines); {
		case n == 0:
			continue
		case flush, p.full(), p.tally.Done() >= r.m.Lines:
		default:
			if !armed {
				armed = true
				due.Reset(commitDelay)
			}
			continue
		}
		if err := r.commit(ctx, p); err != nil {
			return err
		}
		p = r.fresh(p)
		if time.Since(shown) >= progressEvery {
			shown = time.Now()
			if err := r.show(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// commit makes pending results durable, and frees the places of their lines.
func (r *run) commit(ctx context.Context, p *pending) error {
	if err := r.results.commit(ctx, p); err != nil {
		return err
	}
	r.folded.Store(p.position)
	r.window.remove(p.lines)
	return nil
}

// settle takes the result of a line that gets no job.
func (r *run) settle(ctx context.Context, p *pending, res *result) error {
	_, ok, err := r.window.take(ctx, res.line)
	if ok {
		p.add(r.m, res)
	}
	return err
}

// fresh is what is pending after a commit: nothing. It reuses old's memory.
func (r *run) fresh(old *pending) *pending {
	p := &pending{tally: r.results.tally, position: r.results.position}
	if old != nil && cap(old.out)+cap(old.errs) <= 4*commitBytes {
		p.out, p.errs, p.lines = old.out[:0], old.errs[:0], old.lines[:0]
	}
	return p
}

// take folds a record of a line.
func (r *run) take(ctx context.Context, p *pending, rec *record) error {
	if rec.seq <= p.position || r.was.has(rec.line) {
		return nil
	}
	e, ok, err := r.window.take(ctx, rec.line)
	if err != nil {
		return err
	}
	p.position = rec.seq
	if ok {
		res := r.result(rec, e.id)
		p.add(r.m, &res)
	}
	return nil
}

// result is what a terminal record says of its line.
func (r *run) result(rec *record, id string) result {
	e := &rec.rec.Entry
	res := result{line: rec.line, id: id, status: rec.rec.Status, code: e.Error, body: rec.rec.Body,
		spent: e.Progress.Spent, costed: !e.Progress.Unknown, http: 200}
	provider := 0
	if e.Attempt != nil {
		res.usage, provider = e.Attempt.Usage, e.Attempt.HTTP
	}
	if res.status == wire.Failed {
		res.http = r.s.cfg.StatusOf(res.code, provider)
	}
	return res
}

// show lets clients see the sums.
func (r *run) show(ctx context.Context) error {
	t := r.results.tally
	_, err := r.s.store.update(ctx, r.m.Tenant, r.m.ID, func(m *Manifest) error { m.Tally = t; return nil })
	return err
}

// finalize makes files of the results and ends the batch.
func (r *run) finalize(ctx context.Context) error {
	t := r.results.tally
	if r.m.Status == InProgress {
		if err := r.move(ctx, Finalizing, func(m *Manifest) { m.Tally = t }); err != nil {
			return err
		}
	}
	if r.m.API == OpenAI {
		for _, side := range []Side{Output, Errors} {
			if err := r.s.store.publish(ctx, r.m, side, &t); err != nil {
				return err
			}
		}
	}
	end := Completed
	switch {
	case r.m.Status == Cancelling:
		end = Cancelled
	case t.Expired > 0:
		end = Expired
	}
	return r.move(ctx, end, func(m *Manifest) { m.Tally = t })
}

// publish makes one side of the results a file, unless it is empty.
func (s *Store) publish(ctx context.Context, m *Manifest, side Side, t *Tally) error {
	n := t.bytes(side)
	if n == 0 {
		return nil
	}
	age := m.ResultsAge
	if age == 0 {
		age = int64(maxAge / time.Second)
	}
	now := time.Now().Unix()
	f := &File{ID: resultID(m.ID, side), Tenant: m.Tenant, Name: m.ID + "_" + string(side) + ".jsonl", Purpose: "batch_output", Bytes: n,
		CreatedAt: now, ExpiresAt: now + age, Batch: m.ID, Side: side}
	_, err := s.create(ctx, kindFile, f.Tenant, f.ID, f)
	if errors.Is(err, jetstream.ErrKeyExists) {
		return nil // an earlier owner came that far
	}
	return err
}

// endings waits until the batch has to stop, and then ends what is on its
// way.
func (r *run) endings(ctx context.Context) error {
	t := time.NewTimer(time.Until(time.Unix(r.m.ExpiresAt, 0)))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return nil
	case <-r.cancel:
		r.why = wire.Cancelled
	case <-t.C:
		r.why = wire.Expired
	}
	close(r.over)
	for {
		if err := r.closeOut(ctx); err != nil {
			r.log.Warn("jobs of a batch cannot be ended yet, trying again", "err", err)
		}
		if ledger.Pause(ctx, closeOutEvery) != nil {
			return nil
		}
	}
}

// closeOut gives every job on its way the record that it has ended, unless it
// runs or waits: then it is asked to, or its own deadline ends it.
func (r *run) closeOut(ctx context.Context) error {
	var g errgroup.Group
	g.SetLimit(closeOutAtOnce)
	cause := wire.Errorf(wire.CodeCancelled, "", "the batch was cancelled")
	if r.why == wire.Expired {
		cause = wire.Errorf(wire.CodeDeadline, wire.HeaderDeadline, "the batch expired")
	}
	for _, meta := range r.window.running() {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			rec := &wire.Record{Status: r.why, Body: cause.Body(), Entry: wire.Entry{Meta: meta, Error: cause.Code}}
			_, err := r.s.cfg.Ledger.Append(ctx, rec, 0)
			var c *ledger.Conflict
			if errors.As(err, &c) {
				if r.why == wire.Cancelled && c.Last != nil && !c.Last.Status.Terminal() {
					return r.askCancel(ctx, c.Last)
				}
				return nil
			}
			return err
		})
	}
	return g.Wait()
}

// askCancel has a job cancelled that has begun. One that waits is the broker's
// to end; if there is no answer, it is asked again at the next turn.
func (r *run) askCancel(ctx context.Context, last *ledger.Stored) error {
	if last.Status == wire.Running { // its worker says how it ended, perhaps much later
		var c *ledger.Conflict
		if err := r.s.cfg.Ledger.AskCancel(ctx, last); !errors.As(err, &c) {
			return err
		}
		return nil // it goes on, and is looked at again
	}
	ctx, cancel := context.WithTimeout(ctx, closeOutEvery)
	defer cancel()
	_, _ = r.s.cfg.JS.Conn().RequestWithContext(ctx, r.s.cfg.Subjects.Cancel(r.m.Tenant, last.Entry.Meta.ID), nil)
	return nil
}

package batch

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Bounds of what is published and not acknowledged.
const (
	sendMost  = 256
	sendBytes = 12 << 20
	sendPause = 250 * time.Millisecond
)

// errNoInput says that a batch's input has gone.
var errNoInput = errors.New("the input file is gone")

// sending is a line's job on its way into the jobs stream.
type sending struct {
	msg    *nats.Msg
	future *ledger.Future
}

// submitter reads the input and submits the lines that have no result.
type submitter struct {
	*run
	ctx    context.Context
	seen   int // lines without a committed result when the run began
	flight []sending
	bytes  int
}

func (r *run) submit(ctx context.Context) error {
	var f File // expired or not: the batch needs it
	if _, err := r.s.store.get(ctx, kindFile, r.m.Tenant, r.m.Input, &f); err != nil {
		if errors.Is(err, ErrNotFound) {
			return errNoInput
		}
		return err
	}
	sub := &submitter{run: r, ctx: ctx}
	in := &splitter{each: sub.line, most: maxLine}
	err := r.s.store.Copy(ctx, in, &f)
	if err == nil {
		err = in.close()
	}
	for err == nil && len(sub.flight) > 0 {
		err = sub.settle()
	}
	if err == nil {
		r.window.end()
	}
	return err
}

// line brings one line on its way, or gives it its result at once.
func (s *submitter) line(line []byte, n int64) error {
	if s.was.has(n) {
		return nil
	}
	s.seen++
	r, fault := readLine(line, s.m.Endpoint)
	e := entry{id: r.id}
	over := s.isOver()
	var bad *wire.Error
	if fault != nil { // cannot be after validation
		bad = wire.Errorf(wire.CodeInvalidRequest, fault.Param, "%s", fault.Message)
	} else {
		e.meta, bad = s.m.check(&r, n, time.Now())
	}
	// Where the batch has stopped, a line may still have a job from before
	// (I2), which then has to be ended.
	e.job = bad == nil && (!over || s.seen <= s.size())
	if err := s.window.add(s.ctx, n, e); err != nil {
		return err
	}
	res := result{line: n, id: r.id, costed: true}
	switch {
	case bad != nil:
		res.status, res.code, res.http, res.body = wire.Failed, bad.Code, s.s.cfg.StatusOf(bad.Code, 0), bad.Body()
	case !e.job:
		res.status = s.why
	case over:
		return nil
	default:
		return s.send(&r, n)
	}
	select {
	case s.local <- res:
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

func (s *submitter) isOver() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// send publishes a line's job, and waits while too much is on its way.
func (s *submitter) send(r *request, n int64) error {
	msg := &nats.Msg{Subject: s.s.cfg.Subjects.Jobs(wire.Payer(s.m.Tenant, s.m.Key), wire.Batch), Header: s.m.header(n), Data: append([]byte(nil), r.body...)}
	f, err := s.s.pub.Publish(msg)
	if err != nil {
		return err
	}
	s.flight = append(s.flight, sending{msg, f})
	s.bytes += len(msg.Data)
	for len(s.flight) >= sendMost || s.bytes >= sendBytes && len(s.flight) > 1 {
		if err := s.settle(); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until the oldest job on its way is stored. One that is refused
// or lost is published again, which is safe: its ID makes it the same job.
func (s *submitter) settle() error {
	x := s.flight[0]
	s.flight = s.flight[1:]
	s.bytes -= len(x.msg.Data)
	for {
		_, err := await(s.ctx, x.future)
		if err == nil {
			return nil
		}
		if s.isOver() {
			return nil // its record says that it has ended
		}
		if err := ledger.Pause(s.ctx, sendPause); err != nil {
			return err
		}
		if x.future, err = s.s.pub.Publish(x.msg); err != nil {
			return err
		}
	}
}

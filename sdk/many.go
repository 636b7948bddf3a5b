package sdk

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// SubmitMany submits jobs without waiting for each acknowledgement before the
// next is sent, and yields every job's handle, in the order of jobs, once it
// is known whether the broker took it: with a nil error it did, exactly as
// after [Client.Submit]; an error concerns that one job, and the others go on.
// The handle is never nil.
//
// At most 2,048 jobs are sent ahead of the one being yielded, so jobs may
// be an endless sequence. When the loop breaks, jobs already sent are not
// taken back, and what became of them is not reported. When ctx ends, the
// jobs that are not yet acknowledged are yielded with its error and no more
// are read from jobs.
func (c *Client) SubmitMany(ctx context.Context, jobs iter.Seq[Job]) iter.Seq2[*Handle, error] {
	return func(yield func(*Handle, error) bool) {
		const ahead = windowSize / 2
		ring := make([]submission, 0, ahead)
		first := 0 // the oldest of the ring once it is full
		for job := range jobs {
			if ctx.Err() != nil {
				break
			}
			s := c.submitAsync(ctx, &job)
			if len(ring) < ahead {
				ring = append(ring, s)
				continue
			}
			oldest := ring[first]
			ring[first] = s
			first = (first + 1) % ahead
			if !yield(oldest.h, c.settle(ctx, &oldest)) {
				return
			}
		}
		for i := range ring {
			s := &ring[(first+i)%len(ring)]
			if !yield(s.h, c.settle(ctx, s)) {
				return
			}
		}
	}
}

// submission is a job on its way: msg and future are nil when err says that
// it was not sent.
type submission struct {
	h      *Handle
	msg    *nats.Msg
	future jetstream.PubAckFuture
	err    error
}

// submitAsync sends a job and does not wait for the acknowledgement.
func (c *Client) submitAsync(ctx context.Context, job *Job) submission {
	msg, id, e := c.message(job)
	s := submission{h: &Handle{c: c, id: id, fresh: e == nil}}
	if e != nil {
		s.err = e
		return s
	}
	if c.isClosed() {
		s.err = named(errClosed, id)
		return s
	}
	s.msg = msg
	for {
		s.future, s.err = c.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0))
		if !errors.Is(s.err, jetstream.ErrTooManyStalledMsgs) || ctx.Err() != nil || c.isClosed() {
			return s
		}
		// Refused before it was sent: other submissions of this client fill
		// the window. The call has already waited for room.
	}
}

// settle waits until it is known what became of a submission. One that was
// not acknowledged is published again, one by one.
func (c *Client) settle(ctx context.Context, s *submission) error {
	if s.msg == nil {
		return s.err
	}
	err := s.err
	if err == nil {
		select {
		case <-s.future.Ok(): // first, so that an acknowledged job is never reported as cut off
			return nil
		default:
		}
		select {
		case <-s.future.Ok():
			return nil
		case err = <-s.future.Err():
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.closed:
			return named(errClosed, s.h.id)
		}
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return classify(err).of(s.h.id)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return c.publish(ctx, s.msg, s.h.id)
}

// waitAhead bounds the goroutines of one WaitMany.
const waitAhead = 4096

// WaitMany waits for many jobs at once and yields each one's result as it
// comes, in no particular order, as [Handle.Wait] would return it; the result
// names its job, also beside an error. At most 4,096 jobs are waited for at a
// time; the others are read from handles as those end. The loop ends when all
// have been yielded. When ctx ends, the jobs that are being waited for are
// yielded with its error, and no more are read.
//
// handles is read by another goroutine than the caller's, which has ended
// when the loop has.
func (c *Client) WaitMany(ctx context.Context, handles iter.Seq[*Handle]) iter.Seq2[*Result, error] {
	return func(yield func(*Result, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		results := make(chan waited)
		var all sync.WaitGroup
		all.Go(func() {
			defer close(results)
			waitAll(ctx, handles, results)
		})
		defer func() {
			cancel()
			for range results { // let the rest go
			}
			all.Wait()
		}()
		for w := range results {
			if !yield(w.result, w.err) {
				return
			}
		}
	}
}

type waited struct {
	result *Result
	err    error
}

// waitAll sends a result for each handle, and returns when all are sent.
func waitAll(ctx context.Context, handles iter.Seq[*Handle], results chan<- waited) {
	slots := make(chan struct{}, waitAhead)
	var running sync.WaitGroup
	defer running.Wait()
	for h := range handles {
		if ctx.Err() != nil {
			return
		}
		slots <- struct{}{}
		running.Go(func() {
			r, err := h.Wait(ctx)
			if r == nil {
				r = &Result{Job: h.id, Tenant: h.c.tenant}
			}
			results <- waited{r, err}
			<-slots
		})
	}
}

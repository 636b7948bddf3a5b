package sdk

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Submit hands a job to the broker. When it returns without an error, the job
// is stored and will have exactly one terminal record, whatever crashes.
//
// A job that cannot be right is refused before anything is sent. A publish
// that stays without acknowledgement is repeated, which is safe (S4), until
// ctx ends; a context without a deadline gets 30 seconds. When nobody answers
// for 2 seconds the error has wire.CodeUnavailable.
//
// The handle is never nil: after an error of the context or the connection
// the job may exist nevertheless.
func (c *Client) Submit(ctx context.Context, job Job) (*Handle, error) {
	msg, id, e := c.message(&job)
	h := &Handle{c: c, id: id, fresh: e == nil}
	if e != nil {
		return h, e
	}
	return h, c.publish(ctx, msg, id)
}

// Attend is [Client.Submit] for a caller who waits at once: the client listens
// before it publishes, so that what happens in between need not be looked up.
// The handle's first Wait, or first Chunks, has what was opened; release closes
// it if there was none, and must be called.
func (c *Client) Attend(ctx context.Context, job Job) (h *Handle, release func(), err error) {
	msg, id, e := c.message(&job)
	h = &Handle{c: c, id: id, fresh: e == nil}
	if e != nil {
		return h, func() {}, e
	}
	if job.ID == "" { // another's job may be running already, and has to be looked up
		r, err := h.openReader(0, 0, job.Stream)
		if err != nil {
			return h, func() {}, err
		}
		r.l.early = true
		h.ear.Store(r)
	}
	return h, h.release, c.publish(ctx, msg, id)
}

// release closes what nobody has taken.
func (h *Handle) release() {
	if r := h.ear.Swap(nil); r != nil {
		r.close()
	}
}

// publish sends msg until it is acknowledged.
func (c *Client) publish(ctx context.Context, msg *nats.Msg, id string) error {
	if c.isClosed() {
		return named(errClosed, id)
	}
	err := c.persist(ctx, func() error {
		try, done := c.guard(ctx, msg.Subject)
		defer done()
		_, err := c.js.PublishMsg(try, msg, jetstream.WithRetryAttempts(0))
		return cause(try, err)
	})
	return named(err, id)
}

// named puts the job's ID into an error of ours.
func named(err error, id string) error {
	if e, ok := err.(*Error); ok {
		return copyOf(e).of(id)
	}
	return err
}

func copyOf(e *Error) *Error {
	d := *e
	return &d
}

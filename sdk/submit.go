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

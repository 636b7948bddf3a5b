package run

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/wire"
)

// chunker publishes the events of one attempt. Only the last is acknowledged
// by the stream: then all before it, from the same connection, are stored.
type chunker struct {
	a     *attempt
	n     int
	index int
	ended bool
}

// emit publishes one event.
func (c *chunker) emit(event []byte, last bool) error {
	m := chunkMsg(c.a.cfg.Subjects, &c.a.asg.Meta, c.n, c.index, event, last)
	c.index++
	if !last {
		return c.a.cfg.JS.Conn().PublishMsg(m)
	}
	c.ended = true
	ctx, cancel := context.WithTimeout(context.Background(), chunkTimeout)
	defer cancel()
	if _, err := c.a.cfg.JS.PublishMsg(ctx, m); err != nil {
		c.a.warn("last chunk not acknowledged; the answer is in the record", err)
	}
	return nil
}

// open reports whether readers still wait for the attempt's last chunk.
func (c *chunker) open() bool { return c.index > 0 && !c.ended }

// close ends a stream that broke off, with the error as its last chunk.
func (c *chunker) close(cause *wire.Error) {
	if cause == nil {
		cause = wire.Errorf(wire.CodeStreamTruncated, "", "the stream ended early")
	}
	_ = c.emit(cause.Body(), true) // emit of a last chunk never fails
}

func chunkMsg(s wire.Subjects, m *wire.Meta, attempt, index int, event []byte, last bool) *nats.Msg {
	h := nats.Header{
		wire.HeaderAttempt: {strconv.Itoa(attempt)},
		wire.HeaderIndex:   {strconv.Itoa(index)},
	}
	if last {
		h[wire.HeaderEnd] = []string{"true"}
	}
	return &nats.Msg{Subject: s.Chunks(m.Tenant, m.ID), Header: h, Data: event}
}

// streamed is how many chunks of the job's attempt n are stored, about one
// output token each, and whether the last of them ends the stream.
func (a *attempt) streamed(ctx context.Context, n int) (chunks int64, ended bool, err error) {
	if !a.asg.Meta.Stream {
		return 0, false, nil
	}
	st, err := a.cfg.JS.Stream(ctx, a.cfg.Subjects.Stream(wire.StreamChunks))
	if err != nil {
		return 0, false, err
	}
	m, err := st.GetLastMsgForSubject(ctx, a.cfg.Subjects.Chunks(a.asg.Meta.Tenant, a.asg.Meta.ID))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	if m.Header.Get(wire.HeaderAttempt) != strconv.Itoa(n) {
		return 0, false, nil
	}
	index, err := strconv.ParseInt(m.Header.Get(wire.HeaderIndex), 10, 64)
	if err != nil {
		return 0, false, nil //nolint:nilerr // a chunk that is not ours says nothing
	}
	return index + 1, m.Header.Get(wire.HeaderEnd) != "", nil
}

// closeCut ends the stream of a cut attempt for its readers.
func (a *attempt) closeCut(ctx context.Context, n int, streamed int64, cause *wire.Error) {
	if streamed == 0 || a.asg.Meta.Shadow != "" {
		return
	}
	m := chunkMsg(a.cfg.Subjects, &a.asg.Meta, n, int(streamed), cause.Body(), true)
	if _, err := a.cfg.JS.PublishMsg(ctx, m); err != nil {
		a.warn("cut stream not closed for its readers", err)
	}
}

// chunkTimeout bounds the wait for a last chunk's acknowledgement.
const chunkTimeout = 5 * time.Second

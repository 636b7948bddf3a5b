package run

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/wire"
)

// chunker publishes the events of one attempt. Only the last message is
// acknowledged by the stream: then all before it, from the same connection, are
// stored.
//
// Events that came together are published together, at once, unless some were
// less than chunkPause ago: what comes faster than anybody reads costs the
// connection, the server and each reader one wake-up instead of one for each
// event. Of a job that says so (wire.Meta.Pack) they also go as one message.
type chunker struct {
	a *attempt
	n int

	mu    sync.Mutex // emit belongs to one goroutine, and due to the timer's
	held  [][]byte   // events that wait, in order
	size  int        // their bytes
	sent  time.Time  // when events were published last
	timer *time.Timer
	msg   *nats.Msg // of every message but the last: the connection copies what it sends
	index int       // of the next message
	ended bool
	err   error // of a publish; after it nothing but the end is published
}

const (
	chunkPause = 2 * time.Millisecond // between two publishes of one attempt
	chunkHeld  = 64 << 10             // bytes of events that wait at most
	packMost   = 64                   // events of one message
	packBytes  = 8 << 10              // of events of one message that has several: a slow reader holds messages
)

// emit publishes events that came together, or holds them for chunkPause at
// most. An error may be that of an event before them.
func (c *chunker) emit(events [][]byte, last bool) error {
	if last {
		return c.end(events)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	first := len(c.held) == 0
	c.held = append(c.held, events...)
	for _, e := range events {
		c.size += len(e)
	}
	now := time.Now()
	if wait := chunkPause - now.Sub(c.sent); wait > 0 && c.size < chunkHeld {
		if first {
			c.arm(wait)
		}
		return c.err
	}
	return c.publish(now)
}

// arm has what is held published after a while. The caller holds the lock.
func (c *chunker) arm(wait time.Duration) {
	if c.timer == nil {
		c.timer = time.AfterFunc(wait, c.due)
	} else {
		c.timer.Reset(wait)
	}
}

func (c *chunker) due() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.publish(time.Now()) // the next emit says it
}

// publish publishes what is held. The caller holds the lock.
func (c *chunker) publish(now time.Time) error {
	for rest := c.held; len(rest) > 0; {
		n := c.packed(rest)
		c.one(rest[:n])
		rest = rest[n:]
	}
	clear(c.held)
	c.held, c.size, c.sent = c.held[:0], 0, now
	return c.err
}

// packed is how many of the events go into one message.
func (c *chunker) packed(events [][]byte) int {
	if !c.a.asg.Meta.Pack {
		return 1
	}
	n, size := 1, len(events[0])
	for n < min(len(events), packMost) && size+len(events[n]) <= packBytes {
		size += len(events[n])
		n++
	}
	return n
}

func (c *chunker) one(events [][]byte) {
	if c.err != nil {
		return
	}
	if c.msg == nil {
		c.msg = chunkMsg(c.a.cfg.Subjects, &c.a.asg.Meta, c.n, c.index, nil, false)
	}
	c.msg.Header[wire.HeaderIndex][0] = strconv.Itoa(c.index)
	pack(c.msg, events)
	if c.err = c.a.cfg.JS.Conn().PublishMsg(c.msg); c.err == nil {
		c.index += len(events)
	}
}

// pack makes events the body of m.
func pack(m *nats.Msg, events [][]byte) {
	var sizes string
	if m.Data, sizes = wire.PackEvents(events); sizes == "" {
		delete(m.Header, wire.HeaderSizes)
	} else {
		m.Header[wire.HeaderSizes] = []string{sizes}
	}
}

// end publishes what is held and the last events, and waits until all are
// stored. It fails only for an event before the last message.
func (c *chunker) end(events [][]byte) error {
	m, err := c.endMsg(events)
	if _, lost := c.a.cfg.Ledger.Publish(c.a.final, m); lost != nil {
		c.a.warn("last chunk not acknowledged; the answer is in the record", lost)
	}
	return err
}

// endMsg publishes what goes before the last message, and returns that one.
func (c *chunker) endMsg(events [][]byte) (*nats.Msg, error) {
	c.mu.Lock()
	defer c.mu.Unlock() // before anybody waits for a server
	if c.timer != nil {
		c.timer.Stop()
	}
	rest := append(c.held, events...)
	for n := c.packed(rest); n < len(rest); n = c.packed(rest) {
		c.one(rest[:n])
		rest = rest[n:]
	}
	m := chunkMsg(c.a.cfg.Subjects, &c.a.asg.Meta, c.n, c.index, nil, true)
	pack(m, rest)
	c.held, c.ended = nil, true
	return m, c.err
}

// open reports whether readers still wait for the attempt's last chunk.
func (c *chunker) open() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.ended && c.index+len(c.held) > 0
}

// close ends a stream that broke off, with the error as its last chunk.
func (c *chunker) close(cause *wire.Error) {
	if cause == nil {
		cause = wire.Errorf(wire.CodeStreamTruncated, "", "the stream ended early")
	}
	_ = c.end([][]byte{cause.Body()}) // the attempt has its own error
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
	return index + int64(wire.PackedEvents(m.Header.Get(wire.HeaderSizes))), m.Header.Get(wire.HeaderEnd) != "", nil
}

// closeCut ends the stream of a cut attempt for its readers.
func (a *attempt) closeCut(ctx context.Context, n int, streamed int64, cause *wire.Error) {
	if streamed == 0 || a.asg.Meta.Shadow != "" {
		return
	}
	m := chunkMsg(a.cfg.Subjects, &a.asg.Meta, n, int(streamed), cause.Body(), true)
	if _, err := a.cfg.Ledger.Publish(ctx, m); err != nil {
		a.warn("cut stream not closed for its readers", err)
	}
}

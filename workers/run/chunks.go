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

// chunker publishes the events of one attempt. Only the last is acknowledged
// by the stream: then all before it, from the same connection, are stored.
//
// An event is published at once, unless one was less than chunkPause ago: what
// comes faster than anybody reads goes together, and costs the connection, the
// server and each reader one wake-up instead of one for each event. Of a job
// that says so (wire.Meta.Pack) they also go as one message.
type chunker struct {
	a *attempt
	n int

	mu    sync.Mutex // emit belongs to one goroutine, and due to the timer's
	held  [][]byte   // events that wait, in order
	size  int        // their bytes
	sent  time.Time  // when events were published last
	timer *time.Timer
	msg   *nats.Msg // of every event but the last: the connection copies what it sends
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

// emit publishes one event, or holds it for chunkPause at most. An error may be
// that of an event before it.
func (c *chunker) emit(event []byte, last bool) error {
	if last {
		return c.end(event)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = append(c.held, event)
	c.size += len(event)
	now := time.Now()
	if wait := chunkPause - now.Sub(c.sent); wait > 0 && c.size < chunkHeld {
		if len(c.held) == 1 {
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
		if c.err == nil {
			c.err = c.one(rest[:n])
		}
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

func (c *chunker) one(events [][]byte) error {
	if c.msg == nil {
		c.msg = chunkMsg(c.a.cfg.Subjects, &c.a.asg.Meta, c.n, c.index, nil, false)
	}
	c.msg.Header[wire.HeaderIndex][0] = strconv.Itoa(c.index)
	pack(c.msg, events)
	if err := c.a.cfg.JS.Conn().PublishMsg(c.msg); err != nil {
		return err
	}
	c.index += len(events)
	return nil
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

// end publishes what is held and the last event, and waits until all are
// stored. It fails only for an event before the last message.
func (c *chunker) end(event []byte) error {
	c.mu.Lock()
	if c.timer != nil {
		c.timer.Stop()
	}
	var before [][]byte // that go with the last
	if all := append(c.held, event); c.packed(all) == len(all) {
		before, c.held = c.held, nil
	}
	err := c.publish(time.Now())
	m := chunkMsg(c.a.cfg.Subjects, &c.a.asg.Meta, c.n, c.index, nil, true)
	pack(m, append(before, event))
	c.ended = true
	c.mu.Unlock() // due must not wait for a server
	ctx, cancel := context.WithTimeout(context.Background(), chunkTimeout)
	defer cancel()
	if _, err := c.a.cfg.JS.PublishMsg(ctx, m); err != nil {
		c.a.warn("last chunk not acknowledged; the answer is in the record", err)
	}
	return err
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
	_ = c.end(cause.Body()) // the attempt has its own error
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
	if _, err := a.cfg.JS.PublishMsg(ctx, m); err != nil {
		a.warn("cut stream not closed for its readers", err)
	}
}

// chunkTimeout bounds the wait for a last chunk's acknowledgement.
const chunkTimeout = 5 * time.Second

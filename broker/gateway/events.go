package gateway

import (
	"bytes"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// events writes server-sent events. Those that are put together are written
// together, and flushed at once, unless some were flushed less than flushPause
// ago: then in a while. So a burst of events costs one packet, and a lone one
// does not wait. It also sends the heartbeats.
//
// Its methods are for the handler's goroutine; beat and due are the timers'.
type events struct {
	w        http.ResponseWriter
	rc       *http.ResponseController
	endpoint wire.Endpoint
	every    time.Duration // between heartbeats
	patience time.Duration // for one write

	put    []byte // events that are not written yet
	pooled *[]byte
	next   int64 // number of the next event, where events have numbers

	lock    lock // guards what follows, and the writer
	beats   *time.Timer
	rest    *time.Timer // until the next flush; nil: never needed
	resting bool        // it runs
	flushed time.Time
	began   bool // the header is out
	quiet   bool // nothing was written since the last beat
	over    bool // the writer is the handler's again
	err     error

	limited time.Time // when the writer's deadline was last set
}

// flushPause is the time between two flushes of one stream, at least: more
// packets a second than its inverse are of no use to who reads them.
const flushPause = 2 * time.Millisecond

// buffers are for events that are put together; one of more than mostBuffer
// bytes is not kept.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

const mostBuffer = 32 << 10

// lock is a mutex made of a channel: it is held across writes to the network,
// and tests under fake time can tell waiting for a channel from being stuck.
type lock chan struct{}

func (l lock) lock()   { l <- struct{}{} }
func (l lock) unlock() { <-l }

// newEvents starts the heartbeats, which end in close. Nothing is sent before
// the first event or heartbeat.
func (g *Gateway) newEvents(c *call) *events {
	s := &events{
		w: c.w, rc: http.NewResponseController(c.w), endpoint: c.endpoint,
		every: g.cfg.HeartbeatInterval, patience: g.cfg.WriteTimeout,
		lock: make(lock, 1), pooled: buffers.Get().(*[]byte),
	}
	s.put = (*s.pooled)[:0]
	s.lock.lock()
	defer s.lock.unlock()
	s.beats = time.AfterFunc(s.every, s.beat)
	return s
}

// beat keeps the connection from looking dead.
func (s *events) beat() {
	s.lock.lock()
	defer s.lock.unlock()
	if s.over {
		return
	}
	if s.quiet {
		s.write([]byte(": ping\n\n"))
		s.flush()
	}
	s.quiet = true
	s.beats.Reset(s.every)
}

// due flushes what was written too soon after a flush.
func (s *events) due() {
	s.lock.lock()
	defer s.lock.unlock()
	if s.resting = false; !s.over {
		s.flush()
	}
}

// event puts the data of one event to those that send sends.
func (s *events) event(data []byte) {
	s.put = appendEvent(s.put, s.endpoint, data)
	s.next++
}

// send sends what has been put; false: the client takes no more.
func (s *events) send() bool {
	if len(s.put) == 0 {
		return true
	}
	s.lock.lock()
	defer s.lock.unlock()
	s.writePut()
	switch wait := flushPause - time.Since(s.flushed); {
	case s.resting:
	case wait <= 0:
		s.flush()
	case s.rest == nil:
		s.resting, s.rest = true, time.AfterFunc(wait, s.due)
	default:
		s.resting = true
		s.rest.Reset(wait)
	}
	return s.err == nil
}

// writePut writes what has been put. The caller holds the lock.
func (s *events) writePut() {
	if len(s.put) > 0 {
		s.write(s.put)
		s.put, s.quiet = s.put[:0], false
	}
}

// number says what number the next event would have.
func (s *events) number(n int64) { s.next = n }

// write puts b into the response's buffer. The caller holds the lock.
func (s *events) write(b []byte) {
	if s.err != nil {
		return
	}
	s.begin()
	s.limit()
	_, s.err = s.w.Write(b)
}

// begin sends the header. The caller holds the lock.
func (s *events) begin() {
	if s.began {
		return
	}
	s.began = true
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	s.w.WriteHeader(http.StatusOK)
}

// open begins the stream before there is an event.
func (s *events) open() {
	s.lock.lock()
	defer s.lock.unlock()
	s.begin()
	s.flush()
}

// limit bounds the next write: it may find the buffer full. A bound that is
// still a good one stays, since there is one write for each event.
func (s *events) limit() {
	if now := time.Now(); now.Sub(s.limited) > s.patience/16 {
		s.limited = now
		_ = s.rc.SetWriteDeadline(now.Add(s.patience)) // not every writer has one
	}
}

// flush sends what is buffered. The caller holds the lock.
func (s *events) flush() {
	if s.err != nil {
		return
	}
	s.limit()
	s.err = s.rc.Flush()
	s.flushed = time.Now()
}

// flushNow sends everything before what follows.
func (s *events) flushNow() {
	s.lock.lock()
	defer s.lock.unlock()
	s.writePut()
	s.flush()
}

// close ends the stream, with f as its last event if the header is out
// already, and reports whether it is. After a fault the handler may have more
// to do; otherwise its return flushes what is left, in the same packet as the
// end of the answer. net/http takes the write deadline back then.
func (s *events) close(f *wire.Error) (began bool) {
	s.lock.lock()
	defer s.lock.unlock()
	s.over = true
	s.beats.Stop()
	if s.rest != nil {
		s.rest.Stop()
	}
	s.writePut()
	if s.began && f != nil {
		s.write(appendError(nil, s.endpoint, f, s.next))
		s.flush()
	}
	if cap(s.put) <= mostBuffer {
		*s.pooled = s.put
		buffers.Put(s.pooled)
	}
	return s.began
}

// appendEvent frames the data of one event. The endpoints whose events have
// names repeat them in the data's field type.
func appendEvent(b []byte, e wire.Endpoint, data []byte) []byte {
	if e == wire.Responses || e == wire.Messages {
		if name := eventName(data); name != "" {
			b = append(append(append(b, "event: "...), name...), '\n')
		}
	}
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		b = append(append(append(b, "data: "...), line...), '\n')
	}
	return append(b, '\n')
}

// eventName is the value of the data's field type.
func eventName(data []byte) string {
	name := jsonscan.String(jsonscan.Get(data, "type"))
	if !wire.ValidName(strings.ReplaceAll(name, ".", "_")) {
		return ""
	}
	return name
}

// appendError frames an error as the endpoint's provider does inside a stream.
func appendError(b []byte, e wire.Endpoint, f *wire.Error, seq int64) []byte {
	x := refusalOf(f.Code, 0)
	if e == wire.Responses {
		o := newErrorObject(f, x)
		return appendEvent(b, e, mustJSON(map[string]any{
			"type": "error", "code": o.Code, "message": o.Message, "param": o.Param, "sequence_number": seq,
		}))
	}
	return appendEvent(b, e, errorBody(e, f, x))
}

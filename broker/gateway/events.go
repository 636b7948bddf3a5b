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

// events writes server-sent events. What is written is flushed by a goroutine
// of its own: at once, unless it flushed less than flushPause ago, so a burst of
// events costs one packet, and a lone one does not wait. It also sends the
// heartbeats.
type events struct {
	w        http.ResponseWriter
	rc       *http.ResponseController
	endpoint wire.Endpoint
	every    time.Duration // between heartbeats
	patience time.Duration // for one write

	dirty chan struct{} // something is to be flushed; has room for one signal
	stop  chan struct{}
	all   sync.WaitGroup

	lock  lock // guards what follows, and the writer
	buf   []byte
	began bool  // the header is out
	quiet bool  // nothing was written since the last beat
	next  int64 // number of the next event, where events have numbers
	err   error

	limited time.Time // when the writer's deadline was last set
}

// flushPause is the time between two flushes of one stream, at least: more
// packets a second than its inverse are of no use to who reads them.
const flushPause = 2 * time.Millisecond

// lock is a mutex made of a channel: it is held across writes to the network,
// and tests under fake time can tell waiting for a channel from being stuck.
type lock chan struct{}

func (l lock) lock()   { l <- struct{}{} }
func (l lock) unlock() { <-l }

// newEvents starts the stream's goroutine, which ends in close. Nothing is
// sent before the first event or heartbeat.
func (g *Gateway) newEvents(c *call) *events {
	s := &events{
		w: c.w, rc: http.NewResponseController(c.w), endpoint: c.endpoint,
		every: g.cfg.HeartbeatInterval, patience: g.cfg.WriteTimeout,
		dirty: make(chan struct{}, 1), stop: make(chan struct{}), lock: make(lock, 1),
	}
	s.all.Go(s.run)
	return s
}

// run flushes and keeps the connection from looking dead.
func (s *events) run() {
	beat := time.NewTicker(s.every)
	defer beat.Stop()
	rest := time.NewTimer(s.every)
	rest.Stop()
	defer rest.Stop()
	var last time.Time // of a flush
	dirty := s.dirty   // nil: rest ends first
	for {
		select {
		case <-dirty:
			if wait := flushPause - time.Since(last); wait > 0 {
				dirty = nil
				rest.Reset(wait)
				continue
			}
			last = s.flushNow()
		case <-rest.C:
			dirty = s.dirty
			select { // of what is flushed now
			case <-dirty:
			default:
			}
			last = s.flushNow()
		case <-beat.C:
			s.beat()
		case <-s.stop:
			return
		}
	}
}

func (s *events) beat() {
	s.lock.lock()
	defer s.lock.unlock()
	if s.quiet {
		s.write([]byte(": ping\n\n"))
		s.flush()
	}
	s.quiet = true
}

// event sends the data of one event; false: the client takes no more.
func (s *events) event(data []byte) bool {
	s.lock.lock()
	defer s.lock.unlock()
	s.buf = appendEvent(s.buf[:0], s.endpoint, data)
	s.write(s.buf)
	s.quiet = false
	s.next++
	select {
	case s.dirty <- struct{}{}:
	default:
	}
	return s.err == nil
}

// number says what number the next event would have.
func (s *events) number(n int64) {
	s.lock.lock()
	defer s.lock.unlock()
	s.next = n
}

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
}

// flushNow sends what is buffered before what follows, and says when.
func (s *events) flushNow() time.Time {
	s.lock.lock()
	defer s.lock.unlock()
	s.flush()
	return time.Now()
}

// close ends the stream, with f as its last event if the header is out
// already, and reports whether it is.
func (s *events) close(f *wire.Error) (began bool) {
	close(s.stop)
	s.all.Wait()
	s.lock.lock()
	defer s.lock.unlock()
	if s.began && f != nil {
		s.write(appendError(nil, s.endpoint, f, s.next))
	}
	if s.began {
		s.flush()
	}
	if s.err == nil {
		_ = s.rc.SetWriteDeadline(time.Time{}) // the connection may carry another request
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

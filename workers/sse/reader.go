package sse

import (
	"bytes"
	"errors"
	"io"
)

// MaxEvent is the default limit for the bytes of one event.
const MaxEvent = 8 << 20

// ErrTooLong says that an event has more bytes than the limit.
var ErrTooLong = errors.New("sse: event longer than the limit")

// Event is one server-sent event.
type Event struct {
	Name string // of the event: line; empty: none
	Data []byte // of the data: lines, joined by newlines
	// Partial says that the stream ended inside this event: its last line had
	// no line ending, or no blank line followed.
	Partial bool
}

// Reader takes events from a stream. Make one with [NewReader].
type Reader struct {
	src    io.Reader
	limit  int
	buf    []byte
	r, w   int
	skipLF bool // the last line ended in CR: an LF that follows belongs to it
	begun  bool
	err    error // of src, once it has one
}

// NewReader reads events of at most limit bytes from src; a limit of 0 means
// [MaxEvent].
func NewReader(src io.Reader, limit int) *Reader {
	if limit <= 0 {
		limit = MaxEvent
	}
	return &Reader{src: src, limit: limit, buf: make([]byte, 4096)}
}

// Next is the next event with data. At the end of the stream it returns a
// pending event with Partial set, if there is one, and then io.EOF; any other
// error of the source comes back as it is, and drops a pending event.
func (r *Reader) Next() (Event, error) {
	var ev Event
	var seen bool
	size := 0
	for {
		line, whole, err := r.line()
		if err != nil {
			return Event{}, err
		}
		if size += len(line) + 1; size > r.limit {
			r.err, r.r, r.w = ErrTooLong, 0, 0
			return Event{}, ErrTooLong
		}
		if len(line) > 0 {
			seen = ev.field(line, seen) || seen
		}
		if len(line) > 0 && whole {
			continue
		}
		if seen && len(ev.Data) > 0 {
			ev.Partial = len(line) > 0 || !whole
			return ev, nil
		}
		if !whole {
			return Event{}, io.EOF
		}
		ev, seen, size = Event{}, false, 0
	}
}

// field takes one line into the event and reports whether it was data.
func (e *Event) field(line []byte, seen bool) bool {
	name, value, _ := bytes.Cut(line, []byte{':'})
	value = bytes.TrimPrefix(value, []byte{' '})
	switch string(name) {
	case "data":
		if seen {
			e.Data = append(append(e.Data, '\n'), value...)
		} else {
			e.Data = append(make([]byte, 0, len(value)), value...)
		}
		return true
	case "event":
		e.Name = string(value)
	}
	return false
}

// line is the next line without its ending, valid until the next call. At the
// end of the stream whole is false and line is what was left, perhaps nothing.
func (r *Reader) line() (line []byte, whole bool, err error) {
	from := 0
	for {
		if r.trim() {
			from = 0
		}
		if i := lineEnd(r.buf[r.r+from : r.w]); i >= 0 {
			end := r.r + from + i
			line, r.skipLF, r.begun = r.buf[r.r:end], r.buf[end] == '\r', true
			r.r = end + 1
			return line, true, nil
		}
		from = r.w - r.r
		if from > r.limit {
			r.err, r.r, r.w = ErrTooLong, 0, 0
		}
		if r.err != nil {
			if r.err == io.EOF {
				line, r.r = r.buf[r.r:r.w], r.w
				return line, false, nil
			}
			return nil, false, r.err
		}
		r.fill()
	}
}

// lineEnd is the index of the first CR or LF, or -1.
func lineEnd(b []byte) int {
	lf := bytes.IndexByte(b, '\n')
	if lf >= 0 {
		b = b[:lf]
	}
	if cr := bytes.IndexByte(b, '\r'); cr >= 0 {
		return cr
	}
	return lf
}

// trim drops the LF of a CRLF, and a byte order mark at the very start. It
// reports whether it dropped anything.
func (r *Reader) trim() bool {
	from := r.r
	if r.skipLF && r.r < r.w {
		r.skipLF = false
		if r.buf[r.r] == '\n' {
			r.r++
		}
	}
	if !r.begun && r.w-r.r >= len(mark) {
		r.begun = true
		if bytes.HasPrefix(r.buf[r.r:r.w], []byte(mark)) {
			r.r += len(mark)
		}
	}
	return r.r != from
}

// mark is the byte order mark that a stream may start with.
const mark = "\xef\xbb\xbf"

// fill reads once from the source, making room first.
func (r *Reader) fill() {
	if r.r > 0 && (r.r == r.w || r.w == len(r.buf)) {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	if r.w == len(r.buf) {
		grown := make([]byte, 2*len(r.buf))
		copy(grown, r.buf[:r.w])
		r.buf = grown
	}
	for range 100 {
		n, err := r.src.Read(r.buf[r.w:])
		r.w += n
		r.err = err
		if n > 0 || err != nil {
			return
		}
	}
	r.err = io.ErrNoProgress
}

package natsd

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
	_ "unsafe" // for go:linkname

	"github.com/nats-io/nats-server/v2/server"
)

// accept has a server serve a connection from within the process. The server's
// own InProcessConn does the same with a net.Pipe, each of whose writes waits
// until it was read: a message of 2 KiB, read by a server that has seen small
// ones before in pieces of 64 bytes and up, is then ten changes of goroutines.
//
//go:linkname accept github.com/nats-io/nats-server/v2/server.(*Server).createClientInProcess
func accept(*server.Server, net.Conn) *byte

// InProcessConn is a new connection to the server of now; nats.go asks for it.
func (s *Server) InProcessConn() (net.Conn, error) {
	srv := s.running()
	if !srv.Running() {
		return nil, errors.New("the NATS server is not running")
	}
	here, there := newPipe()
	accept(srv, there)
	return here, nil
}

// pipeRoom is how many bytes of one direction wait to be read before a write
// waits, as in a socket.
const pipeRoom = 256 << 10

// newPipe is the two ends of a connection with room for what is not read yet.
func newPipe() (a, b net.Conn) {
	var one, two = newFlow(), newFlow()
	return &pipeEnd{in: one, out: two}, &pipeEnd{in: two, out: one}
}

// pipeEnd is one end. It is safe for one reader beside one writer.
type pipeEnd struct{ in, out *flow }

func (p *pipeEnd) Read(b []byte) (int, error)  { return p.in.read(b) }
func (p *pipeEnd) Write(b []byte) (int, error) { return p.out.write(b) }

// Close ends both directions. What was written before is still read.
func (p *pipeEnd) Close() error {
	p.in.close(true)
	p.out.close(false)
	return nil
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

func (p *pipeEnd) LocalAddr() net.Addr  { return pipeAddr{} }
func (p *pipeEnd) RemoteAddr() net.Addr { return pipeAddr{} }

func (p *pipeEnd) SetDeadline(t time.Time) error {
	return errors.Join(p.SetReadDeadline(t), p.SetWriteDeadline(t))
}

func (p *pipeEnd) SetReadDeadline(t time.Time) error {
	p.in.limit(&p.in.reader, t)
	return nil
}

func (p *pipeEnd) SetWriteDeadline(t time.Time) error {
	p.out.limit(&p.out.writer, t)
	return nil
}

// flow is one direction.
type flow struct {
	mu             sync.Mutex
	first, last    *piece // what is not read yet; nil: nothing
	size           int    // bytes of it
	closed         bool
	left           bool // closed by the reader: nothing more will be read
	reader, writer waiter
}

// piece holds bytes between a write and a read. Each flow has as many as it
// needs at the moment, and they go from flow to flow: a buffer that grew with
// what waited was a quarter of all that a busy broker allocates.
type piece struct {
	next     *piece
	from, to int // of data
	data     [16<<10 - 24]byte
}

var pieces = sync.Pool{New: func() any { return new(piece) }}

// put appends as much of b as one piece takes.
func (f *flow) put(b []byte) int {
	if f.last == nil || f.last.to == len(f.last.data) {
		p := pieces.Get().(*piece)
		p.next, p.from, p.to = nil, 0, 0
		if f.last == nil {
			f.first = p
		} else {
			f.last.next = p
		}
		f.last = p
	}
	n := copy(f.last.data[f.last.to:], b)
	f.last.to += n
	f.size += n
	return n
}

// get takes what is first, and fits into b. Something must be there.
func (f *flow) get(b []byte) int {
	p := f.first
	n := copy(b, p.data[p.from:p.to])
	p.from += n
	f.size -= n
	if p.from == p.to {
		f.drop()
	}
	return n
}

// drop gives the first piece back.
func (f *flow) drop() {
	p := f.first
	if f.first = p.next; f.first == nil {
		f.last = nil
	}
	pieces.Put(p)
}

// waiter is one side of a flow. It needs a timer only while it waits: two
// deadlines are set for each write, and hardly one of them is ever waited for.
type waiter struct {
	cond     sync.Cond
	deadline time.Time
	waits    bool
}

func newFlow() *flow {
	f := new(flow)
	f.reader.cond.L, f.writer.cond.L = &f.mu, &f.mu
	return f
}

func (f *flow) limit(w *waiter, t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.deadline = t
	if w.waits { // with the deadline of before
		w.cond.Broadcast()
	}
}

// late reports whether the deadline has passed. The caller holds the lock.
func (w *waiter) late() bool { return !w.deadline.IsZero() && time.Until(w.deadline) <= 0 }

// wait waits for a signal, at most until the deadline. The caller holds the lock.
func (w *waiter) wait() {
	w.waits = true
	if !w.deadline.IsZero() {
		t := time.AfterFunc(time.Until(w.deadline), func() {
			w.cond.L.Lock()
			defer w.cond.L.Unlock()
			w.cond.Broadcast()
		})
		defer t.Stop()
	}
	w.cond.Wait()
	w.waits = false
}

func (f *flow) read(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case f.left:
			return 0, io.ErrClosedPipe
		case f.reader.late():
			return 0, os.ErrDeadlineExceeded
		case f.size > 0:
			n := 0
			for n < len(b) && f.size > 0 {
				n += f.get(b[n:])
			}
			if f.writer.waits {
				f.writer.cond.Broadcast()
			}
			return n, nil
		case f.closed:
			return 0, io.EOF
		case len(b) == 0:
			return 0, nil
		}
		f.reader.wait()
	}
}

func (f *flow) write(b []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case f.closed:
			return n, io.ErrClosedPipe
		case f.writer.late():
			return n, os.ErrDeadlineExceeded
		case len(b) == 0:
			return n, nil
		}
		if room := pipeRoom - f.size; room > 0 {
			for m := min(room, len(b)); m > 0; {
				done := f.put(b[:m])
				n, m, b = n+done, m-done, b[done:]
			}
			if f.reader.waits {
				f.reader.cond.Broadcast()
			}
			continue
		}
		f.writer.wait()
	}
}

func (f *flow) close(byReader bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed, f.left = true, f.left || byReader
	for f.left && f.first != nil {
		f.drop()
	}
	f.reader.cond.Broadcast()
	f.writer.cond.Broadcast()
}

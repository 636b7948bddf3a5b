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
	buf            []byte
	from           int // where in buf to go on reading
	closed         bool
	left           bool // closed by the reader: what is in buf will not be read
	reader, writer waiter
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
		case len(f.buf) > f.from:
			n := copy(b, f.buf[f.from:])
			if f.from += n; f.from == len(f.buf) {
				f.buf, f.from = f.buf[:0], 0
				if cap(f.buf) > pipeRoom/4 {
					f.buf = nil
				}
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
		if room := pipeRoom - (len(f.buf) - f.from); room > 0 {
			m := min(room, len(b))
			if f.from > 0 && len(f.buf)+m > cap(f.buf) {
				f.buf = f.buf[:copy(f.buf, f.buf[f.from:])]
				f.from = 0
			}
			f.buf = append(f.buf, b[:m]...)
			n, b = n+m, b[m:]
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
	f.reader.cond.Broadcast()
	f.writer.cond.Broadcast()
}

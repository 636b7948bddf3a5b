package path

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// gate stands between a process and the server: it can freeze the connection
// in both directions, as a paused process or a cut network would, or end it
// for good after a number of protocol messages.
type gate struct {
	inner nats.InProcessConnProvider

	mu     sync.Mutex
	cond   *sync.Cond
	frozen bool
	dead   bool
	limit  int // messages published before death, -1: none
	sent   int // messages published
	halt   int // messages published before it freezes, 0: never
	conns  []*gateConn
	diedAt time.Time

	onDeath func() // called some time after the end
}

func newGate() *gate {
	g := &gate{limit: -1}
	g.cond = sync.NewCond(&g.mu)
	return g
}

// option puts the gate into a connection's way.
func (g *gate) option(o *nats.Options) error {
	g.inner, o.InProcessServer = o.InProcessServer, g
	return nil
}

var errGateClosed = errors.New("gate: closed")

// InProcessConn implements nats.InProcessConnProvider.
func (g *gate) InProcessConn() (net.Conn, error) {
	g.mu.Lock()
	inner, dead := g.inner, g.dead
	g.mu.Unlock()
	if dead {
		return nil, errGateClosed
	}
	raw, err := inner.InProcessConn()
	if err != nil {
		return nil, err
	}
	c := &gateConn{Conn: raw, g: g}
	g.mu.Lock()
	g.conns = append(g.conns, c)
	g.mu.Unlock()
	go c.pump() // ends when the connection does
	return c, nil
}

// freeze holds back everything in both directions until thaw.
func (g *gate) freeze() { g.set(func() { g.frozen = true }) }
func (g *gate) thaw()   { g.set(func() { g.frozen = false }) }

// kill ends the connection for good: what has been written is delivered.
func (g *gate) kill() {
	g.set(func() { g.dead = true })
	g.onDeath()
}

func (g *gate) set(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	for _, c := range g.conns {
		if g.dead {
			_ = c.Conn.Close()
		} else if !g.frozen {
			c.flush()
		}
	}
	g.cond.Broadcast()
}

// gateConn is one connection through a gate. Its buffers are the gate's mutex.
type gateConn struct {
	net.Conn
	g       *gate
	in      []byte // received, not read yet
	inErr   error
	held    []byte // written while frozen
	partial []byte // of a protocol message that is not complete yet
}

// pump receives always, so that the server does not take a frozen client for
// a slow one.
func (c *gateConn) pump() {
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Conn.Read(buf)
		c.g.mu.Lock()
		c.in = append(c.in, buf[:n]...)
		c.inErr = err
		c.g.cond.Broadcast()
		c.g.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (c *gateConn) Read(p []byte) (int, error) {
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	for c.g.frozen && !c.g.dead || len(c.in) == 0 && c.inErr == nil {
		c.g.cond.Wait()
	}
	if len(c.in) == 0 {
		return 0, c.inErr
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *gateConn) Write(p []byte) (int, error) {
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	if c.g.dead {
		return 0, io.ErrClosedPipe
	}
	c.held = append(c.held, p...)
	if !c.g.frozen {
		c.flush()
	}
	if c.g.dead {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

// flush delivers what is held, message by message while a limit is set.
func (c *gateConn) flush() {
	out := append(c.partial, c.held...)
	c.held, c.partial = nil, nil
	end := 0
	for end < len(out) {
		n, isPub := protocolMessage(out[end:])
		if n == 0 { // not whole yet
			break
		}
		end += n
		if isPub {
			c.g.sent++
		}
		if isPub && c.g.sent == c.g.halt {
			c.g.frozen = true
			break
		}
		if c.g.sent == c.g.limit {
			_, _ = c.Conn.Write(out[:end])
			c.g.dead, c.g.diedAt = true, time.Now()
			// Time for the server to take it in, as a socket buffer would give.
			time.AfterFunc(time.Millisecond, func() {
				_ = c.Conn.Close()
				c.g.onDeath()
			})
			return
		}
	}
	c.partial = append([]byte(nil), out[end:]...)
	if end > 0 {
		_, _ = c.Conn.Write(out[:end]) // a closed connection shows when it is read
	}
}

// SetDeadline and its sisters have no meaning for a gate.
func (c *gateConn) SetDeadline(time.Time) error      { return nil }
func (c *gateConn) SetReadDeadline(time.Time) error  { return nil }
func (c *gateConn) SetWriteDeadline(time.Time) error { return nil }

// protocolMessage is the length of the first client message in b, 0 if it is
// not complete, and whether it publishes.
func protocolMessage(b []byte) (n int, pub bool) {
	line := bytes.Index(b, []byte("\r\n"))
	if line < 0 {
		return 0, false
	}
	fields := bytes.Fields(b[:line])
	n = line + 2
	if len(fields) == 0 || !bytes.Equal(fields[0], []byte("PUB")) && !bytes.Equal(fields[0], []byte("HPUB")) {
		return n, false
	}
	size, err := strconv.Atoi(string(fields[len(fields)-1]))
	if err != nil {
		return n, true
	}
	if n += size + 2; len(b) < n {
		return 0, false
	}
	return n, true
}

// diedBefore reports whether the limit was reached before a time.
func (g *gate) diedBefore(t time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dead && !g.diedAt.After(t)
}

func (g *gate) isDead() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dead
}

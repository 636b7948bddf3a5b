package fleet

import (
	"io"
	"net"
	"sync"
)

// link is what a proxy does with connections.
type link int

const (
	linkOpen  link = iota
	linkCut        // connections break, new ones are refused
	linkStall      // connections stay and nothing passes, as when a cable is pulled
)

// Proxy passes TCP connections on to a target, and can cut them. It is safe
// for use from many goroutines.
type Proxy struct {
	target string
	ln     net.Listener

	mu    sync.Mutex
	moved *sync.Cond // state or done has changed
	state link
	done  bool
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// newProxy listens on a free port of loopback.
func newProxy(target string) (*Proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: target, ln: ln, conns: map[net.Conn]bool{}}
	p.moved = sync.NewCond(&p.mu)
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// set changes what the proxy does.
func (p *Proxy) set(s link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = s
	if s == linkCut {
		p.breakAll()
	}
	p.moved.Broadcast()
}

func (p *Proxy) breakAll() {
	for c := range p.conns {
		_ = c.Close() // both ends see it broken
	}
	clear(p.conns)
}

// close ends the proxy and its connections.
func (p *Proxy) close() {
	p.mu.Lock()
	p.done = true
	p.breakAll()
	p.moved.Broadcast()
	p.mu.Unlock()
	_ = p.ln.Close() // wakes accept
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(c) })
	}
}

// serve joins a connection with one to the target.
func (p *Proxy) serve(in net.Conn) {
	defer func() { _ = in.Close() }() // closed once is enough
	if !p.pass(in) {
		return
	}
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }() // as above
	if !p.pass(out) {
		return
	}
	var wg sync.WaitGroup
	for _, d := range [2][2]net.Conn{{in, out}, {out, in}} {
		wg.Go(func() {
			p.copy(d[0], d[1])
			_, _ = d[0].Close(), d[1].Close() // wakes the other direction
		})
	}
	wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, in)
	delete(p.conns, out)
}

// pass waits while the link is stalled and notes the connection; false: the
// link is cut.
func (p *Proxy) pass(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.state == linkStall && !p.done {
		p.moved.Wait()
	}
	if p.state == linkCut || p.done {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) copy(from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !p.open() {
				return
			}
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err == io.EOF || err != nil {
			return
		}
	}
}

// open waits while the link is stalled; false: it is cut.
func (p *Proxy) open() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.state == linkStall && !p.done {
		p.moved.Wait()
	}
	return p.state != linkCut && !p.done
}

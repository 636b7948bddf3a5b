package natsd

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/net/nettest"
)

// TestPipeIsAConn holds the pipe to what net.Conn promises.
func TestPipeIsAConn(t *testing.T) {
	nettest.TestConn(t, func() (a, b net.Conn, stop func(), err error) {
		a, b = newPipe()
		return a, b, func() { _, _ = a.Close(), b.Close() }, nil
	})
}

// A write does not wait for its reader while there is room, and what was written
// before the end is read.
func TestPipeHasRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPipe()
		sent := bytes.Repeat([]byte("0123456789"), pipeRoom/10)
		for at := 0; at < len(sent); at += 1000 {
			if _, err := a.Write(sent[at:min(at+1000, len(sent))]); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		n, err := a.Write(make([]byte, 1000))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Minute || n != pipeRoom%10 {
			t.Errorf("%d bytes written into a full pipe, %v, after %v", n, err, time.Since(began))
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got[:len(sent)], sent) {
			t.Errorf("%d bytes read of %d, %v", len(got), len(sent), err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("written to an end that is closed: %v", err)
		}
	})
}

// A reader that waits hears of a deadline that is set meanwhile.
func TestPipeDeadlineWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPipe()
		defer func() { _, _ = a.Close(), b.Close() }()
		done := make(chan error)
		go func() { _, err := b.Read(make([]byte, 1)); done <- err }() // is waited for below
		synctest.Wait()
		if err := b.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// A server that has stopped takes no connection.
func TestInProcessConnOfAStoppedServer(t *testing.T) {
	srv, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{srv: srv}
	if _, err := s.InProcessConn(); err == nil {
		t.Error("a connection to a server that has not started")
	}
}

// TestAcceptIsAsLinked: a linked function's type is not looked at by the
// compiler, so it must be what the pinned server's source says.
func TestAcceptIsAsLinked(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", "github.com/nats-io/nats-server/v2/server").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(src, []byte("\nfunc (s *Server) createClientInProcess(conn net.Conn) *client {")) {
			return
		}
	}
	t.Error("the server has no such function any more, or one of another type: see accept")
}

// TestPipeIsClosed: who has closed it reads nothing more, the other all that was
// written before.
func TestPipeIsClosed(t *testing.T) {
	a, b := newPipe()
	for _, end := range []net.Conn{a, b} {
		if _, err := end.Write([]byte("left")); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := a.Read(make([]byte, 9)); n != 0 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("who closed it reads %d bytes, %v", n, err)
	}
	if got, err := io.ReadAll(b); string(got) != "left" || err != nil {
		t.Errorf("the other reads %q, %v", got, err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("and writes: %v", err)
	}
}

// TestPipePieces: whatever the sizes of writes and reads, two pipes that use the
// same pieces keep their bytes apart and in order, and bursts allocate nothing.
func TestPipePieces(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	type side struct {
		w, r         net.Conn
		sent, gotten byte // the next one
		waiting      int
	}
	var sides [2]side
	for i := range sides {
		sides[i].w, sides[i].r = newPipe()
		sides[i].sent, sides[i].gotten = byte(100*i), byte(100*i)
	}
	buf := make([]byte, pipeRoom)
	for range 2_000 {
		s := &sides[r.IntN(2)]
		n := 1 + r.IntN(1<<r.IntN(19))
		if n = min(n, pipeRoom-s.waiting); n > 0 && r.IntN(2) == 0 {
			for i := range n {
				buf[i] = s.sent
				s.sent++
			}
			if m, err := s.w.Write(buf[:n]); m != n || err != nil {
				t.Fatal(m, err)
			}
			s.waiting += n
		} else if s.waiting > 0 {
			want := min(1+r.IntN(1<<r.IntN(19)), len(buf))
			m, err := s.r.Read(buf[:want])
			if m != min(want, s.waiting) || err != nil {
				t.Fatalf("%d bytes read of %d that wait, into %d: %v", m, s.waiting, want, err)
			}
			for _, c := range buf[:m] {
				if c != s.gotten {
					t.Fatalf("read %d, want %d", c, s.gotten)
				}
				s.gotten++
			}
			s.waiting -= m
		}
	}
	a, b := newPipe()
	burst := buf[:100<<10]
	if n := testing.AllocsPerRun(100, func() {
		_, _ = a.Write(burst)
		_, _ = io.ReadFull(b, burst)
	}); n > 1 {
		t.Errorf("a burst of %d bytes makes %v allocations", len(burst), n)
	}
}

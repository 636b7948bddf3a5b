package engine_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
)

// script is a transport that answers as told, and keeps the last request.
type script struct {
	status int // 0: 200
	header http.Header
	kind   string // Content-Type; empty: application/json
	body   []byte
	end    error         // after the body; nil: io.EOF
	pieces int           // bytes per read, 0: as many as fit
	first  time.Duration // before the response header
	pause  time.Duration // before every read
	err    error         // instead of an answer
	unread bool          // fail before the request's body is read

	mu     sync.Mutex
	req    *http.Request
	sent   []byte
	closed bool
}

// RoundTrip implements http.RoundTripper.
func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.req, s.closed = req, false
	if s.unread {
		return nil, s.err
	}
	sent, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	s.sent = sent
	if err := sleep(req.Context(), s.first); err != nil {
		return nil, err
	}
	if s.err != nil {
		return nil, s.err
	}
	h := s.header.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Set("Content-Type", "application/json")
	if s.kind != "" {
		h.Set("Content-Type", s.kind)
	}
	status := s.status
	if status == 0 {
		status = 200
	}
	return &http.Response{StatusCode: status, Header: h, ContentLength: -1, Body: &scriptBody{s: s, ctx: req.Context(), rest: s.body}}, nil
}

type scriptBody struct {
	s    *script
	ctx  context.Context
	rest []byte
}

// Read implements io.Reader.
func (b *scriptBody) Read(p []byte) (int, error) {
	if err := sleep(b.ctx, b.s.pause); err != nil {
		return 0, err
	}
	if len(b.rest) == 0 {
		if b.s.end != nil {
			return 0, b.s.end
		}
		return 0, io.EOF
	}
	if b.s.pieces > 0 && len(p) > b.s.pieces {
		p = p[:b.s.pieces]
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// Close implements io.Closer.
func (b *scriptBody) Close() error {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.s.closed = true
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// endpoint is an endpoint on a transport.
func endpoint(t testing.TB, rt http.RoundTripper, change func(*engine.Config)) *engine.Endpoint {
	t.Helper()
	cfg := engine.Config{Pool: "test", Adapter: "openai", BaseURL: "https://provider.example/v1", APIKey: "sk-secret", Transport: rt}
	if change != nil {
		change(&cfg)
	}
	e, err := engine.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// heard is what Emit was told.
type heard struct {
	events []string
	calls  []int // events of each
	last   int   // calls with last set
	after  int   // calls after that
	fail   error
}

func (h *heard) emit(events [][]byte, last bool) error {
	if h.last > 0 || len(events) == 0 {
		h.after++
	}
	h.calls = append(h.calls, len(events))
	for _, ev := range events {
		h.events = append(h.events, string(ev))
	}
	if last {
		h.last++
	}
	return h.fail
}

// check is invariant I2: exactly one last, at the end, if there was anything, and
// no call for nothing.
func (h *heard) check(t testing.TB, what string) {
	t.Helper()
	want := min(len(h.calls), 1)
	if h.last != want || h.after != 0 {
		t.Errorf("%s: %d events, %d of them last, %d after it", what, len(h.events), h.last, h.after)
	}
}

// transcript is a recorded stream of the adapter's tests.
func transcript(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "adapter", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(b)
}

func streamCall(e wire.Endpoint) (*engine.Call, *heard) {
	c := chatCall(bodies[e])
	c.Meta.Endpoint = e
	h := &heard{}
	c.Emit = h.emit
	return c, h
}

package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// front is a gateway on a test server.
type front struct {
	*httptest.Server
	b  *broker
	gw *Gateway
}

// newFront serves a gateway on the broker; change adapts its configuration.
func (b *broker) newFront(change ...func(*Config)) *front {
	b.t.Helper()
	cfg := b.config(change...)
	g := New(cfg)
	if g.fault != nil {
		b.t.Fatal(g.fault)
	}
	f := &front{Server: httptest.NewServer(g.Handler()), b: b, gw: g}
	b.later(g.Close)
	b.later(f.Server.Close)
	b.later(f.Server.CloseClientConnections)
	return f
}

func (b *broker) config(change ...func(*Config)) Config {
	cfg := Config{Conn: b.gw, Subjects: b.sub, Logger: slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, f := range change {
		f(&cfg)
	}
	return cfg
}

// reply is an answer read to its end.
type reply struct {
	status  int
	header  http.Header
	trailer http.Header
	body    string
}

// post sends a request with headers as pairs and reads the whole answer.
func (f *front) post(path, body string, headers ...string) reply {
	f.b.t.Helper()
	return f.do(f.b.t.Context(), http.MethodPost, path, body, headers...)
}

func (f *front) get(path string, headers ...string) reply {
	f.b.t.Helper()
	return f.do(f.b.t.Context(), http.MethodGet, path, "", headers...)
}

func (f *front) do(ctx context.Context, method, path, body string, headers ...string) reply {
	f.b.t.Helper()
	res, err := f.Client().Do(f.request(ctx, method, path, body, headers...))
	if err != nil {
		f.b.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		f.b.t.Fatalf("%s %s: body: %v", method, path, err)
	}
	return reply{res.StatusCode, res.Header, res.Trailer, string(data)}
}

func (f *front) request(ctx context.Context, method, path, body string, headers ...string) *http.Request {
	f.b.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, f.URL+path, strings.NewReader(body))
	if err != nil {
		f.b.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	if r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

// open starts a request whose answer is read as it comes; without a body it
// is a GET.
func (f *front) open(path, body string, headers ...string) (*http.Response, *bufio.Reader, context.CancelFunc) {
	f.b.t.Helper()
	ctx, cancel := context.WithCancel(f.b.t.Context())
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	res, err := f.Client().Do(f.request(ctx, method, path, body, headers...))
	if err != nil {
		cancel()
		f.b.t.Fatal(err)
	}
	f.b.later(func() { cancel(); _ = res.Body.Close() })
	return res, bufio.NewReader(res.Body), cancel
}

// fault decodes an error answer of OpenAI's shape, or Anthropic's.
func (r reply) fault(t testing.TB) (message, kind, param, code string) {
	t.Helper()
	var o struct {
		Error *struct {
			Message, Type string
			Param, Code   *string
		}
	}
	d := json.NewDecoder(strings.NewReader(r.body))
	if err := d.Decode(&o); err != nil || o.Error == nil || o.Error.Message == "" {
		t.Fatalf("no error object: %d %s", r.status, r.body)
	}
	deref := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	return o.Error.Message, o.Error.Type, deref(o.Error.Param), deref(o.Error.Code)
}

// eventually waits for what another goroutine is about to do.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in 10 seconds: %s", what)
		}
	}
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take is what was written since the last take.
func (l *lockedBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

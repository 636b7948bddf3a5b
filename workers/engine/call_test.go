package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
)

const answer = `{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}`

func TestRequest(t *testing.T) {
	s := &script{body: []byte(answer)}
	e := endpoint(t, s, func(c *engine.Config) {
		c.BaseURL = "https://provider.example/api/v1/?api-version=1"
		c.Header = map[string]string{"openai-organization": "org-1"}
		c.Region = "us-east"
	})
	c := chatCall(hello)
	c.Meta.Trace, c.Meta.TraceState = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1"
	c.Attempt = 3
	o := e.Do(context.Background(), c)
	if o.Status != wire.Succeeded || o.Err != nil || string(o.Body) != answer || o.HTTP != 200 {
		t.Fatalf("%+v", o)
	}
	if o.Usage != (wire.Usage{Input: 9, Output: 2}) || o.Source != wire.UsageFromProvider {
		t.Errorf("usage %+v from %s", o.Usage, o.Source)
	}
	if got, want := s.req.URL.String(), "https://provider.example/api/v1/chat/completions?api-version=1"; got != want {
		t.Errorf("URL %s, want %s", got, want)
	}
	for name, want := range map[string]string{
		"Authorization": "Bearer sk-secret", "Idempotency-Key": "acme-job1-3", "Traceparent": c.Meta.Trace, "Tracestate": "vendor=1",
		"Content-Type": "application/json", "Openai-Organization": "org-1", "User-Agent": "sluice",
	} {
		if got := s.req.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got, want := string(s.sent), `{"model":"sim-1","messages":[{"role":"user","content":"Say hello to the world"}]}`; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
	if s.req.GetBody != nil {
		t.Error("the transport could repeat the request by itself (I6)")
	}
	if !s.closed {
		t.Error("the answer's body was not closed")
	}
	if e.Pool() != "test" || e.Region() != "us-east" {
		t.Errorf("pool %s, region %s", e.Pool(), e.Region())
	}
}

// TestFailures: every way to fail without a stream, and what becomes of it.
func TestFailures(t *testing.T) {
	reset := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	in := wire.EstimateTokens(len(hello))
	for _, c := range []struct {
		name  string
		s     *script
		code  wire.Code
		v     engine.Verdict
		usage wire.Usage
		after time.Duration
	}{
		{"429", &script{status: 429, header: http.Header{"Retry-After": {"4"}}, body: []byte(`{"error":{"message":"sk-secret","type":"requests"}}`)},
			wire.CodeRateLimited, engine.RetryLater, wire.Usage{}, 4 * time.Second},
		{"500", &script{status: 500, body: []byte("oh no")}, wire.CodeProviderError, engine.RetryElsewhere, wire.Usage{}, 0},
		{"400", &script{status: 400, body: []byte(`{"error":{"message":"Say hello to the world","type":"invalid_request_error"}}`)},
			wire.CodeProviderRefused, engine.RetryElsewhere, wire.Usage{}, 0},
		{"400, and why", &script{status: 400, body: []byte(`{"error":{"type":"invalid_request_error","code":"missing_required_parameter"}}`)},
			wire.CodeProviderRefused, engine.Final, wire.Usage{}, 0},
		{"401", &script{status: 401}, wire.CodeProviderAuth, engine.RetryElsewhere, wire.Usage{}, 0},
		{"redirect", &script{status: 302, header: http.Header{"Location": {"https://evil.example"}}}, wire.CodeProviderError, engine.RetryElsewhere, wire.Usage{}, 0},
		{"long refusal", &script{status: 502, body: []byte(strings.Repeat("x", 1<<20))}, wire.CodeProviderError, engine.RetryElsewhere, wire.Usage{}, 0},
		{"refusal that breaks", &script{status: 500, body: []byte("x"), end: reset}, wire.CodeProviderError, engine.RetryElsewhere, wire.Usage{}, 0},
		{"HTML", &script{body: []byte("<html>")}, wire.CodeProviderError, engine.RetryElsewhere, wire.Usage{Input: in}, 0},
		{"error with 200", &script{body: []byte(`{"error":{"code":"server_error"}}`)}, wire.CodeProviderError, engine.RetryElsewhere, wire.Usage{Input: in}, 0},
		{"cut answer", &script{body: []byte(answer[:40]), end: io.ErrUnexpectedEOF}, wire.CodeConnection, engine.RetryElsewhere, wire.Usage{Input: in, Output: 10}, 0},
		{"refused connection", &script{unread: true, err: refused}, wire.CodeConnection, engine.RetryElsewhere, wire.Usage{}, 0},
		{"no such host", &script{unread: true, err: &net.DNSError{Name: "provider.example", Err: "no such host"}}, wire.CodeConnection, engine.RetryElsewhere, wire.Usage{}, 0},
		{"broken after sending", &script{err: reset}, wire.CodeConnection, engine.RetryElsewhere, wire.Usage{Input: in}, 0},
		{"broken with a strange error", &script{err: errors.New("to sk-secret: Say hello")}, wire.CodeConnection, engine.RetryElsewhere, wire.Usage{Input: in}, 0},
		{"too large", &script{body: []byte(`{"choices":"` + strings.Repeat("x", 1<<20) + `"}`)}, wire.CodeTooLarge, engine.Final,
			wire.Usage{Input: in, Output: wire.EstimateTokens(1<<16 + 1)}, 0},
	} {
		e := endpoint(t, c.s, func(cfg *engine.Config) { cfg.MaxAnswer = 1 << 16 })
		o := e.Do(context.Background(), chatCall(hello))
		if o.Status != wire.Failed || o.Err == nil || o.Err.Code != c.code || o.Verdict != c.v || o.RetryAfter != c.after {
			t.Errorf("%s: %s %v %s %s; want %s, %s", c.name, o.Status, o.Err, o.Verdict, o.RetryAfter, c.code, c.v)
			continue
		}
		if o.Usage != c.usage || o.Source != wire.UsageEstimated || o.Body != nil {
			t.Errorf("%s: usage %+v from %s, body %q; want %+v", c.name, o.Usage, o.Source, o.Body, c.usage)
		}
		for _, secret := range []string{"secret", "hello", "provider.example", "evil"} {
			if strings.Contains(o.Err.Message, secret) {
				t.Errorf("%s: the error holds %q: %s (I5)", c.name, secret, o.Err.Message)
			}
		}
		if !strings.HasPrefix(o.Err.Message, "pool test: ") {
			t.Errorf("%s: the error names no pool: %s", c.name, o.Err.Message)
		}
		if o.HTTP != 0 && !c.s.closed {
			t.Errorf("%s: the body was not closed", c.name)
		}
	}
}

func TestErrorDetail(t *testing.T) {
	s := &script{status: 400, body: []byte(`{"error":{"message":"max_tokens is too large, key sk-secret ` + strings.Repeat("é", 400) + `"}}`)}
	e := endpoint(t, s, func(c *engine.Config) { c.ErrorDetail = true })
	o := e.Do(context.Background(), chatCall(hello))
	if m := o.Err.Message; !strings.Contains(m, "max_tokens is too large, key [key]") || strings.Contains(m, "secret") || len(m) > 700 || strings.Contains(m, "\ufffd") {
		t.Errorf("message %q", m)
	}
}

func TestNothingIsSent(t *testing.T) {
	s := &script{body: []byte(answer)}
	e := endpoint(t, s, func(c *engine.Config) {
		c.Models = map[string]engine.Model{"smart": {Upstream: "gpt-4o"}, "gpt-4o-mini": {}}
	})
	for name, c := range map[string]struct {
		change func(*engine.Call)
		code   wire.Code
		status wire.Status
	}{
		"unknown model": {func(c *engine.Call) { c.Model = "smart" }, wire.CodeModelNotFound, wire.Failed},
		"messages":      {func(c *engine.Call) { c.Meta.Endpoint = wire.Messages }, wire.CodeUnsupported, wire.Failed},
		"no JSON":       {func(c *engine.Call) { c.Body = []byte("hi") }, wire.CodeInvalidJSON, wire.Failed},
		"past deadline": {func(c *engine.Call) { c.Meta.Deadline = 1 }, wire.CodeDeadline, wire.Expired},
	} {
		c1 := chatCall(hello)
		c1.Model = "gpt-4o"
		c.change(c1)
		h := &heard{}
		c1.Emit = h.emit
		o := e.Do(context.Background(), c1)
		if o.Status != c.status || o.Err.Code != c.code || o.Usage != (wire.Usage{}) || len(h.events) != 0 || s.req != nil {
			t.Errorf("%s: %+v, %v", name, o, h.events)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if o := e.Do(ctx, chatCall(hello)); o.Status != wire.Cancelled || o.Err.Code != wire.CodeCancelled || s.req != nil {
		t.Errorf("cancelled before: %+v", o)
	}
	for _, m := range []string{"gpt-4o", "gpt-4o-mini"} {
		c := chatCall(hello)
		c.Model = m
		if o := e.Do(context.Background(), c); o.Status != wire.Succeeded {
			t.Errorf("%s: %v", m, o.Err)
		}
	}
}

func TestEmbeddingsAsOneEvent(t *testing.T) {
	body := `{"object":"list","data":[{"embedding":[1]}],"usage":{"prompt_tokens":3,"total_tokens":3}}`
	c, h := streamCall(wire.Embeddings)
	o := endpoint(t, &script{body: []byte(body)}, nil).Do(context.Background(), c)
	h.check(t, "embeddings")
	if o.Status != wire.Succeeded || len(h.events) != 1 || h.events[0] != body || o.Usage.Input != 3 {
		t.Errorf("%+v, %q", o, h.events)
	}
}

// panicky is a transport with a fault.
type panicky struct{}

func (panicky) RoundTrip(*http.Request) (*http.Response, error) { panic("Say hello, sk-secret") }

func TestI1NoPanic(t *testing.T) {
	o := endpoint(t, panicky{}, nil).Do(context.Background(), chatCall(hello))
	if o.Status != wire.Failed || o.Err.Code != wire.CodeInternal || strings.Contains(o.Err.Message, "secret") {
		t.Errorf("%+v", o)
	}
	c := chatCall(hello)
	c.Emit = func([][]byte, bool) error { panic("in Emit") }
	s := &script{kind: "text/event-stream", body: transcript(t, "chat_text.sse")}
	if o := endpoint(t, s, nil).Do(context.Background(), c); o.Status != wire.Failed || o.Err.Code != wire.CodeInternal {
		t.Errorf("panic in Emit: %+v", o)
	}
}

func TestNewListsFaults(t *testing.T) {
	_, err := engine.New(engine.Config{
		Adapter: "smoke", BaseURL: "ftp://x", APIKey: "sk-secret\n", Timeout: -1, HeaderTimeout: -1, IdleTimeout: -1, MaxAnswer: -1,
		Header: map[string]string{"Authorization": "sk-other", "bad name": "x", "X-Fine": "bad\nvalue"},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"name", "adapter", "openai, simulated", "base_url", "api_key", "timeout", "header_timeout",
		"idle_timeout", "max_answer", `"Authorization"`, `"bad name"`, `"X-Fine"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "sk-") {
		t.Errorf("a key is in the error: %v", err)
	}
	if _, err := engine.New(engine.Config{Pool: "p", Adapter: "openai", BaseURL: "https://user:sk-secret@x/v1"}); err == nil || strings.Contains(err.Error(), "sk-") {
		t.Errorf("user in the URL: %v", err)
	}
	for _, good := range []engine.Config{
		{Pool: "p", Adapter: "openai", BaseURL: "http://127.0.0.1:1"},
		{Pool: "p", Adapter: "simulated", Transport: &script{}},
	} {
		e, err := engine.New(good)
		if err != nil {
			t.Error(err)
			continue
		}
		e.Close()
	}
}

func ExampleEndpoint_Do() {
	provider := &script{body: []byte(answer)} // in life: the network
	e, err := engine.New(engine.Config{Pool: "openai-us", Adapter: "openai", BaseURL: "https://api.openai.com/v1", Transport: provider})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Close()
	out := e.Do(context.Background(), &engine.Call{
		Meta:  &wire.Meta{ID: "job1", Tenant: "acme", Endpoint: wire.ChatCompletions},
		Model: "gpt-4o-mini", Attempt: 1,
		Body: []byte(`{"model":"chat","messages":[{"role":"user","content":"Say hello"}]}`),
	})
	fmt.Println(out.Status, out.HTTP, out.Usage.Input, out.Usage.Output, out.Source)
	// Output: succeeded 200 9 2 provider
}

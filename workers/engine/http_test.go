package engine_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
	"github.com/sluicehq/sluice/workers/simulated"
)

// overHTTP is an endpoint on a simulated provider behind a real socket. It
// counts the connections.
func overHTTP(t *testing.T, cfg simulated.Config) (*engine.Endpoint, *simulated.Provider, *atomic.Int64) {
	t.Helper()
	p, err := simulated.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var conns atomic.Int64
	srv := httptest.NewUnstartedServer(p)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	e, err := engine.New(engine.Config{Pool: "http", Adapter: "openai", BaseURL: srv.URL + "/v1/", APIKey: cfg.APIKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e, p, &conns
}

// TestOverHTTP: the same answers as in the process, and the connection is kept.
func TestOverHTTP(t *testing.T) {
	e, p, conns := overHTTP(t, simulated.Config{APIKey: "k", Seed: 3})
	inside := simulate(t, simulated.Config{Seed: 3})
	for _, ep := range []wire.Endpoint{wire.ChatCompletions, wire.Completions, wire.Responses, wire.Embeddings} {
		c := chatCall(bodies[ep])
		c.Meta.Endpoint = ep
		want := inside.Do(context.Background(), c)
		whole := e.Do(context.Background(), c)
		if whole.Status != wire.Succeeded || string(whole.Body) != string(want.Body) || whole.Usage != want.Usage || whole.TTFT <= 0 {
			t.Errorf("%s: %+v, want %+v", ep, whole, want)
		}
		c, h := streamCall(ep)
		streamed := e.Do(context.Background(), c)
		h.check(t, string(ep))
		if streamed.Status != wire.Succeeded || streamed.Usage != want.Usage {
			t.Errorf("%s streamed: %+v", ep, streamed)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections for calls one after another", n)
	}
	if s := p.Stats(); s.Running != 0 || s.Calls != 8 {
		t.Errorf("stats %+v", s)
	}
}

func TestFaultsOverHTTP(t *testing.T) {
	for fault, code := range map[simulated.Fault][2]wire.Code{ // whole, streamed
		simulated.RateLimit:   {wire.CodeRateLimited, wire.CodeRateLimited},
		simulated.ServerError: {wire.CodeProviderError, wire.CodeProviderError},
		simulated.Drop:        {wire.CodeConnection, wire.CodeStreamTruncated},
		simulated.Garble:      {wire.CodeProviderError, wire.CodeStreamGarbled},
	} {
		e, _, _ := overHTTP(t, simulated.Config{ErrorShare: 1, Faults: []simulated.Fault{fault}, RetryAfter: 3 * time.Second})
		for i := range 2 {
			c, h := streamCall(wire.ChatCompletions)
			if i == 0 {
				c.Emit = nil
			}
			o := e.Do(context.Background(), c)
			h.check(t, string(fault))
			if o.Status != wire.Failed || o.Err.Code != code[i] {
				t.Errorf("%s, streamed %v: %+v", fault, i == 1, o)
			}
			if (fault == simulated.RateLimit) != (o.RetryAfter == 3*time.Second) {
				t.Errorf("%s: retry after %s", fault, o.RetryAfter)
			}
		}
	}
}

// TestCancelOverHTTP: the server sees the end of a cancelled call.
func TestCancelOverHTTP(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, `data: {"choices":[{"index":0,"delta":{"content":"eight..."}}]}`+"\n\n")
		_ = http.NewResponseController(w).Flush()
		close(began)
		<-r.Context().Done()
		close(ended)
	}))
	defer srv.Close()
	e, err := engine.New(engine.Config{Pool: "http", Adapter: "openai", BaseURL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c, h := streamCall(wire.ChatCompletions)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan *engine.Outcome)
	go func() { done <- e.Do(ctx, c) }()
	<-began
	cancel()
	o := <-done
	h.check(t, "cancelled")
	if o.Status != wire.Cancelled {
		t.Errorf("%+v", o)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the provider's call was not stopped")
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	e, err := engine.New(engine.Config{Pool: "http", Adapter: "openai", BaseURL: "http://" + addr})
	if err != nil {
		t.Fatal(err)
	}
	o := e.Do(context.Background(), chatCall(hello))
	want := "pool http: the connection to the provider failed (connection refused): check the pool's base_url and the network"
	if o.Err == nil || o.Err.Message != want || o.Err.Code != wire.CodeConnection || o.Usage != (wire.Usage{}) {
		t.Errorf("%+v", o)
	}
}

package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

// What the upstream of the HTTP measurement answers: upstreamWords words, whole
// or as that many events with one word each, between an opening and a closing.
const (
	upstreamWord  = "lorem "
	upstreamWords = 20
)

// HTTPPart is the name of a process that the HTTP measurement starts beside
// the gateways.
type HTTPPart string

// The two parts.
const (
	Upstream HTTPPart = "upstream" // an OpenAI-compatible server without latency
	Proxy    HTTPPart = "proxy"    // httputil.ReverseProxy, and nothing else
)

// ServeHTTPPart is the body of such a process. It prints its address as its
// only line of output and serves until in ends, so that it does not outlive
// whoever started it. target is where Proxy leads to.
func ServeHTTPPart(ctx context.Context, part HTTPPart, target string, in io.Reader, out io.Writer) error {
	var h http.Handler
	switch part {
	case Upstream:
		h = upstreamHandler()
	case Proxy:
		u, err := url.Parse(target)
		if err != nil || u.Host == "" {
			return fmt.Errorf("the proxy's target %.200q is no URL", target)
		}
		h = proxyTo(u)
	default:
		return fmt.Errorf("no part is called %.20q: use %s or %s", part, Upstream, Proxy)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }() // ends by Close below
	if _, err = fmt.Fprintln(out, l.Addr()); err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	err = errors.Join(err, srv.Close())
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// upstreamHandler answers every chat completion alike, at once.
func upstreamHandler() http.Handler {
	whole := fmt.Appendf(nil, `{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":%q},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":200,"completion_tokens":20,"total_tokens":220}}`,
		strings.Repeat(upstreamWord, upstreamWords))
	event := func(rest string) []byte {
		return []byte(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m",` + rest + "}\n\n")
	}
	events := [][]byte{event(`"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]`)}
	for range upstreamWords {
		events = append(events, event(`"choices":[{"index":0,"delta":{"content":"`+upstreamWord+`"},"finish_reason":null}]`))
	}
	events = append(events, event(`"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]`),
		event(`"choices":[],"usage":{"prompt_tokens":200,"completion_tokens":20,"total_tokens":220}`), []byte("data: [DONE]\n\n"))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"m","object":"model","created":1,"owned_by":"bench"}]}`)
	})
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(bufio.NewReader(r.Body))
		if err != nil {
			return
		}
		if !strings.Contains(string(body), `"stream":true`) && !strings.Contains(string(body), `"stream": true`) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(whole)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		for _, e := range events { // each on its own, as a provider sends them
			if _, err := w.Write(e); err != nil || rc.Flush() != nil {
				return // the client has gone
			}
		}
	})
	return mux
}

// proxyTo is Go's own reverse proxy, with as many idle connections as the
// measurement uses: with the default of two it would mostly dial.
func proxyTo(u *url.URL) http.Handler {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, 1024
	return &httputil.ReverseProxy{Transport: t, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}
}

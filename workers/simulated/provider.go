package simulated

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// Provider is a simulated provider: an http.RoundTripper and an http.Handler.
// It is safe for use from many goroutines.
type Provider struct {
	cfg                 Config
	calls               atomic.Int64
	running, maxRunning atomic.Int64
	batches             batches
}

// Stats counts a provider's calls.
type Stats struct {
	Calls      int64 // begun
	Running    int64 // not over: their answer is neither read to its end nor closed
	MaxRunning int64 // most at any one time
}

// New makes a provider without any I/O; every fault of the configuration is
// listed.
func New(cfg Config) (*Provider, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Provider{cfg: cfg}, nil
}

// Stats is how many calls there were and are.
func (p *Provider) Stats() Stats {
	return Stats{Calls: p.calls.Load(), Running: p.running.Load(), MaxRunning: p.maxRunning.Load()}
}

// ResetMax starts a new measurement of Stats.MaxRunning.
func (p *Provider) ResetMax() { p.maxRunning.Store(p.running.Load()) }

// maxRequest bounds a request's body.
const maxRequest = 16 << 20

// RoundTrip implements http.RoundTripper. The call ends when the answer's body
// is read to its end or closed.
func (p *Provider) RoundTrip(req *http.Request) (*http.Response, error) {
	p.enter()
	resp, err := p.serve(req)
	if err != nil {
		p.leave()
		return nil, err
	}
	return resp, nil
}

func (p *Provider) enter() {
	p.calls.Add(1)
	n := p.running.Add(1)
	for {
		m := p.maxRunning.Load()
		if n <= m || p.maxRunning.CompareAndSwap(m, n) {
			return
		}
	}
}

func (p *Provider) leave() { p.running.Add(-1) }

// serve answers one call. It returns an error only when the client is gone.
func (p *Provider) serve(req *http.Request) (*http.Response, error) {
	if what, id, verb, ok := batchPath(req.URL.Path); ok {
		return p.serveBatches(req, what, id, verb)
	}
	raw, err := readBody(req)
	if err != nil {
		return nil, err
	}
	c := &call{p: p, ctx: req.Context(), line: Line{Key: req.Header.Get("Idempotency-Key")}}
	c.kind = kinds[endpoint(req.URL.Path)]
	if r := p.gate(req); r != nil {
		return c.refuse(req, r), nil
	}
	if refusal := c.parse(req.URL.Path, raw); refusal != nil {
		return c.refuse(req, refusal), nil
	}
	c.plan(raw)
	switch {
	case c.fault == RateLimit:
		return c.refuse(req, p.rateLimited("rate_limit_exceeded")), nil
	case c.fault == ServerError:
		return c.refuse(req, &refusal{status: 500, kind: "server_error", message: "The simulated provider had an error."}), nil
	case c.stream:
		return respond(req, 200, "text/event-stream", c.events(), -1), nil
	}
	return c.whole(req)
}

func readBody(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	defer func() { _ = req.Body.Close() }() // read, or given up
	if n := req.ContentLength; n > 0 && n <= maxRequest {
		raw := make([]byte, n)
		_, err := io.ReadFull(req.Body, raw)
		return raw, err
	}
	return io.ReadAll(io.LimitReader(req.Body, maxRequest))
}

// refusal is an error answer.
type refusal struct {
	status     int
	kind, code string
	param      string
	message    string
	retryAfter time.Duration
}

func (p *Provider) rateLimited(code string) *refusal {
	return &refusal{status: 429, kind: "requests", code: code, retryAfter: p.cfg.RetryAfter,
		message: "Rate limit reached at the simulated provider."}
}

// gate checks what comes before the request itself.
func (p *Provider) gate(req *http.Request) *refusal {
	switch {
	case p.cfg.APIKey != "" && req.Header.Get("Authorization") != "Bearer "+p.cfg.APIKey && req.Header.Get("X-Api-Key") != p.cfg.APIKey:
		return &refusal{status: 401, kind: "invalid_request_error", code: "invalid_api_key", message: "Incorrect API key provided."}
	case p.cfg.MaxConcurrent > 0 && p.running.Load() > int64(p.cfg.MaxConcurrent):
		return p.rateLimited("too_many_requests")
	}
	return nil
}

// offers reports whether the provider has the model.
func (p *Provider) offers(model string) bool {
	return len(p.cfg.Models) == 0 || slices.Contains(p.cfg.Models, model)
}

// refuse answers with an OpenAI-shaped error; it is in the books without cost.
func (c *call) refuse(req *http.Request, r *refusal) *http.Response {
	c.write("refused", r.status)
	var body []byte
	if c.kind == message {
		body = appendMessageError(nil, r)
	} else {
		body = appendError(nil, r)
	}
	resp := respond(req, r.status, "application/json", c.fixed(body, nil), int64(len(body)))
	if r.retryAfter > 0 {
		seconds := (r.retryAfter + time.Second - 1) / time.Second
		resp.Header["Retry-After"] = []string{strconv.FormatInt(int64(seconds), 10)}
		resp.Header["Retry-After-Ms"] = []string{strconv.FormatInt(r.retryAfter.Milliseconds(), 10)}
	}
	return resp
}

// appendError is an error in OpenAI's shape.
func appendError(out []byte, r *refusal) []byte {
	out = appendJSON(append(out, `{"error":{"message":`...), r.message)
	out = appendJSON(append(out, `,"type":`...), r.kind)
	out = appendOptional(append(out, `,"param":`...), r.param)
	out = appendOptional(append(out, `,"code":`...), r.code)
	return append(out, `}}`...)
}

func respond(req *http.Request, status int, contentType string, body io.ReadCloser, length int64) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {contentType}}, Body: body, ContentLength: length, Request: req,
	}
}

// ServeHTTP implements http.Handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	p.enter()
	resp, err := p.serve(req)
	if err != nil {
		p.leave()
		panic(http.ErrAbortHandler) // the client is gone: cut the connection
	}
	defer func() { _ = resp.Body.Close() }() // books the call, if it was cut
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	if resp.ContentLength >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	w.WriteHeader(resp.StatusCode)
	flush := http.NewResponseController(w)
	_ = flush.Flush() // a writer that cannot flush still sends everything at the end
	buf := make([]byte, 4096)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return
			}
			_ = flush.Flush() // as above
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler) // a dropped answer, over a real socket
		}
	}
}

// wait sleeps until at, or until the client is gone. Without latencies at is
// the zero time, and nothing happens.
func wait(ctx context.Context, at time.Time) error {
	if at.IsZero() {
		return ctx.Err()
	}
	d := time.Until(at)
	if d <= 0 {
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

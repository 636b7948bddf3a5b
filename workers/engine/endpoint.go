package engine

import (
	"cmp"
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/adapter"
)

// Verdict says what may follow a failed attempt; see [adapter.Verdict].
type Verdict = adapter.Verdict

// The verdicts.
const (
	Final          = adapter.Final
	RetryElsewhere = adapter.RetryElsewhere
	RetryLater     = adapter.RetryLater
)

// Call is one attempt.
type Call struct {
	Meta    *wire.Meta
	Body    []byte // the job's body; never written to
	Model   string // the upstream model
	Attempt int
	Trace   string // traceparent for the provider; defaults to the job's own
	// Emit gets the events of a streamed answer, those together that came
	// together (at least one); nil asks for a whole answer. last says that the
	// last of them ends the answer. The events belong to the callee but must
	// not be written to; the slice of them is used again. If Emit fails, the
	// call is stopped and Emit is not called again. An endpoint that has no
	// streams gives its whole answer as one last event.
	Emit func(events [][]byte, last bool) error
}

// Outcome is how an attempt ended.
type Outcome struct {
	Status     wire.Status   // Succeeded, Failed, Cancelled or Expired
	Err        *wire.Error   // nil if it succeeded
	Verdict    Verdict       // of a failure
	RetryAfter time.Duration // what the provider asked for, 0: nothing
	Limits     *wire.Limits  // what the answer said of the provider's limits, nil: nothing
	HTTP       int           // the provider's status, 0: no answer
	Body       []byte        // the answer in the endpoint's shape; nil after a failure
	Usage      wire.Usage
	Source     wire.UsageSource // estimated, unless the provider reported usage
	TTFT       time.Duration    // to the first piece of content, or to the response header; 0: none
	Latency    time.Duration    // of the whole call
}

// Endpoint is a pool's connection to its provider. It is safe for use from
// many goroutines.
type Endpoint struct {
	cfg       Config
	codec     adapter.Codec
	signer    adapter.Signer // nil: the key is in the header
	base      *url.URL
	header    http.Header // sent with every call
	transport http.RoundTripper
	pooled    bool            // transport is net/http's
	upstream  map[string]bool // nil: any
	close     func()
}

// New checks the configuration, lists every fault in it, and makes an endpoint
// without any I/O.
func New(cfg Config) (*Endpoint, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	codec, _ := adapter.Lookup(cfg.Adapter)
	base, err := url.Parse(cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	base.Path = strings.TrimRight(base.Path, "/")
	e := &Endpoint{cfg: cfg, codec: codec, base: base, transport: cfg.Transport, close: func() {}}
	if e.transport == nil {
		t := newTransport()
		e.transport, e.pooled, e.close = t, true, t.CloseIdleConnections
	}
	e.header = http.Header{"User-Agent": {"sluice"}}
	if cfg.APIKey != "" {
		if auth := codec.Auth(cfg.APIKey); auth.Name != "" {
			e.header[textproto.CanonicalMIMEHeaderKey(auth.Name)] = []string{auth.Value}
		} else {
			e.signer, _ = codec.(adapter.Signer)
		}
	}
	for name, v := range cfg.Header {
		e.header[textproto.CanonicalMIMEHeaderKey(name)] = []string{v}
	}
	for offered, m := range cfg.Models {
		if e.upstream == nil {
			e.upstream = make(map[string]bool, len(cfg.Models))
		}
		if m.Upstream == "" {
			m.Upstream = offered
		}
		e.upstream[m.Upstream] = true
	}
	return e, nil
}

// Pool is the pool's name.
func (e *Endpoint) Pool() string { return e.cfg.Pool }

// Region is the pool's region.
func (e *Endpoint) Region() string { return e.cfg.Region }

// Close lets go of idle connections. Calls that still run are not touched.
func (e *Endpoint) Close() { e.close() }

// IdempotencyKey is what a provider gets to recognise a repeated attempt, and
// what its books name the attempt by.
func IdempotencyKey(tenant, job string, attempt int) string {
	return tenant + "-" + job + "-" + strconv.Itoa(attempt)
}

// request is the HTTP request of a call.
func (e *Endpoint) request(ctx context.Context, c *Call, enc adapter.Encoded, body *sentBody) *http.Request {
	u := *e.base
	path, query, _ := strings.Cut(enc.Path, "?")
	u.RawPath = u.EscapedPath() + path
	if query != "" {
		u.RawQuery = strings.TrimPrefix(u.RawQuery+"&"+query, "&")
	}
	if plain, err := url.PathUnescape(path); err == nil {
		path = plain
	}
	u.Path += path // RawPath counts only where it says the same with other escapes
	h := make(http.Header, len(e.header)+len(enc.Header)+2)
	for k, v := range e.header {
		h[k] = v
	}
	values := make([]string, 0, len(enc.Header)+3)
	set := func(name, v string) {
		values = append(values, v)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	for _, f := range enc.Header {
		set(f.Name, f.Value)
	}
	if e.signer != nil {
		for _, f := range e.signer.Sign(adapter.Signing{
			Key: e.cfg.APIKey, Method: enc.Method, URL: &u, Header: enc.Header, Body: enc.Body, Now: time.Now(),
		}) {
			set(f.Name, f.Value)
		}
	}
	set("Idempotency-Key", IdempotencyKey(c.Meta.Tenant, c.Meta.ID, c.Attempt))
	if trace := cmp.Or(c.Trace, c.Meta.Trace); trace != "" {
		set("Traceparent", trace)
		if c.Meta.TraceState != "" {
			set("Tracestate", c.Meta.TraceState)
		}
	}
	body.Reset(enc.Body)
	// GetBody stays nil: with it, the transport would take the Idempotency-Key
	// as leave to repeat a request that the provider may have seen (I6).
	req := &http.Request{
		Method: enc.Method, URL: &u, Host: u.Host, Header: h, ContentLength: int64(len(enc.Body)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	ctx = body.in(ctx, req, e.pooled)
	return req.WithContext(ctx)
}

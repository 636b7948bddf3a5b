package engine

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/workers/adapter"
)

// Defaults of Config.
const (
	DefaultTimeout       = 10 * time.Minute
	DefaultHeaderTimeout = 2 * time.Minute
	DefaultIdleTimeout   = 60 * time.Second
	DefaultMaxAnswer     = 7 << 20
)

// Config describes a pool's endpoint.
type Config struct {
	// Pool is the pool's name, for error messages. Required.
	Pool string
	// Adapter names the codec: one of adapter.Names(). Required.
	Adapter string
	// BaseURL is the provider's address up to and including its version, such
	// as https://api.openai.com/v1. Required, unless Transport is set.
	BaseURL string
	// APIKey authenticates the pool, in the form that its adapter takes. Empty:
	// no authentication is sent.
	APIKey string
	// Region is where the pool is; the engine only keeps it.
	Region string
	// Models are the offered names and what they mean upstream. When there are
	// any, a call for an upstream model that is not among them fails before
	// anything is sent. Empty: every model is let through.
	Models map[string]Model
	// Header is sent with every call, for example OpenAI-Organization.
	Header map[string]string
	// Timeout bounds a whole call. Defaults to 10 minutes.
	Timeout time.Duration
	// HeaderTimeout bounds the wait for the response header of a streamed
	// call. A call that is not streamed has its header only when the answer is
	// done, so only Timeout bounds it. Defaults to 2 minutes.
	HeaderTimeout time.Duration
	// IdleTimeout bounds the silence between two reads of a stream. Defaults
	// to 60 seconds.
	IdleTimeout time.Duration
	// MaxAnswer bounds the bytes of an answer. Defaults to 7 MiB.
	MaxAnswer int
	// ErrorDetail adds the provider's own words to errors. They may quote the
	// prompt; the key is cut out. Defaults to false.
	ErrorDetail bool
	// Transport makes the calls. It must end a call when the request's context
	// ends, as net/http's does. Nil: a pooled transport of the endpoint's own.
	Transport http.RoundTripper
}

// Model is an offered model.
type Model struct {
	Upstream string // the provider's name for it; empty: the offered name
}

// withDefaults is the configuration with every default in place.
func (c Config) withDefaults() Config {
	if c.BaseURL == "" && c.Transport != nil {
		c.BaseURL = "http://in-process.invalid/v1"
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.HeaderTimeout == 0 {
		c.HeaderTimeout = DefaultHeaderTimeout
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = DefaultIdleTimeout
	}
	if c.MaxAnswer == 0 {
		c.MaxAnswer = DefaultMaxAnswer
	}
	return c
}

// check lists every fault of the configuration.
func (c Config) check() error {
	var faults []error
	bad := func(key, format string, args ...any) {
		faults = append(faults, fmt.Errorf("pool %q: %s "+format, append([]any{c.Pool, key}, args...)...))
	}
	if c.Pool == "" {
		bad("name", "is empty")
	}
	codec, ok := adapter.Lookup(c.Adapter)
	if !ok {
		bad("adapter", "is %q: use one of %s", c.Adapter, strings.Join(adapter.Names(), ", "))
	}
	u, err := url.Parse(c.BaseURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		bad("base_url", "must be an http or https URL, such as https://api.openai.com/v1")
	} else if u.User != nil {
		bad("base_url", "holds a user or password: use api_key")
	}
	if strings.ContainsAny(c.APIKey, "\r\n\x00") {
		bad("api_key", "holds a line break or a zero byte: look at where it is read from")
	} else if s, ok := codec.(adapter.Signer); ok && c.APIKey != "" && err == nil {
		if fault := s.CheckKey(c.APIKey, u); fault != nil {
			bad("api_key", "%s", fault)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Header)) {
		if !validHeader(name, c.Header[name]) {
			bad("header", "%.64q is no valid HTTP header", name)
		}
	}
	for _, d := range [...]struct {
		key string
		v   time.Duration
	}{{"timeout", c.Timeout}, {"header_timeout", c.HeaderTimeout}, {"idle_timeout", c.IdleTimeout}} {
		if d.v < 0 {
			bad(d.key, "is %s: it must be above 0", d.v)
		}
	}
	if c.MaxAnswer < 0 {
		bad("max_answer", "is %d: it must be above 0", c.MaxAnswer)
	}
	return errors.Join(faults...)
}

// validHeader refuses what net/http would refuse, and the headers that the
// engine itself sets.
func validHeader(name, value string) bool {
	switch textproto.CanonicalMIMEHeaderKey(name) {
	case "", "Authorization", "X-Api-Key", "X-Goog-Api-Key", "X-Amz-Date", "X-Amz-Security-Token", "Content-Type", "Content-Length", "Host", "Accept", "Idempotency-Key", "Traceparent", "Tracestate":
		return false
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

package adapter

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/sse"
)

// FuzzConvert: whatever a provider sends, nothing panics, and what goes out is
// sound.
func FuzzConvert(f *testing.F) {
	for _, fx := range fixtures(f) {
		for i, name := range Names() {
			if c, _ := Lookup(name); c == fx.codec {
				f.Add(read(f, fx.path+".sse"), fx.native, uint8(i))
			}
		}
	}
	f.Fuzz(func(t *testing.T, transcript, whole []byte, which uint8) {
		var events []sse.Event
		r := sse.NewReader(bytes.NewReader(transcript), 0)
		for ev, err := r.Next(); err == nil; ev, err = r.Next() {
			events = append(events, ev)
		}
		name := Names()[int(which)%len(Names())]
		c, _ := Lookup(name)
		for _, e := range []wire.Endpoint{wire.ChatCompletions, wire.Messages} {
			req := Request{Endpoint: e, Model: "m", Stream: true, ID: "x"}
			if _, f := c.Encode(Request{Endpoint: e, Model: "m", Body: []byte(requests[e])}); f != nil {
				continue
			}
			soundAfterAll(t, playEvents(c, req, events, true))
			if body, _, f := c.Decode(req, whole); f == nil && !json.Valid(body) {
				t.Fatalf("%s: an unsound answer: %s", name, body)
			}
		}
	})
}

// FuzzRefusal: whatever a provider refuses with, says of its limits, or lists,
// there is a class for it, and nothing that a limit or a list cannot be.
func FuzzRefusal(f *testing.F) {
	f.Add(429, "Retry-After", "12", []byte(`{"error":{"type":"rate_limit_error","code":"rate_limit_exceeded","message":"wait"}}`))
	f.Add(400, "X-Ratelimit-Limit-Requests", "100", []byte(`{"__type":"com.amazon#ThrottlingException","message":"x"}`))
	f.Add(200, "Retry-After-Ms", "1e9", []byte(`{"id":"b","status":"failed","created_at":1,"errors":{"data":[{"code":"token_limit_exceeded"}]},"data":[{"id":"x"}],"has_more":true,"last_id":"x"}`))
	f.Add(503, "Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT", []byte(`[{"error":{"code":503,"status":"UNAVAILABLE","details":[{"retryDelay":"34s"}]}}]`))
	f.Add(200, "", "", []byte(`{"custom_id":"a","response":{"status_code":200,"body":{}},"result":{"type":"errored","error":{"error":{"type":"api_error"}}}}`))
	now := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, status int, name, value string, body []byte) {
		h := http.Header{}
		h.Set(name, value)
		if l := LimitsOf(h, now); l != nil && min(l.Requests.Limit, l.Tokens.Limit) < 0 {
			t.Fatalf("%+v", l)
		}
		for _, name := range Names() {
			c, _ := Lookup(name)
			if x := c.Classify(Refusal{Status: status, Header: h, Body: body, Now: now}); x == nil || x.Err.Code == "" || x.Err.Message == "" || x.RetryAfter < 0 {
				t.Fatalf("%s: %+v", name, x)
			}
			if list, ok := CatalogOf(name); ok {
				names, _, _ := list.Decode(body)
				for _, n := range names {
					if n == "" || len(n) > maxModelName {
						t.Fatalf("%s: a model %q", name, n)
					}
				}
			}
			if b, ok := BundlesOf(name); ok {
				if one, err := b.Read(body); err == nil && one.ID == "" {
					t.Fatalf("%s: a batch without an ID", name)
				}
				_, _, _ = b.ReadList(body)
				if r, err := b.Result(body); err == nil && len(r.Body) > 0 && !json.Valid(r.Body) {
					t.Fatalf("%s: a result %s", name, r.Body)
				}
			}
		}
	})
}

// FuzzEncodeChat: whatever a client sends, what goes out is JSON, or a failure
// with a code of the request's.
func FuzzEncodeChat(f *testing.F) {
	files, _ := filepath.Glob("testdata/*/*.request.json")
	for _, file := range files {
		f.Add(read(f, file))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, name := range Names() {
			c, _ := Lookup(name)
			enc, fail := c.Encode(Request{Endpoint: wire.ChatCompletions, Body: body, Model: "m"})
			switch {
			case fail != nil:
				switch fail.Err.Code {
				case wire.CodeInvalidJSON, wire.CodeInvalidRequest, wire.CodeUnsupported, wire.CodeUnsupportedParam:
				default:
					t.Fatalf("%s: %+v", name, fail.Err)
				}
			case json.Valid(body) && !json.Valid(enc.Body):
				t.Fatalf("%s: %s", name, enc.Body)
			}
		}
	})
}

// FuzzLimits: whatever a provider says of its limits and of when to come back,
// what is read is within its bounds, and the same however the headers are
// spelled.
func FuzzLimits(f *testing.F) {
	f.Add("x-ratelimit-limit-requests: 100\nx-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 6m0s\nRetry-After: 12", int64(1_800_000_000))
	f.Add("anthropic-ratelimit-tokens-limit: 5\nanthropic-ratelimit-tokens-remaining: 9\nanthropic-ratelimit-tokens-reset: 2027-01-15T08:00:01Z", int64(1_800_000_000))
	f.Add("retry-after-ms: 1e300\nx-ratelimit-limit-tokens: 9223372036854775807\nx-ratelimit-remaining-tokens: 1\nx-ratelimit-reset-tokens: NaN", int64(-1))
	f.Add("Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\nretry-after: -5", int64(0))
	f.Add("Retry-After: Friday, 31-Dec-99 23:59:59 GMT\nanthropic-ratelimit-requests-remaining: 0\nanthropic-ratelimit-requests-reset: 0001-01-01T00:00:00Z", int64(1<<40))
	f.Fuzz(func(t *testing.T, lines string, at int64) {
		now := time.Unix(at, 0)
		read := func(spell func(string) string) (*wire.Limits, time.Duration) {
			h := http.Header{}
			for line := range strings.Lines(lines) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				h.Add(spell(name), value)
			}
			return LimitsOf(h, now), retryAfter(Refusal{Status: 429, Header: h, Now: now})
		}
		l, wait := read(func(s string) string { return s })
		if wait < 0 || wait > maxRetryAfter {
			t.Fatalf("%q: wait %s", lines, wait)
		}
		if l != nil {
			for _, x := range []wire.Limit{l.Requests, l.Tokens} {
				if x != (wire.Limit{}) && (x.Limit <= 0 || x.Left < 0 || x.Left > x.Limit || x.ResetMS < 1 || x.ResetMS > maxRetryAfter.Milliseconds()) {
					t.Fatalf("%q: %+v", lines, x)
				}
			}
		}
		if upper, wait2 := read(strings.ToUpper); wait2 != wait || (l == nil) != (upper == nil) || l != nil && *l != *upper {
			t.Fatalf("%q: %+v and %s, in capitals %+v and %s", lines, l, wait, upper, wait2)
		}
	})
}

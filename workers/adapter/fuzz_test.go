package adapter

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path/filepath"
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

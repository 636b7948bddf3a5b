package gateway

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

// FuzzQuery: whatever is asked for in a query, and whatever an administrator
// sends, is refused as the client's fault, or within its bounds.
func FuzzQuery(f *testing.F) {
	f.Add("by=pool,model&by=tenant&where=status=failed&since=2026-01-01T00:00:00Z&limit=10", `{"scope":"tenant:a","limit_nano_usd":5}`)
	f.Add("after=file-1&before=x&order=asc&limit=1000&tenant=acme", `{"all":true}`)
	f.Add("limit=-1&order=up&where=x&until=now", `{"tenant":"a","job":"j1"}`)
	g := New(Config{})
	defer g.Close()
	f.Fuzz(func(t *testing.T, query, body string) {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.URL = &url.URL{Path: "/", RawQuery: query}
		check := func(what string, fault *wire.Error, ok bool) {
			if fault == nil && !ok || fault != nil && refusalOf(fault.Code, 0).status >= 500 {
				t.Fatalf("%s of %q and %q: %v", what, query, body, fault)
			}
		}
		q, fault := g.question(r)
		check("question", fault, q.Limit >= 0 && q.Limit <= 10_000)
		p, fault := pageOf(r.URL.Query(), "after", "before", 20, 100)
		check("page", fault, p.Limit >= 1 && p.Limit <= 100)
		for name, read := range map[string]func(*http.Request) (any, *wire.Error){"dead": deadOf, "spec": specOf, "budget": budgetOf, "id": idOf} {
			r.Body = httptest.NewRequest("POST", "/", strings.NewReader(body)).Body
			req, fault := read(r)
			check(name, fault, req != nil)
			if fault == nil && !json.Valid(mustJSON(req)) {
				t.Fatalf("%s: %+v", name, req)
			}
		}
	})
}

// FuzzMessageBatch: of whatever is sent as a message batch, each line is a
// whole request, and there are as many as are said.
func FuzzMessageBatch(f *testing.F) {
	f.Add([]byte(`{"requests":[{"custom_id":"a","params":{"x":[1, 2]}},{"custom_id":"b","params":{}}],"more":{}}`))
	f.Add([]byte(`{"requests":[{"custom_id":"a","params":{"x":"\n\u2028"}}],"requests":[{"custom_id":"a","params":{}}]}`))
	f.Add([]byte(`{"requests":[]}]`))
	seed := maphash.MakeSeed()
	f.Fuzz(func(t *testing.T, body []byte) {
		var out bytes.Buffer
		q := &requestReader{dec: json.NewDecoder(bytes.NewReader(body)), w: &out, seed: seed, seen: map[uint64]struct{}{}}
		n, err := q.read()
		if lines := bytes.Count(out.Bytes(), []byte("\n")); err == nil && int(n) != lines {
			t.Fatalf("%d requests, %d lines", n, lines)
		}
		for line := range bytes.Lines(out.Bytes()) {
			var x struct {
				ID   string         `json:"custom_id"`
				Body map[string]any `json:"body"`
			}
			if e := json.Unmarshal(line, &x); e != nil || !wire.ValidName(x.ID) || x.Body == nil {
				t.Fatalf("%q: %v", line, e)
			}
		}
	})
}

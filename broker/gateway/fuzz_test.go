package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"hash/maphash"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

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

// FuzzUpload: of whatever is sent as a form, what is stored is the file that
// is in it, to the byte; all else is refused as the client's fault, and leaves
// nothing.
func FuzzUpload(f *testing.F) {
	for _, fields := range [][]string{
		{"purpose", "batch", "file", "{}\n"}, {"file", "", "purpose", "user_data", "expires_after[anchor]", "created_at", "expires_after[seconds]", "3600"},
		{"purpose", "vision", "file", "a", "file", "b"}, {"purpose", "x"}, {"file", "x", "expires_after[seconds]", "1"}, {"note", strings.Repeat("n", maxField+1)},
	} {
		kind, body := multi(f, "f ü.jsonl", fields...)
		f.Add(kind, []byte(body))
		f.Add(kind, []byte(body[:len(body)/2]))
	}
	f.Add("multipart/form-data", []byte("x"))
	f.Add(`multipart/form-data; boundary="a b"`, []byte("--a b\r\nContent-Disposition: form-data; name=\"file\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=41\r\n--a b--"))
	b := newBroker(f, f.TempDir(), hang)
	front := b.newFront()
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/v1/files", bytes.NewReader(body))
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		front.gw.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			if w.Code < 400 || w.Code >= 500 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			reply{status: w.Code, body: w.Body.String()}.fault(t)
			return
		}
		var o fileObject
		if err := json.Unmarshal(w.Body.Bytes(), &o); err != nil || !purposes[o.Purpose] || len(o.Filename) > maxName {
			t.Fatalf("%s: %v", w.Body, err)
		}
		again := httptest.NewRequest(http.MethodPost, "/v1/files", bytes.NewReader(body))
		again.Header.Set("Content-Type", kind)
		want := formFile(t, again)
		w = httptest.NewRecorder()
		front.gw.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/files/"+o.ID+"/content", nil))
		if !bytes.Equal(w.Body.Bytes(), want) || o.Bytes != int64(len(want)) {
			t.Fatalf("stored is %q, sent was %q: %+v", w.Body.Bytes(), want, o)
		}
		w = httptest.NewRecorder()
		front.gw.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodDelete, "/v1/files/"+o.ID, nil))
		if w.Code != http.StatusOK {
			t.Fatalf("deleted: %d %s", w.Code, w.Body)
		}
	})
}

// formFile is the content of a form's file, as net/http reads it.
func formFile(t *testing.T, r *http.Request) []byte {
	t.Helper()
	if err := r.ParseMultipartForm(1 << 20); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.MultipartForm.RemoveAll() }()
	if v, ok := r.MultipartForm.Value["file"]; ok { // without a file's name
		return []byte(v[0])
	}
	file, err := r.MultipartForm.File["file"][0].Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// fuzzPaths are what FuzzHTTP asks for: {} is any text.
var fuzzPaths = []string{
	"POST /v1/chat/completions", "POST /v1/completions", "POST /v1/embeddings", "POST /v1/messages", "POST /v1/responses",
	"GET /v1/responses/{}", "POST /v1/responses/{}/cancel", "DELETE /v1/responses/{}", "GET /v1/responses/{}/input_items",
	"GET /v1/files", "GET /v1/files/{}", "GET /v1/files/{}/content", "POST /v1/batches", "GET /v1/batches", "GET /v1/batches/{}", "POST /v1/batches/{}/cancel",
	"POST /v1/messages/batches", "GET /v1/messages/batches/{}", "GET /v1/models/{}", "POST /admin/v1/session", "GET /admin/v1/jobs", "GET /admin/v1/jobs/{}",
	"POST /admin/v1/jobs/{}/cancel", "POST /admin/v1/quality", "POST /admin/v1/budgets", "DELETE /admin/v1/budgets", "POST /admin/v1/pools", "DELETE /admin/v1/pools/{}",
	"POST /admin/v1/dead/requeue", "GET /admin/v1/dead/{}", "GET /admin/v1/batches", "GET /admin/v1/batches/{}/{}", "GET /{}", "OPTIONS /{}",
}

// FuzzHTTP: whatever comes over HTTP, to whichever path, it is answered in the
// right shape, no handler panics, and no answer and no line of the log has a
// key in it.
func FuzzHTTP(f *testing.F) {
	const key = "Geh3im-acme"
	chat := []byte(chatBody)
	f.Add(uint8(0), "", "", "Sluice-Deadline: 1h\nSluice-Label-team: a\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\nTracestate: a=b,c=d", chat)
	f.Add(uint8(0), "", "", "Idempotency-Key: a b\nSluice-Max-Cost: 0.5\nSluice-Not-Before: 2026-01-01T00:00:00Z", []byte(streamBody))
	f.Add(uint8(3), "", "", "X-Api-Key: "+key, []byte(`{"model":"chat","max_tokens":9,"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]}`))
	f.Add(uint8(4), "", "", "", []byte(`{"model":"chat","input":"x","background":true,"stream":true}`))
	f.Add(uint8(5), "resp_1", "stream=true&starting_after=5", "Last-Event-ID: 3", []byte(`{"stream":true}`))
	f.Add(uint8(8), "resp_1", "after=x&limit=3&order=asc&include=y", "", []byte(nil))
	f.Add(uint8(12), "", "", "", []byte(`{"input_file_id":"file-1","endpoint":"/v1/chat/completions","completion_window":"24h","metadata":{"a":"b"},"output_expires_after":{"anchor":"created_at","seconds":3600}}`))
	f.Add(uint8(16), "", "", "Anthropic-Beta: x", []byte(`{"requests":[{"custom_id":"a","params":{"model":"chat","max_tokens":1,"messages":[]}}]}`))
	f.Add(uint8(19), "", "", "", []byte(`{"key":"`+key+`"}`))
	f.Add(uint8(23), "", "", "Authorization: Bearer "+key, []byte(`{"tenant":"acme","job":"j2","score":0.5}`))
	f.Add(uint8(24), "", "", "Sluice-Tenant: other", []byte(`{"scope":"tenant:acme","limit_usd":5,"window":"day","on_exceeded":"wait"}`))
	f.Add(uint8(31), "batch_1/output", "tenant=acme&limit=1", "Origin: https://x", []byte("\x00"))
	b := newBroker(f, f.TempDir(), answer(completion("yes"), opening, delta("yes"), closing, counted, doneSSE))
	b.runBatches()
	fronts := []*front{b.newFront(), b.newFront(func(c *Config) { c.Tenants, c.AdminKey = []Tenant{{Name: "acme", Key: key}}, "Geh3im-admin" })}
	f.Fuzz(func(t *testing.T, which uint8, id, query, headers string, body []byte) {
		front := fronts[int(which>>7)]
		name, path, _ := strings.Cut(fuzzPaths[int(which&127)%len(fuzzPaths)], " ")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, name, "/", bytes.NewReader(body))
		r.URL = &url.URL{Path: strings.ReplaceAll(path, "{}", id), RawQuery: query}
		r.Header.Set("Authorization", "Bearer "+key)
		for line := range strings.Lines(headers) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), ": ")
			r.Header.Add(k, v)
		}
		w := httptest.NewRecorder()
		front.gw.Handler().ServeHTTP(w, r)
		text := w.Body.String()
		if log := b.log.take(); strings.Contains(log, "panic") || strings.Contains(log, "Geh3im") {
			t.Fatalf("%s %s: %s", name, r.URL, log)
		}
		given := id + query + headers + string(body)
		if strings.Contains(text, "Geh3im") && !strings.Contains(given, "Geh3im") {
			t.Fatalf("a key is in %s", text)
		}
		switch {
		case w.Code == http.StatusServiceUnavailable || w.Code == http.StatusGatewayTimeout && ctx.Err() != nil:
		case w.Code < 200 || w.Code >= 500:
			t.Fatalf("%s %s: %d %s", name, r.URL, w.Code, text)
		}
		if w.Code >= 400 && name != http.MethodOptions {
			reply{status: w.Code, body: text}.fault(t)
		}
	})
}

package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/batch"
	"github.com/sluicehq/sluice/sdk/wire"
)

// runBatches runs batches beside the scripted broker.
func (b *broker) runBatches() {
	s := batch.New(batch.Config{JS: b.js, Subjects: b.sub, Instance: "test", StatusOf: StatusOf, Routes: func(m string) bool { return m == "chat" }})
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		if err := s.Run(ctx); err != nil {
			b.t.Error(err)
		}
	})
	b.later(func() { cancel(); all.Wait() })
}

// multi is a form with fields in the order given; the value of "file" is the
// content of a file with the given name.
func multi(t testing.TB, name string, fields ...string) (kind, body string) {
	t.Helper()
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	for i := 0; i < len(fields); i += 2 {
		if fields[i] != "file" {
			_ = w.WriteField(fields[i], fields[i+1])
			continue
		}
		part, err := w.CreateFormFile("file", name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(part, fields[i+1])
	}
	_ = w.Close()
	return w.FormDataContentType(), buf.String()
}

// upload stores a file and gives its object.
func (f *front) upload(content string, headers ...string) fileObject {
	f.b.t.Helper()
	kind, body := multi(f.b.t, "in.jsonl", "purpose", "batch", "file", content)
	r := f.post("/v1/files", body, append(headers, "Content-Type", kind)...)
	if r.status != http.StatusOK {
		f.b.t.Fatalf("%d %s", r.status, r.body)
	}
	return decode[fileObject](f.b.t, r)
}

func decode[T any](t testing.TB, r reply) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), &v); err != nil || r.status != http.StatusOK {
		t.Fatalf("%d %s: %v", r.status, r.body, err)
	}
	return v
}

func (f *front) delete(path string, headers ...string) reply {
	return f.do(f.b.t.Context(), http.MethodDelete, path, "", headers...)
}

// page is a list of anything with an ID.
type page struct {
	Object  string
	Data    []struct{ ID string }
	HasMore bool   `json:"has_more"`
	First   string `json:"first_id"`
	Last    string `json:"last_id"`
}

func (p page) ids() string {
	var ids []string
	for _, x := range p.Data {
		ids = append(ids, x.ID)
	}
	return strings.Join(ids, " ")
}

// TestFiles: the whole life of files, large and small, and that a tenant sees
// its own only.
func TestFiles(t *testing.T) {
	f := newBroker(t, t.TempDir(), hang).newFront()
	big := strings.Repeat("0123456789abcdef", 100_000) // several parts
	var ids []string
	for i, content := range []string{"", "x", big} {
		kind, body := multi(t, fmt.Sprintf("f%d ü.jsonl", i), "file", content, "purpose", "batch",
			"expires_after[anchor]", "created_at", "expires_after[seconds]", "7200")
		o := decode[fileObject](t, f.post("/v1/files", body, "Content-Type", kind))
		if o.Object != "file" || o.Bytes != int64(len(content)) || o.Filename != fmt.Sprintf("f%d ü.jsonl", i) || o.Purpose != "batch" ||
			o.Status != "processed" || o.ExpiresAt != o.CreatedAt+7200 || !strings.HasPrefix(o.ID, "file-") {
			t.Errorf("%+v", o)
		}
		if got := decode[fileObject](t, f.get("/v1/files/"+o.ID)); got != o {
			t.Errorf("%+v, want %+v", got, o)
		}
		c := f.get("/v1/files/" + o.ID + "/content")
		if c.status != 200 || c.body != content || c.header.Get("Content-Length") != fmt.Sprint(len(content)) {
			t.Errorf("content of %d bytes: %d, %d bytes", len(content), c.status, len(c.body))
		}
		ids = append(ids, o.ID)
	}
	for query, want := range map[string]string{
		"": ids[2] + " " + ids[1] + " " + ids[0], "?order=asc&limit=2": ids[0] + " " + ids[1],
		"?order=asc&after=" + ids[1]: ids[2], "?purpose=vision": "", "?purpose=batch&limit=1": ids[2],
	} {
		p := decode[page](t, f.get("/v1/files"+query))
		if p.ids() != want || p.Object != "list" || p.HasMore != strings.Contains(query, "limit") {
			t.Errorf("%s: %+v", query, p)
		}
	}
	for _, path := range []string{"/v1/files/" + ids[1], "/v1/files/" + ids[1] + "/content", "/v1/files/no.such", "/v1/batches/" + ids[1]} {
		if r := f.get(path, "Sluice-Tenant", "other"); r.status != 404 {
			t.Errorf("%s as another tenant: %d %s", path, r.status, r.body)
		}
	}
	if r := f.delete("/v1/files/"+ids[1], "Sluice-Tenant", "other"); r.status != 404 {
		t.Errorf("deleted by another tenant: %d", r.status)
	}
	if p := decode[page](t, f.get("/v1/files", "Sluice-Tenant", "other")); p.ids() != "" {
		t.Errorf("another tenant sees %s", p.ids())
	}
	if r := f.delete("/v1/files/" + ids[1]); r.status != 200 || !strings.Contains(r.body, `"deleted":true`) {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := f.get("/v1/files/" + ids[1]); r.status != 404 {
		t.Errorf("a deleted file: %d", r.status)
	}
	if p := decode[page](t, f.get("/v1/files?order=asc")); p.ids() != ids[0]+" "+ids[2] {
		t.Errorf("after a deletion: %s", p.ids())
	}
}

// TestFilesRefused: what cannot be a file leaves none behind.
func TestFilesRefused(t *testing.T) {
	b := newBroker(t, t.TempDir(), hang)
	f := b.newFront()
	for name, fields := range map[string][]string{
		"purpose": {"file", "x"}, "of no purpose": {"file", "x", "purpose", "evals"}, "file": {"purpose", "batch"},
		"two files":           {"file", "x", "purpose", "batch", "file", "y"},
		"a field of 2 KiB":    {"purpose", strings.Repeat("x", 2048), "file", "x"},
		"expires too soon":    {"file", "x", "purpose", "batch", "expires_after[anchor]", "created_at", "expires_after[seconds]", "3599"},
		"expires too late":    {"file", "x", "purpose", "batch", "expires_after[anchor]", "created_at", "expires_after[seconds]", "2592001"},
		"expires after what?": {"file", "x", "purpose", "batch", "expires_after[seconds]", "7200"},
	} {
		kind, body := multi(t, "x", fields...)
		if r := f.post("/v1/files", body, "Content-Type", kind); r.status != 400 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	kind, body := multi(t, "x", "purpose", "batch", "file", strings.Repeat("x", 2<<20))
	if r := f.post("/v1/files", body[:1<<20], "Content-Type", kind); r.status != 400 {
		t.Errorf("broken off: %d %s", r.status, r.body)
	}
	if r := f.post("/v1/files", "{}", "Content-Type", "application/json"); r.status != 415 {
		t.Errorf("no form: %d %s", r.status, r.body)
	}
	if p := decode[page](t, f.get("/v1/files")); p.ids() != "" {
		t.Errorf("left behind: %s", p.ids())
	}
	stream, err := b.js.Stream(t.Context(), b.sub.Stream(wire.StreamFiles))
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 0 {
		t.Errorf("%d parts are left behind", n)
	}
	for _, query := range []string{"limit=0", "limit=10001", "limit=x", "order=up", "after=file-no"} {
		if r := f.get("/v1/files?" + query); r.status != 400 {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
	}
	if r := f.do(t.Context(), http.MethodPut, "/v1/files", ""); r.status != 405 || r.header.Get("Allow") != "GET, POST" {
		t.Errorf("PUT: %d, %q", r.status, r.header.Get("Allow"))
	}
}

// batchInput is n lines of an endpoint.
func batchInput(n int, url, body string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"custom_id":"c%d","method":"POST","url":%q,"body":%s}`+"\n", i+1, url, body)
	}
	return b.String()
}

// ended polls a batch until it has ended.
func (f *front) ended(id string) batchObject {
	f.b.t.Helper()
	var o batchObject
	eventually(f.b.t, "the end of batch "+id, func() bool {
		o = decode[batchObject](f.b.t, f.get("/v1/batches/"+id))
		return o.Status.Terminal()
	})
	return o
}

// TestBatches: a batch of each endpoint, from upload to results.
func TestBatches(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(`{"the":"answer"}`))
	b.runBatches()
	f := b.newFront()
	var all []string
	for _, e := range batchEndpoints {
		in := f.upload(batchInput(20, string(e), endpointBodies[e]))
		r := f.post("/v1/batches", fmt.Sprintf(`{"input_file_id":%q,"endpoint":%q,"completion_window":"24h","metadata":{"a":"b"},
			"output_expires_after":{"anchor":"created_at","seconds":3600}}`, in.ID, e), "Sluice-Label-Team", "docs")
		o := decode[batchObject](t, r)
		if o.Object != "batch" || o.Endpoint != e || o.Input != in.ID || o.Window != "24h" || o.Metadata["a"] != "b" || o.ExpiresAt != o.CreatedAt+86400 {
			t.Fatalf("%s", r.body)
		}
		all = append(all, o.ID)
		o = f.ended(o.ID)
		if o.Status != batch.Completed || o.Counts != (batchCounts{20, 20, 0}) || o.ErrorFile != "" || o.Model != "chat" ||
			o.Usage.Input != 60 || o.Usage.Total != 160 || o.Sluice.Cost != 140 || o.CompletedAt == 0 {
			t.Fatalf("%+v", o)
		}
		file := decode[fileObject](t, f.get("/v1/files/"+o.Output))
		if file.Purpose != "batch_output" || file.ExpiresAt != file.CreatedAt+3600 {
			t.Errorf("%+v", file)
		}
		c := f.get("/v1/files/" + o.Output + "/content")
		if n := strings.Count(c.body, `"status_code":200,`); n != 20 || int64(len(c.body)) != file.Bytes || strings.Count(c.body, `"body":{"the":"answer"}}`) != 20 {
			t.Errorf("%d results:\n%.500s", n, c.body)
		}
		job := b.newest()
		if job.Class != wire.Batch || job.Batch != o.ID || job.Labels["team"] != "docs" || job.Deadline != time.Unix(o.ExpiresAt, 0).UnixNano() {
			t.Errorf("job %+v", job.Meta)
		}
		if r := f.delete("/v1/files/" + o.Output); r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
		if r := f.get("/v1/files/" + o.Output + "/content"); r.status != 404 {
			t.Errorf("deleted results: %d", r.status)
		}
	}
	p := decode[page](t, f.get("/v1/batches?limit=3"))
	if p.ids() != all[3]+" "+all[2]+" "+all[1] && len(p.Data) != 3 || !p.HasMore || p.First != p.Data[0].ID || p.Last != p.Data[2].ID {
		t.Errorf("%+v", p)
	}
	if q := decode[page](t, f.get("/v1/batches?after="+p.Last)); len(q.Data) != 1 || q.HasMore || strings.Contains(p.ids(), q.ids()) {
		t.Errorf("%+v", q)
	}
	if q := decode[page](t, f.get("/v1/batches", "Sluice-Tenant", "other")); q.ids() != "" {
		t.Errorf("another tenant sees %s", q.ids())
	}
	if r := f.post("/v1/batches/"+all[0]+"/cancel", "", "Sluice-Tenant", "other"); r.status != 404 {
		t.Errorf("cancelled by another tenant: %d", r.status)
	}
	if r := f.post("/v1/batches/"+all[0]+"/cancel", ""); r.status != 409 {
		t.Errorf("cancelled after its end: %d %s", r.status, r.body)
	}
}

// TestBatchesRefused: what cannot be a batch is said at once, or after
// validation with its lines.
func TestBatchesRefused(t *testing.T) {
	b := newBroker(t, t.TempDir(), hang)
	b.runBatches()
	f := b.newFront()
	in := f.upload(batchInput(2, "/v1/chat/completions", chatBody) + "{")
	kind, form := multi(t, "x", "purpose", "user_data", "file", "x")
	other := decode[fileObject](t, f.post("/v1/files", form, "Content-Type", kind))
	base := map[string]any{"input_file_id": in.ID, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
	for field, values := range map[string][]any{
		"input_file_id": {nil, "file-no", other.ID}, "endpoint": {nil, "/v1/images/generations"}, "completion_window": {nil, "1s", "1y"},
		"metadata":             {map[string]string{strings.Repeat("k", 65): "v"}, map[string]string{"k": strings.Repeat("v", 513)}},
		"output_expires_after": {map[string]any{"anchor": "x", "seconds": 7200}, map[string]any{"anchor": "created_at", "seconds": 1}},
	} {
		for _, v := range values {
			body := map[string]any{field: v}
			for k, w := range base {
				if k != field {
					body[k] = w
				}
			}
			r := f.post("/v1/batches", string(mustJSON(body)))
			_, _, param, _ := r.fault(t)
			if want := map[bool]int{true: 404, false: 400}[v == "file-no"]; r.status != want || !strings.HasPrefix(param, field) {
				t.Errorf("%s %v: %d %s", field, v, r.status, r.body)
			}
		}
	}
	for _, h := range [][]string{{"Sluice-Placement", "provider"}, {"Sluice-Placement", "moon"}, {"Sluice-Deadline", "x"}, {"Sluice-Max-Cost", "-1"}} {
		if r := f.post("/v1/batches", string(mustJSON(base)), h...); r.status != 400 {
			t.Errorf("%v: %d %s", h, r.status, r.body)
		}
	}
	o := decode[batchObject](t, f.post("/v1/batches", string(mustJSON(base)), "Idempotency-Key", "one"))
	if again := decode[batchObject](t, f.post("/v1/batches", string(mustJSON(base)), "Idempotency-Key", "one")); again.ID != o.ID {
		t.Errorf("the same key made %s and %s", o.ID, again.ID)
	}
	base["completion_window"] = "23h"
	if r := f.post("/v1/batches", string(mustJSON(base)), "Idempotency-Key", "one"); r.status != 409 {
		t.Errorf("the key of another batch: %d %s", r.status, r.body)
	}
	o = f.ended(o.ID)
	if o.Status != batch.Failed || o.Errors == nil || len(o.Errors.Data) != 1 || *o.Errors.Data[0].Line != 3 || o.Errors.Data[0].Code != "invalid_json_line" {
		t.Errorf("%+v", o.Errors)
	}
	if b.count() != 0 {
		t.Errorf("%d jobs of refused batches", b.count())
	}
}

// TestMessageBatches: Anthropic's batches, whose lines fail one by one.
func TestMessageBatches(t *testing.T) {
	b := newBroker(t, t.TempDir(), func(b *broker, job wire.Job) {
		if strings.Contains(string(job.Body), "refuse") {
			b.claim(job, 1)
			b.end(job, wire.Failed, ended(1, wire.Failed, wire.CodeRateLimited, 429), wire.Errorf(wire.CodeRateLimited, "", "slow down"))
			return
		}
		answer(`{"type":"message"}`)(b, job)
	})
	b.runBatches()
	f := b.newFront()
	body := `{"requests": [
		{"custom_id": "a", "params": {"model": "chat", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}},
		{"params": {"model": "chat", "max_tokens": 9, "messages": [{"role": "user", "content": "refuse"}]}, "custom_id": "b"},
		{"custom_id": "c", "params": {"model": "chat"}}], "other": [1]}`
	r := f.post("/v1/messages/batches", body)
	m := decode[messageBatch](t, r)
	if m.Type != "message_batch" || m.Status != "in_progress" || m.Counts.Processing != 3 || m.ResultsURL != nil || m.EndedAt != nil {
		t.Fatalf("%s", r.body)
	}
	eventually(t, "the end of the batch", func() bool {
		m = decode[messageBatch](t, f.get("/v1/messages/batches/"+m.ID))
		return m.Status == "ended"
	})
	if m.Counts != (messageCounts{Succeeded: 1, Errored: 2}) || m.EndedAt == nil || m.ResultsURL == nil {
		t.Fatalf("%+v", m)
	}
	_, path, _ := strings.Cut(*m.ResultsURL, "://")
	got := f.get(path[strings.IndexByte(path, '/'):])
	results := map[string]string{}
	for line := range strings.Lines(got.body) {
		var x struct {
			ID     string `json:"custom_id"`
			Result json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			t.Fatal(err, line)
		}
		results[x.ID] = string(x.Result)
	}
	if len(results) != 3 || results["a"] != `{"type":"succeeded","message":{"type":"message"}}` ||
		results["b"] != `{"type":"errored","error":{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}}` ||
		!strings.Contains(results["c"], `"type":"invalid_request_error"`) || !strings.Contains(results["c"], "messages") {
		t.Errorf("%v", results)
	}
	p := decode[page](t, f.get("/v1/messages/batches"))
	if p.ids() != m.ID || p.HasMore || p.First != m.ID || p.Last != m.ID {
		t.Errorf("%+v", p)
	}
	for _, path := range []string{"/v1/batches/" + m.ID, "/v1/messages/batches/" + m.ID + "x"} {
		if r := f.get(path); r.status != 404 {
			t.Errorf("%s: %d", path, r.status)
		}
	}
	if p := decode[page](t, f.get("/v1/files")); p.ids() != "" {
		t.Errorf("its input is listed: %s", p.ids())
	}
	if r := f.delete("/v1/messages/batches/" + m.ID); r.status != 200 || !strings.Contains(r.body, "message_batch_deleted") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := f.get("/v1/messages/batches/" + m.ID + "/results"); r.status != 404 || !strings.Contains(r.body, `"type":"not_found_error"`) {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// TestMessageBatchesRefused: what is wrong with the whole is said at once.
func TestMessageBatchesRefused(t *testing.T) {
	f := newBroker(t, t.TempDir(), hang).newFront()
	for _, body := range []string{"", "[]", "{}", `{"requests":[]}`, `{"requests":3}`, `{"requests":[{}]}`, `{"requests":[{"custom_id":"a","params":{}}`,
		`{"requests":[{"custom_id":"a b","params":{}}]}`, `{"requests":[{"custom_id":"a","params":3}]}`, `{"requests":[{"custom_id":7,"params":{}}]}`,
		`{"requests":[{"custom_id":"a","params":{}},{"custom_id":"a","params":{}}]}`} {
		r := f.post("/v1/messages/batches", body)
		if _, kind, _, _ := r.fault(t); r.status != 400 || kind != "invalid_request_error" || !strings.HasPrefix(r.body, `{"error":`) && !strings.Contains(r.body, `"type":"error"`) {
			t.Errorf("%s: %d %s", body, r.status, r.body)
		}
	}
	for _, query := range []string{"limit=1001", "after_id=x", "before_id=x"} {
		if r := f.get("/v1/messages/batches?" + query); r.status != 400 {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
	}
}

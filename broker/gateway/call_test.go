package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestChatCompletion(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("hello")))
	f := b.newFront()
	r := f.post("/v1/chat/completions", chatBody, "Sluice-Tenant", "acme")
	if r.status != http.StatusOK || r.body != completion("hello") {
		t.Fatalf("answer %d %s", r.status, r.body)
	}
	job := b.newest()
	if job.Tenant != "acme" || job.Class != wire.Interactive || job.Endpoint != wire.ChatCompletions || string(job.Body) != chatBody {
		t.Errorf("job %+v", job.Meta)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Sluice-Job": job.ID, "X-Request-Id": job.ID,
		"Sluice-Pool": "p1", "Sluice-Cost-Nano-Usd": "7",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
}

// endpointBodies is a request for each endpoint.
var endpointBodies = map[wire.Endpoint]string{
	wire.ChatCompletions: chatBody,
	wire.Completions:     `{"model":"chat","prompt":"hi"}`,
	wire.Embeddings:      `{"model":"chat","input":"hi"}`,
	wire.Responses:       `{"model":"chat","input":"hi"}`,
	wire.Messages:        `{"model":"chat","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`,
}

func TestEveryEndpoint(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(`{"whatever":"it is"}`))
	f := b.newFront()
	for e, body := range endpointBodies {
		r := f.post(string(e), body)
		if r.status != 200 || r.body != `{"whatever":"it is"}` {
			t.Errorf("%s: %d %s", e, r.status, r.body)
		}
		job := b.newest()
		if job.Endpoint != e || job.Tenant != "default" || job.Route != "chat" {
			t.Errorf("%s: job %+v", e, job.Meta)
		}
		if id := r.header.Get("Request-Id"); e == wire.Messages && id != job.ID {
			t.Errorf("%s: request-id %q, want %q", e, id, job.ID)
		}
	}
}

func TestHeadersOfTheContractPassThrough(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("x")))
	f := b.newFront(func(c *Config) { c.Webhooks = hooks{} })
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	before := time.Now()
	r := f.post("/v1/chat/completions", chatBody,
		"Sluice-Job-Id", "mine-1", "Sluice-Class", "batch", "Sluice-Deadline", "90s", "Sluice-Not-Before", "1ms",
		"Sluice-Affinity", "user-7", "Sluice-Region", "eu", "Sluice-Max-Cost", "0.05", "Sluice-Webhook", "https://example.com/hook",
		"Sluice-Batch", "b1", "Sluice-Label-Team", "search", "traceparent", trace, "tracestate", "vendor=1")
	if r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	m := b.newest().Meta
	if m.ID != "mine-1" || m.Class != wire.Batch || m.Affinity != "user-7" || m.Region != "eu" || m.Webhook != "https://example.com/hook" ||
		m.Batch != "b1" || m.Labels["team"] != "search" || m.Trace != trace || m.TraceState != "vendor=1" || m.MaxCost == nil || *m.MaxCost != 50_000_000 {
		t.Errorf("job %+v", m)
	}
	if d := time.Unix(0, m.Deadline).Sub(before); d < 89*time.Second || d > 95*time.Second {
		t.Errorf("deadline in %s", d)
	}
	if m.NotBefore == 0 {
		t.Error("not-before is missing")
	}
}

func TestClientsCannotSetInternalHeaders(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("x")))
	f := b.newFront()
	r := f.post("/v1/chat/completions", chatBody, "Sluice-Endpoint", "/v1/embeddings", "Sluice-Entry", "{}",
		"Sluice-Assignment", "{}", "Nats-Msg-Id", "x", "Nats-Rollup", "all", "Nats-Expected-Last-Subject-Sequence", "99")
	if r.status != 200 || b.newest().Endpoint != wire.ChatCompletions {
		t.Fatalf("%d %s, endpoint %s", r.status, r.body, b.newest().Endpoint)
	}
}

func TestRefusedBeforePublishing(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("x")))
	f := b.newFront(func(c *Config) { c.MaxBody = 1000 })
	for name, c := range map[string]struct {
		path, body  string
		header      []string
		status      int
		code, param string
	}{
		"empty":         {"/v1/chat/completions", ``, nil, 400, "invalid_json", ""},
		"no JSON":       {"/v1/chat/completions", `{"model":`, nil, 400, "invalid_json", ""},
		"not UTF-8":     {"/v1/chat/completions", "{\"model\":\"\xff\"}", nil, 400, "invalid_json", ""},
		"an array":      {"/v1/chat/completions", `[1]`, nil, 400, "invalid_json", ""},
		"no model":      {"/v1/chat/completions", `{"messages":[1]}`, nil, 400, "invalid_request", "model"},
		"no messages":   {"/v1/chat/completions", `{"model":"m"}`, nil, 400, "invalid_request", "messages"},
		"no input":      {"/v1/embeddings", `{"model":"m"}`, nil, 400, "invalid_request", "input"},
		"bad stream":    {"/v1/chat/completions", `{"model":"m","messages":[1],"stream":1}`, nil, 400, "invalid_request", "stream"},
		"bad deadline":  {"/v1/chat/completions", chatBody, []string{"Sluice-Deadline", "soon"}, 400, "invalid_header", "Sluice-Deadline"},
		"bad class":     {"/v1/chat/completions", chatBody, []string{"Sluice-Class", "urgent"}, 400, "invalid_header", "Sluice-Class"},
		"bad keep":      {"/v1/chat/completions", chatBody, []string{"Sluice-Keep", "maybe"}, 400, "invalid_header", "Sluice-Keep"},
		"bad tenant":    {"/v1/chat/completions", chatBody, []string{"Sluice-Tenant", "a.b"}, 400, "invalid_header", "Sluice-Tenant"},
		"bad job ID":    {"/v1/chat/completions", chatBody, []string{"Sluice-Job-Id", "a b"}, 400, "invalid_job_id", "Sluice-Job-Id"},
		"automatic ID":  {"/v1/chat/completions", chatBody, []string{"Sluice-Job-Id", "j17"}, 400, "invalid_job_id", "Sluice-Job-Id"},
		"too large":     {"/v1/chat/completions", strings.Repeat("x", 1001), nil, 413, "request_too_large", ""},
		"compressed":    {"/v1/chat/completions", chatBody, []string{"Content-Encoding", "gzip"}, 415, "unsupported_encoding", "Content-Encoding"},
		"web page":      {"/v1/chat/completions", chatBody, []string{"Origin", "https://evil.example"}, 403, "cross_origin_request", ""},
		"unknown path":  {"/v1/chat", chatBody, nil, 404, "unknown_url", ""},
		"max_tokens":    {"/v1/messages", `{"model":"m","messages":[1],"max_tokens":0}`, nil, 400, "invalid_request", "max_tokens"},
		"twice a label": {"/v1/chat/completions", chatBody, []string{"Sluice-Region", "a", "Sluice-Region", "b"}, 400, "invalid_header", "Sluice-Region"},
	} {
		r := f.post(c.path, c.body, c.header...)
		_, kind, param, code := r.fault(t)
		if r.status != c.status || code != c.code || param != c.param || kind == "" {
			t.Errorf("%s: %d %s, want %d %s of %s", name, r.status, r.body, c.status, c.code, c.param)
		}
		if ct := r.header.Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s: content type %q", name, ct)
		}
	}
	if n := b.count(); n != 0 {
		t.Errorf("%d jobs were published (I2)", n)
	}
}

func TestTooLargeWithoutLength(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("x")))
	f := b.newFront(func(c *Config) { c.MaxBody = 1000 })
	req := f.request(t.Context(), http.MethodPost, "/v1/chat/completions", "")
	req.Body, req.ContentLength = http.NoBody, -1
	req.Body = readCloser{strings.NewReader(strings.Repeat("x", 2000))}
	res, err := f.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusRequestEntityTooLarge || b.count() != 0 {
		t.Fatalf("status %d, %d jobs", res.StatusCode, b.count())
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

func TestSameKeyIsSameJob(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("x")))
	f := b.newFront()
	for _, key := range []string{"valid-key_1", "not valid: a key with spaces", "j12"} {
		n := b.count()
		first := f.post("/v1/chat/completions", chatBody, "Idempotency-Key", key)
		second := f.post("/v1/chat/completions", chatBody, "Idempotency-Key", key)
		if first.status != 200 || second.status != 200 || first.body != second.body {
			t.Errorf("%q: %d %s, then %d %s", key, first.status, first.body, second.status, second.body)
		}
		if got := b.count() - n; got != 1 {
			t.Errorf("%q: %d jobs, want 1", key, got)
		}
		if id := first.header.Get("Sluice-Job"); id != second.header.Get("Sluice-Job") || !wire.ValidName(id) || wire.IsAutoID(id) {
			t.Errorf("%q: jobs %q and %q", key, id, second.header.Get("Sluice-Job"))
		}
	}
	if _, ok := b.job("valid-key_1"); !ok {
		t.Error("a valid key is not the job ID as it is")
	}
	f.post("/v1/chat/completions", chatBody, "Idempotency-Key", "not valid: a key with spaces", "Sluice-Tenant", "acme")
	if b.newest().Tenant != "acme" {
		t.Error("another tenant's job of the same key was taken for its own")
	}
}

func TestSameKeyWithAnotherBodyIsAConflict(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("secret of the first")))
	f := b.newFront()
	f.post("/v1/chat/completions", chatBody, "Idempotency-Key", "k")
	for _, body := range []string{strings.Replace(chatBody, "hi", "ho", 1), streamBody} {
		r := f.post("/v1/chat/completions", body, "Idempotency-Key", "k")
		if _, _, _, code := r.fault(t); r.status != 409 || code != "id_conflict" || r.header.Get("X-Should-Retry") != "false" {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
}

func TestConflictThatShowsAtTheEnd(t *testing.T) {
	release := make(chan struct{})
	b := newBroker(t, t.TempDir(), func(b *broker, job wire.Job) {
		<-release
		answer(completion("secret of the first"))(b, job)
	})
	f := b.newFront()
	first, got := make(chan reply, 1), make(chan reply, 1)
	go func() { first <- f.post("/v1/chat/completions", chatBody, "Idempotency-Key", "k") }()
	eventually(t, "the first is queued", func() bool { return b.count() == 1 })
	go func() {
		got <- f.post("/v1/chat/completions", strings.Replace(chatBody, "hi", "ho", 1), "Idempotency-Key", "k")
	}()
	eventually(t, "both wait", func() bool { return f.gw.flying.Load() == 2 })
	close(release)
	if r := <-first; r.status != 200 {
		t.Errorf("the first: %d %s", r.status, r.body)
	}
	if r := <-got; r.status != 409 || strings.Contains(r.body, "secret") {
		t.Fatalf("%d %s", r.status, r.body)
	}
}

func TestFailedJobs(t *testing.T) {
	b := newBroker(t, t.TempDir(), nil)
	f := b.newFront()
	for _, c := range []struct {
		err      *wire.Error
		provider int
		status   int
		code     string
		after    bool
		retry    string
	}{
		{wire.Errorf(wire.CodeUnknownRoute, "model", "no such route"), 0, 404, "model_not_found", false, ""},
		{wire.Errorf(wire.CodeRateLimited, "", "slow down"), 429, 429, "rate_limit_exceeded", true, ""},
		{wire.Errorf(wire.CodeInsufficientQuota, "", "empty"), 429, 429, "insufficient_quota", true, "false"},
		{wire.Errorf(wire.CodeProviderRefused, "temperature", "bad"), 400, 400, "provider_refused", false, ""},
		{wire.Errorf(wire.CodeProviderRefused, "", "bad"), 422, 422, "provider_refused", false, ""},
		{wire.Errorf(wire.CodeContextLength, "messages", "too long"), 400, 400, "context_length_exceeded", false, ""},
		{wire.Errorf(wire.CodeProviderAuth, "", "the pool's key"), 401, 502, "provider_auth", false, "false"},
		{wire.Errorf(wire.CodeProviderError, "", "boom"), 500, 502, "provider_error", false, ""},
		{wire.Errorf(wire.CodeNoCandidate, "", "none"), 0, 503, "no_candidate", true, ""},
		{wire.Errorf(wire.CodeTimeout, "", "slow"), 0, 504, "timeout", false, ""},
	} {
		b.mu.Lock()
		b.play = fail(c.err, c.provider)
		b.mu.Unlock()
		for _, body := range []string{chatBody, streamBody} { // before the first chunk a stream fails alike
			r := f.post("/v1/chat/completions", body)
			message, _, param, code := r.fault(t)
			if want := c.status; body == chatBody && r.status != want || code != c.code || message != c.err.Message || param != c.err.Param {
				t.Errorf("%s: %d %s", c.err.Code, r.status, r.body)
			}
			if (r.header.Get("Retry-After") != "") != c.after || r.header.Get("X-Should-Retry") != c.retry {
				t.Errorf("%s: headers %v", c.err.Code, r.header)
			}
			if r.header.Get("Sluice-Error-Code") != string(c.err.Code) {
				t.Errorf("%s: Sluice-Error-Code %q", c.err.Code, r.header.Get("Sluice-Error-Code"))
			}
		}
	}
}

func TestAnthropicsErrors(t *testing.T) {
	b := newBroker(t, t.TempDir(), fail(wire.Errorf(wire.CodeRateLimited, "", "slow down"), 429))
	f := b.newFront()
	for path, want := range map[string]string{"good": "rate_limit_error", "bad": "invalid_request_error"} {
		body := endpointBodies[wire.Messages]
		if path == "bad" {
			body = "{"
		}
		r := f.post("/v1/messages", body)
		var o struct {
			Type  string
			Error struct{ Type, Message string }
		}
		if err := json.Unmarshal([]byte(r.body), &o); err != nil || o.Type != "error" || o.Error.Type != want || o.Error.Message == "" {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
}

func TestClientThatGoesCancelsItsJob(t *testing.T) {
	b := newBroker(t, t.TempDir(), hang)
	f := b.newFront()
	for name, c := range map[string]struct {
		body   string
		header []string
		want   bool
	}{
		"whole":    {chatBody, nil, true},
		"stream":   {streamBody, nil, true},
		"named":    {chatBody, []string{"Idempotency-Key", "named"}, true},
		"kept":     {chatBody, []string{"Sluice-Keep", "true"}, false},
		"not kept": {chatBody, []string{"Sluice-Keep", "false"}, true},
	} {
		n := b.count()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if res, err := f.Client().Do(f.request(ctx, "POST", "/v1/chat/completions", c.body, c.header...)); err == nil {
				_ = res.Body.Close()
			}
		}()
		eventually(t, "job submitted", func() bool { return b.count() == n+1 })
		cancel()
		<-done
		eventually(t, "request over", func() bool { return f.gw.flying.Load() == 0 })
		if id := b.newest().ID; b.wasCancelled(id) != c.want {
			t.Errorf("%s: cancelled %v, want %v", name, b.wasCancelled(id), c.want)
		}
	}
}

func TestOneOfTwoReadersGoes(t *testing.T) {
	release := make(chan struct{})
	b := newBroker(t, t.TempDir(), func(b *broker, job wire.Job) {
		<-release
		answer(completion("for who stayed"))(b, job)
	})
	f := b.newFront()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if res, err := f.Client().Do(f.request(ctx, "POST", "/v1/chat/completions", chatBody, "Idempotency-Key", "k")); err == nil {
			_ = res.Body.Close()
		}
	}()
	stays := make(chan reply, 1)
	go func() { stays <- f.post("/v1/chat/completions", chatBody, "Idempotency-Key", "k") }()
	eventually(t, "both wait", func() bool {
		f.gw.readers.mu.Lock()
		defer f.gw.readers.mu.Unlock()
		return f.gw.readers.of["default.k"] == 2
	})
	cancel()
	eventually(t, "one has gone", func() bool { return f.gw.flying.Load() == 1 })
	close(release)
	if r := <-stays; r.status != 200 || b.wasCancelled("k") {
		t.Fatalf("%d %s", r.status, r.body)
	}
}

func TestTooManyInFlight(t *testing.T) {
	b := newBroker(t, t.TempDir(), hang)
	f := b.newFront(func(c *Config) { c.MaxInFlight = 1 })
	_, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // ends when the front closes its connections
		if res, err := f.Client().Do(f.request(context.Background(), "POST", "/v1/chat/completions", chatBody)); err == nil {
			_ = res.Body.Close()
		}
	}()
	eventually(t, "one is under way", func() bool { return b.count() == 1 })
	r := f.post("/v1/chat/completions", chatBody)
	if r.status != 503 || r.header.Get("Retry-After") == "" || b.count() != 1 {
		t.Fatalf("%d %s", r.status, r.body)
	}
}

func TestWithoutABroker(t *testing.T) {
	b := newBroker(t, t.TempDir(), hang)
	f := b.newFront(func(c *Config) { c.Subjects.Prefix = "elsewhere" })
	r := f.post("/v1/chat/completions", chatBody)
	if _, _, _, code := r.fault(t); r.status != 503 || code != "unavailable" || r.header.Get("Retry-After") == "" {
		t.Fatalf("%d %s", r.status, r.body)
	}
}

func TestLogsAndErrorsTellNothing(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("the-answer")))
	f := b.newFront(func(c *Config) { c.Tenants = []Tenant{{Name: "acme", Key: "the-key"}} })
	prompt := strings.Replace(chatBody, "hi", "the-prompt", 1)
	var told strings.Builder
	for _, r := range []reply{
		f.post("/v1/chat/completions", prompt, "Authorization", "Bearer the-key-but-wrong"),
		f.post("/v1/chat/completions", prompt+"}", "Authorization", "Bearer the-key"),
		f.post("/v1/chat/completions?key=the-key", prompt, "Authorization", "Bearer the-key", "Sluice-Deadline", "the-prompt"),
	} {
		told.WriteString(r.body)
	}
	f.post("/v1/chat/completions", prompt, "Authorization", "Bearer the-key")
	told.WriteString(b.log.String())
	for _, secret := range []string{"the-key", "the-prompt", "the-answer"} {
		if strings.Contains(told.String(), secret) {
			t.Errorf("%q was told: %s", secret, told.String())
		}
	}
}

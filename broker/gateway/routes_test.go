package gateway

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestModels(t *testing.T) {
	b := newBroker(t, t.TempDir(), nil)
	f := b.newFront(func(c *Config) { c.Models = func() []string { return []string{"chat", "org/model"} } })
	var list struct {
		Object string
		Data   []model
	}
	r := f.get("/v1/models")
	if err := json.Unmarshal([]byte(r.body), &list); err != nil || r.status != 200 || list.Object != "list" || len(list.Data) != 2 {
		t.Fatalf("%d %s (%v)", r.status, r.body, err)
	}
	if m := list.Data[1]; m.ID != "org/model" || m.Object != "model" || m.Created == 0 || m.OwnedBy != "sluice" {
		t.Errorf("model %+v", m)
	}
	for _, id := range []string{"chat", "org/model", "org%2Fmodel"} {
		var m model
		r := f.get("/v1/models/" + id)
		if err := json.Unmarshal([]byte(r.body), &m); err != nil || r.status != 200 || m.Object != "model" {
			t.Errorf("%s: %d %s (%v)", id, r.status, r.body, err)
		}
	}
	r = f.get("/v1/models/none")
	if _, _, param, code := r.fault(t); r.status != 404 || code != "model_not_found" || param != "model" {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestModelsForAnthropicsClients(t *testing.T) {
	b := newBroker(t, t.TempDir(), nil)
	f := b.newFront(func(c *Config) { c.Models = func() []string { return []string{"chat"} } })
	var list struct {
		Data    []anthropicModel
		HasMore *bool  `json:"has_more"`
		First   string `json:"first_id"`
	}
	r := f.get("/v1/models", "Anthropic-Version", "2023-06-01")
	if err := json.Unmarshal([]byte(r.body), &list); err != nil || list.HasMore == nil || list.First != "chat" || list.Data[0].Type != "model" {
		t.Errorf("%d %s (%v)", r.status, r.body, err)
	}
	if r := f.get("/v1/models/none", "Anthropic-Version", "2023-06-01"); !strings.Contains(r.body, "not_found_error") {
		t.Errorf("%s", r.body)
	}
	none := b.newFront()
	if r := none.get("/v1/models"); r.body != `{"data":[],"object":"list"}` {
		t.Errorf("%s", r.body)
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("x")))
	f := b.newFront()
	for _, c := range []struct {
		method, path string
		status       int
		code, allow  string
	}{
		{"GET", "/", 404, "unknown_url", ""},
		{"GET", "/v1", 404, "unknown_url", ""},
		{"POST", "/v1/chat/completions/", 404, "unknown_url", ""},
		{"GET", "/v1/chat/completions", 405, "method_not_supported", "POST"},
		{"OPTIONS", "/v1/chat/completions", 405, "method_not_supported", "POST"},
		{"POST", "/v1/models", 405, "method_not_supported", "GET"},
		{"DELETE", "/healthz", 405, "method_not_supported", "GET"},
		{"GET", "/admin/v1/jobs/x/cancel", 405, "method_not_supported", "POST"},
		{"POST", "/v1//chat/completions", 200, "", ""},
		{"POST", "//v1/chat/completions", 200, "", ""},
	} {
		r := f.do(t.Context(), c.method, c.path, chatBody)
		if r.status != c.status || r.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d %s", c.method, c.path, r.status, r.body)
		}
		if c.code != "" {
			if _, kind, _, code := r.fault(t); code != c.code || kind != typeRequest {
				t.Errorf("%s %s: %s", c.method, c.path, r.body)
			}
		}
	}
	if r := f.do(t.Context(), "HEAD", "/healthz", ""); r.status != 200 {
		t.Errorf("HEAD /healthz: %d", r.status)
	}
}

func TestHealthAndReadiness(t *testing.T) {
	b := newBroker(t, t.TempDir(), nil)
	var why error
	f := b.newFront(func(c *Config) { c.Ready = func() error { return why } })
	if r := f.get("/readyz"); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	why = errors.New("streams are missing")
	if r := f.get("/readyz"); r.status != 503 || !strings.Contains(r.body, "streams are missing") || r.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", r.status, r.body)
	}
	why = nil
	f.gw.stopping.Store(true)
	if r := f.get("/readyz"); r.status != 503 || !strings.Contains(r.body, "stopping") {
		t.Errorf("%d %s", r.status, r.body)
	}
	f.gw.stopping.Store(false)
	b.gw.Close()
	if r := f.get("/readyz"); r.status != 503 || !strings.Contains(r.body, "NATS") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := f.get("/healthz"); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := New(Config{}).ready(); r == nil {
		t.Error("ready without a connection")
	}
}

func TestMetrics(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("a"), opening, delta("a"), doneSSE))
	f := b.newFront()
	f.post("/v1/chat/completions", chatBody)
	f.post("/v1/chat/completions", streamBody)
	f.post("/v1/chat/completions", "{")
	b.mu.Lock()
	b.play = fail(wire.Errorf(wire.CodeProviderError, "", "boom"), 500)
	b.mu.Unlock()
	f.post("/v1/embeddings", endpointBodies[wire.Embeddings])
	r := f.get("/metrics")
	if !strings.HasPrefix(r.header.Get("Content-Type"), "text/plain") {
		t.Errorf("content type %q", r.header.Get("Content-Type"))
	}
	for _, want := range []string{
		`sluice_gateway_requests_total{endpoint="/v1/chat/completions",outcome="succeeded"} 2`,
		`sluice_gateway_requests_total{endpoint="/v1/chat/completions",outcome="refused"} 1`,
		`sluice_gateway_requests_total{endpoint="/v1/embeddings",outcome="failed"} 1`,
		`sluice_gateway_request_seconds_count{endpoint="/v1/chat/completions"} 3`,
		`sluice_gateway_first_chunk_seconds_count{endpoint="/v1/chat/completions"} 1`,
		`sluice_gateway_in_flight{endpoint="/v1/chat/completions"} 0`,
		`go_goroutines`,
	} {
		if !strings.Contains(r.body, want) {
			t.Errorf("missing: %s", want)
		}
	}
}

func TestPanicIsAnError(t *testing.T) {
	var log lockedBuffer
	g := New(newBroker(t, t.TempDir(), nil).config(func(c *Config) {
		c.Models = func() []string { panic("the-secret") }
	}))
	defer g.Close()
	w := httptest.NewRecorder()
	g.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/models", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "the-secret") || strings.Contains(log.String(), "the-secret") {
		t.Fatalf("%d %s %s", w.Code, w.Body, log.String())
	}
}

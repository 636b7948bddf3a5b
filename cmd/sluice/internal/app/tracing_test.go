package app_test

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/sluicehq/sluice/cmd/sluice/internal/app"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/sdk"
)

// receiver is a collector: it takes spans as OTLP in protobuf over HTTP.
type receiver struct {
	mu    sync.Mutex
	spans []*tracepb.Span
	names map[string]bool // of services
}

// ServeHTTP implements http.Handler.
func (c *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		in = z
	}
	body, err := io.ReadAll(in)
	var req tracepb.TracesData
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &req) != nil {
		http.Error(w, "no spans", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range req.ResourceSpans {
		for _, kv := range rs.Resource.Attributes {
			if kv.Key == "service.name" {
				c.names[kv.Value.GetStringValue()] = true
			}
		}
		for _, ss := range rs.ScopeSpans {
			c.spans = append(c.spans, ss.Spans...)
		}
	}
}

// below is the spans of a trace under a parent, by name and then by start.
func (c *receiver) below(traceID, parent string) []*tracepb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*tracepb.Span
	for _, s := range c.spans {
		if hex.EncodeToString(s.TraceId) == traceID && hex.EncodeToString(s.ParentSpanId) == parent {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *tracepb.Span) int {
		if n := strings.Compare(a.Name, b.Name); n != 0 {
			return n
		}
		return int(int64(a.StartTimeUnixNano) - int64(b.StartTimeUnixNano))
	})
	return out
}

func names(spans []*tracepb.Span) (out []string) {
	for _, s := range spans {
		out = append(out, s.Name)
	}
	return out
}

func value(s *tracepb.Span, key string) string {
	for _, kv := range s.Attributes {
		if kv.Key == key {
			return kv.Value.String()
		}
	}
	return ""
}

// provider is an upstream that fails the first call of a job whose prompt says
// so, and keeps the traceparents that it was shown.
type provider struct {
	mu   sync.Mutex
	seen map[string][]string // by prompt
}

const tracedAnswer = "a secret answer"

// ServeHTTP implements http.Handler.
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	for _, prompt := range []string{"http-prompt", "stream-prompt", "nats-prompt", "bare-prompt"} {
		if !bytes.Contains(body, []byte(prompt)) {
			continue
		}
		p.mu.Lock()
		p.seen[prompt] = append(p.seen[prompt], r.Header.Get("Traceparent"))
		fail := prompt == "http-prompt" && len(p.seen[prompt]) == 1
		p.mu.Unlock()
		if fail {
			http.Error(w, `{"error":{"message":"a secret fault"}}`, http.StatusInternalServerError)
			return
		}
	}
	if bytes.Contains(body, []byte(`"stream":true`)) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"`+tracedAnswer+`"},"finish_reason":null}]}`+"\n\n"+
			`data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"length"}]}`+"\n\n"+
			`data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}`+"\n\ndata: [DONE]\n\n")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"`+tracedAnswer+`"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}`)
}

// last is the traceparent of the last call with a prompt.
func (p *provider) last(prompt string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.seen[prompt]); n > 0 {
		return p.seen[prompt][n-1]
	}
	return ""
}

const (
	httpTrace = "0af7651916cd43dd8448eb211c80319c"
	natsTrace = "1bf7651916cd43dd8448eb211c80319c"
	clientID  = "b7ad6b7169203331"
)

// post asks over HTTP and reads the whole answer.
func post(t *testing.T, a *app.App, body, traceparent string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+a.HTTPAddr()+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sluice-Tenant", "acme")
	if traceparent != "" {
		req.Header.Set("traceparent", traceparent)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte(tracedAnswer)) {
		t.Fatalf("%d %s, %v", res.StatusCode, answer, err)
	}
}

// One trace connects client, gateway, router, worker and provider, over HTTP
// and over NATS, as a collector receives it.
func TestTraceFromClientToProvider(t *testing.T) {
	c := &receiver{names: map[string]bool{}}
	to := httptest.NewServer(c)
	defer to.Close()
	p := &provider{seen: map[string][]string{}}
	up := httptest.NewServer(p)
	defer up.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", to.URL)
	t.Setenv("OTEL_SERVICE_NAME", "sluice-under-test")
	running(t, up.URL, "", func(a *app.App, client *sdk.Client) {
		post(t, a, `{"model":"chat","messages":[{"role":"user","content":"http-prompt"}]}`, "00-"+httpTrace+"-"+clientID+"-01")
		post(t, a, `{"model":"chat","stream":true,"messages":[{"role":"user","content":"stream-prompt"}]}`, "")
		for prompt, parent := range map[string]string{"nats-prompt": "00-" + natsTrace + "-" + clientID + "-01", "bare-prompt": ""} {
			h, err := client.Submit(t.Context(), sdk.Job{Request: sdk.Prompt("chat", prompt), Traceparent: parent})
			if err != nil {
				t.Fatal(err)
			}
			if r, err := h.Wait(t.Context()); err != nil || r.Err != nil {
				t.Fatalf("%+v, %v", r, err)
			}
		}
	})
	if !c.names["sluice-under-test"] || len(c.names) != 1 {
		t.Errorf("services %v", c.names)
	}

	requests := c.below(httpTrace, clientID) // the client's span
	if got := names(requests); !slices.Equal(got, []string{"POST /v1/chat/completions"}) {
		t.Fatalf("below the client: %v", got)
	}
	jobs := c.below(httpTrace, hex.EncodeToString(requests[0].SpanId))
	if got := names(jobs); !slices.Equal(got, []string{"chat m", "chat m", "decision", "decision", "queue", "queue"}) {
		t.Fatalf("below the request, of two attempts: %v", got)
	}
	if want := "00-" + httpTrace + "-" + hex.EncodeToString(jobs[1].SpanId) + "-01"; p.last("http-prompt") != want {
		t.Errorf("the provider was shown %s, want %s", p.last("http-prompt"), want)
	}
	if jobs[0].Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR || jobs[1].Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("attempts end as %v and %v", jobs[0].Status, jobs[1].Status)
	}
	for key, want := range map[string]string{"gen_ai.operation.name": `"chat"`, "gen_ai.request.model": `"m"`, "gen_ai.usage.input_tokens": "3",
		"gen_ai.usage.output_tokens": "5", "gen_ai.response.finish_reasons": `"stop"`, "sluice.pool": `"up"`, "gen_ai.provider.name": `"`} {
		if got := value(jobs[1], key); !strings.Contains(got, want) {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	if got := value(requests[0], "http.response.status_code"); !strings.Contains(got, "200") {
		t.Errorf("the request's status is %s", got)
	}

	if got := names(c.below(natsTrace, clientID)); !slices.Equal(got, []string{"chat m", "decision", "queue"}) {
		t.Errorf("below the NATS client: %v", got)
	}
	for prompt, root := range map[string]string{"stream-prompt": "POST /v1/chat/completions", "bare-prompt": "decision"} {
		id := strings.Split(p.last(prompt), "-")
		if len(id) != 4 {
			t.Errorf("%s: the provider was shown %q", prompt, p.last(prompt))
			continue
		}
		if got := names(c.below(id[1], "")); !slices.Equal(got, []string{root}) {
			t.Errorf("%s: the trace begins with %v, want %s", prompt, got, root)
		}
	}
	whole := fmt.Sprint(c.spans)
	for _, secret := range []string{"prompt\"", "http-prompt", tracedAnswer, "a secret fault", "secret-key"} {
		if strings.Contains(whole, secret) {
			t.Errorf("a span tells %q", secret)
		}
	}
}

// Without the variables nothing is exported, and the client's own traceparent
// reaches the provider unchanged.
func TestTracingIsOffByDefault(t *testing.T) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER"} {
		t.Setenv(name, "")
	}
	p := &provider{seen: map[string][]string{}}
	up := httptest.NewServer(p)
	defer up.Close()
	parent := "00-" + httpTrace + "-" + clientID + "-01"
	running(t, up.URL, "", func(a *app.App, _ *sdk.Client) {
		post(t, a, `{"model":"chat","messages":[{"role":"user","content":"stream-prompt"}]}`, parent)
	})
	if got := p.last("stream-prompt"); got != parent {
		t.Errorf("the provider was shown %q, want %q", got, parent)
	}
}

// A variable that cannot be followed stops the start, and says which.
func TestTracingFaultStopsTheStart(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	err := app.Run(t.Context(), &config.Config{DataDir: t.TempDir(), NATS: config.NATS{URL: config.NewURL("nats://127.0.0.1:1")}}, app.Options{})
	if err == nil || !strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_PROTOCOL") {
		t.Errorf("error %v", err)
	}
}

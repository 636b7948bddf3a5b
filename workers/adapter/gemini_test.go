package adapter

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestGeminiPaths(t *testing.T) {
	for model, want := range map[string]string{
		"gemini-2.5-flash":        "/models/gemini-2.5-flash:generateContent",
		"models/gemini-2.5-flash": "/models/gemini-2.5-flash:generateContent",
		"tunedModels/my model":    "/tunedModels/my%20model:generateContent",
		"a?b":                     "/models/a%3Fb:generateContent",
	} {
		enc, f := gemini{}.Encode(Request{Endpoint: wire.ChatCompletions, Body: []byte(requests[wire.ChatCompletions]), Model: model})
		if f != nil || enc.Path != want {
			t.Errorf("%s: %s, %+v", model, enc.Path, f)
		}
	}
}

func TestGeminiThinking(t *testing.T) {
	for _, c := range []struct{ model, field, want string }{
		{"gemini-2.5-flash", `"reasoning_effort":"none"`, `{"thinkingBudget":0}`},
		{"gemini-2.5-pro", `"reasoning_effort":"medium"`, `{"thinkingBudget":8192}`},
		{"models/gemini-2.5-pro", `"reasoning_effort":"high"`, `{"thinkingBudget":24576}`},
		{"gemini-3-pro-preview", `"reasoning_effort":"minimal"`, `{"thinkingLevel":"low"}`},
		{"gemini-3.1-pro-preview", `"reasoning_effort":"medium"`, `{"thinkingLevel":"medium"}`},
		{"gemini-3-pro-preview", `"reasoning_effort":"xhigh"`, `{"thinkingLevel":"high"}`},
		{"gemini-3-pro-preview", `"reasoning_effort":"utter"`, ``},
		{"gemini-2.5-pro", `"thinking":{"type":"enabled","budget_tokens":2000}`, `{"includeThoughts":true,"thinkingBudget":2000}`},
	} {
		body := `{"messages":[{"role":"user","content":"x"}],` + c.field + `}`
		enc, f := gemini{}.Encode(Request{Endpoint: wire.ChatCompletions, Body: []byte(body), Model: c.model})
		if f != nil {
			t.Fatalf("%+v", f)
		}
		var sent struct {
			Config struct {
				Thinking json.RawMessage `json:"thinkingConfig"`
			} `json:"generationConfig"`
		}
		if err := json.Unmarshal(enc.Body, &sent); err != nil || string(sent.Config.Thinking) != c.want {
			t.Errorf("%s %s: %s, want %s (%v)", c.model, c.field, sent.Config.Thinking, c.want, err)
		}
	}
}

func TestGeminiChoice(t *testing.T) {
	for in, want := range map[string]string{
		`"auto"`: `"mode":"AUTO"`, `"none"`: `"mode":"NONE"`, `"required"`: `"mode":"ANY"`,
		`{"type":"function","function":{"name":"f"}}`: `{"allowedFunctionNames":["f"],"mode":"ANY"}`,
	} {
		body := `{"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":` + in + `}`
		enc, f := gemini{}.Encode(Request{Endpoint: wire.ChatCompletions, Body: []byte(body), Model: "m"})
		if f != nil || !strings.Contains(string(enc.Body), want) {
			t.Errorf("%s: %s, %+v", in, enc.Body, f)
		}
	}
}

// TestGeminiFailures: what is no answer although the status is 200, whole and
// streamed.
func TestGeminiFailures(t *testing.T) {
	for body, want := range map[string]wire.Code{
		`{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":4}}`: wire.CodeContentFilter,
		`{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL","content":{}}]}`:                       wire.CodeProviderError,
		`{"candidates":[{"finishReason":"OTHER"}]}`:                                                      wire.CodeProviderError,
		`{"candidates":[{"index":1000000000,"content":{"parts":[{"text":"x"}]}}]}`:                       wire.CodeStreamGarbled,
		`{"error":{"code":503,"status":"UNAVAILABLE","message":"secret"}}`:                               wire.CodeProviderError,
		`{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"secret"}}`:                        wire.CodeRateLimited,
		`{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"secret"}}`:                          wire.CodeProviderRefused,
	} {
		_, f := gemini{}.Stream(Request{}).Event("", []byte(body))
		if f == nil || f.Err.Code != want || strings.Contains(f.Err.Message, "secret") {
			t.Errorf("streamed %s: %+v", body, f)
		}
		_, a, f := gemini{}.Decode(Request{Endpoint: wire.ChatCompletions}, []byte(body))
		if f == nil || f.Err.Code != want {
			t.Errorf("whole %s: %+v", body, f)
		}
		if want == wire.CodeContentFilter && a.Usage.Input != 4 {
			t.Errorf("a refused prompt's usage: %+v", a)
		}
	}
	for _, body := range []string{`{"candidates":[]}`, `{"candidates":[{"content":{"parts":[{"text":"x"}]}}]}`, `{"usageMetadata":{}}`} {
		if _, _, f := (gemini{}).Decode(Request{Endpoint: wire.ChatCompletions}, []byte(body)); f == nil || f.Err.Code != wire.CodeProviderError {
			t.Errorf("%s: %+v", body, f)
		}
	}
}

// TestGeminiCutUsage: of a stream that is cut, the input is the provider's
// count.
func TestGeminiCutUsage(t *testing.T) {
	events := eventsOf(t, read(t, "testdata/gemini/text.sse"))
	p := playEvents(gemini{}, Request{Endpoint: wire.ChatCompletions, Stream: true}, events[:3], true)
	u, source := UsageOf(p.s.Sum(), 4000)
	if want := (wire.Usage{Input: 7, CacheRead: 4, Output: 4, Reasoning: 20}); p.last || u != want || source != wire.UsageEstimated {
		t.Errorf("last %v, %+v from %s, want %+v", p.last, u, source, want)
	}
}

func TestGeminiClassify(t *testing.T) {
	body := func(code int, status, details string) string {
		b, _ := json.Marshal(map[string]any{"error": map[string]any{"code": code, "message": "quota rate limit secret", "status": status,
			"details": json.RawMessage("[" + details + "]")}})
		return string(b)
	}
	retry := `{"@type":"type.googleapis.com/google.rpc.QuotaFailure"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"17.5s"}`
	info := func(reason string) string {
		return `{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"` + reason + `","domain":"googleapis.com"}`
	}
	for _, c := range []struct {
		status int
		body   string
		h      http.Header
		code   wire.Code
		v      Verdict
		wait   time.Duration
	}{
		{400, body(400, "INVALID_ARGUMENT", ""), nil, wire.CodeProviderRefused, RetryElsewhere, 0},
		{400, body(400, "INVALID_ARGUMENT", info("API_KEY_INVALID")), nil, wire.CodeProviderAuth, RetryElsewhere, 0},
		{400, "[" + body(400, "INVALID_ARGUMENT", info("API_KEY_EXPIRED")) + "]", nil, wire.CodeProviderAuth, RetryElsewhere, 0},
		{400, body(400, "FAILED_PRECONDITION", ""), nil, wire.CodeProviderAuth, RetryElsewhere, 0},
		{403, body(403, "PERMISSION_DENIED", info("SERVICE_DISABLED")), nil, wire.CodeProviderAuth, RetryElsewhere, 0},
		{404, body(404, "NOT_FOUND", ""), nil, wire.CodeModelNotFound, RetryElsewhere, 0},
		{429, body(429, "RESOURCE_EXHAUSTED", retry), nil, wire.CodeRateLimited, RetryLater, 17500 * time.Millisecond},
		{429, body(429, "RESOURCE_EXHAUSTED", retry), headers("Retry-After", "3"), wire.CodeRateLimited, RetryLater, 3 * time.Second},
		{429, body(429, "RESOURCE_EXHAUSTED", `{"@type":"x"},5,{"@type":"/google.rpc.RetryInfo","retryDelay":"soon"}`), nil, wire.CodeRateLimited, RetryLater, 0},
		{500, body(500, "INTERNAL", retry), nil, wire.CodeProviderError, RetryElsewhere, 0},
		{503, body(503, "UNAVAILABLE", ""), nil, wire.CodeProviderError, RetryElsewhere, 0},
		{504, body(504, "DEADLINE_EXCEEDED", ""), nil, wire.CodeTimeout, RetryElsewhere, 0},
	} {
		r := Refusal{Status: c.status, Body: []byte(c.body)}
		if c.h != nil {
			r.Header = c.h
		}
		f := gemini{}.Classify(r)
		if f.Err.Code != c.code || f.Verdict != c.v || f.RetryAfter != c.wait || strings.Contains(f.Err.Message, "secret") {
			t.Errorf("%d %s: %+v %s %s", c.status, c.body, f.Err, f.Verdict, f.RetryAfter)
		}
	}
}

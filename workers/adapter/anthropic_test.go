package adapter

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestAnthropicPassesThrough(t *testing.T) {
	for _, c := range []struct {
		in, want string
		stream   bool
	}{
		{`{"model":"chat","max_tokens":5,"messages":[1],"x":"\/"}`, `{"model":"up","max_tokens":5,"messages":[1],"x":"\/"}`, false},
		{`{"stream":true,"max_tokens":5,"model":"chat"}`, `{"model":"up","max_tokens":5}`, false},
		{`{"stream":false,"max_tokens":5}`, `{"model":"up","max_tokens":5,"stream":true}`, true},
	} {
		enc, f := anthropic{}.Encode(Request{Endpoint: wire.Messages, Body: []byte(c.in), Model: "up", Stream: c.stream})
		if f != nil || string(enc.Body) != c.want || enc.Path != "/messages" || enc.Stream != c.stream {
			t.Errorf("%s: %+v, %s", c.in, f, enc.Body)
		}
		if !reflect.DeepEqual(enc.Header[0], Field{"Anthropic-Version", "2023-06-01"}) {
			t.Errorf("header %+v", enc.Header)
		}
	}
	if _, f := (anthropic{}).Encode(Request{Endpoint: wire.Messages, Body: []byte(`[1]`)}); f == nil || f.Err.Code != wire.CodeInvalidJSON {
		t.Errorf("an array: %+v", f)
	}
}

// TestAnthropicNativeStream: the events pass unchanged, and what is assembled
// is what the provider gives when it does not stream.
func TestAnthropicNativeStream(t *testing.T) {
	files, _ := filepath.Glob("testdata/anthropic/*.sse")
	for _, file := range files {
		r := Request{Endpoint: wire.Messages, Model: "up", Stream: true}
		events := eventsOf(t, read(t, file))
		p := playEvents(anthropic{}, r, events, true)
		if p.f != nil || !p.last || len(p.chunks) != len(events) {
			t.Fatalf("%s: last %v, %d of %d events, %+v", file, p.last, len(p.chunks), len(events), p.f)
		}
		for i, ev := range events {
			if string(p.chunks[i]) != string(ev.Data) {
				t.Errorf("%s: event %d changed", file, i)
			}
		}
		native := read(t, strings.TrimSuffix(file, ".sse")+".native.json")
		if !sameJSON(t, string(p.s.Answer()), string(native)) {
			t.Errorf("%s: assembled\n%s\nwant\n%s", file, p.s.Answer(), native)
		}
		body, a, f := anthropic{}.Decode(r, native)
		if sum := p.s.Sum(); f != nil || string(body) != string(native) || a.Usage != sum.Usage || !sum.Reported {
			t.Errorf("%s: %+v, usage %+v, streamed %+v", file, f, a.Usage, sum)
		}
		for n := range len(events) - 1 {
			if p := playEvents(anthropic{}, r, events[:n], true); p.last || p.f != nil {
				t.Errorf("%s: the first %d events: last %v, %+v", file, n, p.last, p.f)
			}
		}
	}
}

func TestAnthropicCitations(t *testing.T) {
	s := anthropic{}.Stream(Request{Endpoint: wire.Messages})
	for _, ev := range []string{
		`{"type":"message_start","message":{"id":"m","content":[],"usage":{"input_tokens":1,"output_tokens":1}}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"","citations":[]}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"cited_text":"x"}}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"cited_text":"y"}}}`,
		`{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}`,
		`{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"cut"}}`,
		`{"type":"something_new","x":1}`,
		`{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"input_tokens":null,"output_tokens":9}}`,
		`{"type":"message_stop"}`,
	} {
		if _, f := s.Event("", []byte(ev)); f != nil {
			t.Fatalf("%s: %+v", ev, f)
		}
	}
	want := `{"id":"m","content":[{"type":"text","text":"a","citations":[{"cited_text":"x"},{"cited_text":"y"}]},` +
		`{"type":"tool_use","id":"t","name":"f","input":"{\"cut"}],"usage":{"input_tokens":1,"output_tokens":9},"stop_reason":"max_tokens"}`
	if got := string(s.Answer()); !sameJSON(t, got, want) {
		t.Errorf("got %s", got)
	}
}

// TestAnthropicCutUsage: of a stream that is cut, the input is the provider's
// count and the output an estimate.
func TestAnthropicCutUsage(t *testing.T) {
	for _, e := range []wire.Endpoint{wire.ChatCompletions, wire.Messages} {
		events := eventsOf(t, read(t, "testdata/anthropic/text.sse"))
		p := playEvents(anthropic{}, Request{Endpoint: e, Stream: true}, events[:5], true)
		u, source := UsageOf(p.s.Sum(), 4000)
		if want := (wire.Usage{Input: 25, CacheRead: 2048, CacheWrite: 100, Output: 5}); u != want || source != wire.UsageEstimated {
			t.Errorf("%s: %+v from %s, want %+v", e, u, source, want)
		}
	}
}

func TestAnthropicStreamFailures(t *testing.T) {
	for _, c := range []struct {
		event string
		code  wire.Code
		v     Verdict
	}{
		{`{"type":"error","error":{"type":"overloaded_error","message":"secret"}}`, wire.CodeProviderError, RetryElsewhere},
		{`{"type":"error","error":{"type":"rate_limit_error","message":"secret"}}`, wire.CodeRateLimited, RetryLater},
		{`{"type":"error","error":{"type":"invalid_request_error","message":"secret"}}`, wire.CodeProviderRefused, Final},
		{`{"type":"message_stop"}`, wire.CodeStreamTruncated, RetryElsewhere},
		{`[]`, wire.CodeStreamGarbled, RetryElsewhere},
		{`null`, wire.CodeStreamGarbled, RetryElsewhere},
		{"{\"type\":\"\xff\"}", wire.CodeStreamGarbled, RetryElsewhere},
	} {
		for _, e := range []wire.Endpoint{wire.ChatCompletions, wire.Messages} {
			_, f := anthropic{}.Stream(Request{Endpoint: e}).Event("", []byte(c.event))
			if f == nil || f.Err.Code != c.code || f.Verdict != c.v || strings.Contains(f.Err.Message, "secret") {
				t.Errorf("%s %s: %+v", e, c.event, f)
			}
		}
	}
	if _, f := (anthropic{}).Stream(Request{}).Event("error", []byte(`{"error":{"type":"api_error"}}`)); f == nil || f.Err.Code != wire.CodeProviderError {
		t.Errorf("an error by the event's name: %+v", f)
	}
}

func TestAnthropicDecodeFailures(t *testing.T) {
	for body, want := range map[string]wire.Code{
		`{"type":"error","error":{"type":"overloaded_error","message":"x"}}`: wire.CodeProviderError,
		`{"type":"error","error":{"type":"not_found_error"}}`:                wire.CodeModelNotFound,
		`{"choices":[]}`:                      wire.CodeProviderError,
		`{"type":"message","content":"text"}`: wire.CodeProviderError,
		`[]`:                                  wire.CodeProviderError, ``: wire.CodeProviderError, `<html>`: wire.CodeProviderError,
	} {
		for _, e := range []wire.Endpoint{wire.ChatCompletions, wire.Messages} {
			if _, _, f := (anthropic{}).Decode(Request{Endpoint: e}, []byte(body)); f == nil || f.Err.Code != want {
				t.Errorf("%s: %+v, want %s", body, f, want)
			}
		}
	}
	_, a, f := anthropic{}.Decode(Request{Endpoint: wire.ChatCompletions}, []byte(`{"content":[{"type":"text","text":"four"}]}`))
	if f != nil || a.Reported || a.Text != 4 {
		t.Errorf("without usage: %+v, %+v", a, f)
	}
}

func TestAnthropicClassify(t *testing.T) {
	now := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	body := func(kind string) string {
		return `{"type":"error","error":{"type":"` + kind + `","message":"rate limit secret words"},"request_id":"req_1"}`
	}
	for _, c := range []struct {
		status int
		body   string
		h      http.Header
		code   wire.Code
		v      Verdict
		wait   time.Duration
	}{
		{400, body("invalid_request_error"), nil, wire.CodeProviderRefused, RetryElsewhere, 0},
		{400, body("billing_error"), nil, wire.CodeInsufficientQuota, RetryElsewhere, 0},
		{401, body("authentication_error"), nil, wire.CodeProviderAuth, RetryElsewhere, 0},
		{403, body("permission_error"), nil, wire.CodeProviderAuth, RetryElsewhere, 0},
		{404, body("not_found_error"), nil, wire.CodeModelNotFound, RetryElsewhere, 0},
		{413, body("request_too_large"), nil, wire.CodeTooLarge, RetryElsewhere, 0},
		{429, body("rate_limit_error"), headers("Retry-After", "12"), wire.CodeRateLimited, RetryLater, 12 * time.Second},
		{429, body("rate_limit_error"), headers("anthropic-ratelimit-input-tokens-remaining", "0",
			"anthropic-ratelimit-input-tokens-reset", "2026-08-01T12:00:20Z",
			"anthropic-ratelimit-requests-remaining", "9", "anthropic-ratelimit-requests-reset", "2026-08-01T12:00:50Z"),
			wire.CodeRateLimited, RetryLater, 20 * time.Second},
		{429, body("rate_limit_error"), headers("anthropic-ratelimit-requests-remaining", "0", "anthropic-ratelimit-requests-reset", "soon"),
			wire.CodeRateLimited, RetryLater, 0},
		{500, body("api_error"), nil, wire.CodeProviderError, RetryElsewhere, 0},
		{504, body("timeout_error"), nil, wire.CodeTimeout, RetryElsewhere, 0},
		{529, body("overloaded_error"), nil, wire.CodeProviderError, RetryElsewhere, 0},
	} {
		r := Refusal{Status: c.status, Body: []byte(c.body), Now: now}
		if c.h != nil {
			r.Header = c.h
		}
		f := anthropic{}.Classify(r)
		if f.Err.Code != c.code || f.Verdict != c.v || f.RetryAfter != c.wait || strings.Contains(f.Err.Message, "secret") {
			t.Errorf("%d %s: %+v %s %s %s", c.status, c.body, f.Err, f.Verdict, f.RetryAfter, f.Err.Message)
		}
	}
}

func TestAnthropicChoice(t *testing.T) {
	for in, want := range map[string]string{
		`"tool_choice":"auto"`:     `{"type":"auto"}`,
		`"tool_choice":"none"`:     `{"type":"none"}`,
		`"tool_choice":"required"`: `{"type":"any"}`,
		`"tool_choice":{"type":"function","function":{"name":"f"}}`: `{"name":"f","type":"tool"}`,
		`"parallel_tool_calls":false`:                               `{"disable_parallel_tool_use":true,"type":"auto"}`,
		`"parallel_tool_calls":true`:                                `null`,
		`"tool_choice":null`:                                        `null`,
	} {
		body := `{"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f"}}],` + in + `}`
		enc, f := anthropic{}.Encode(Request{Endpoint: wire.ChatCompletions, Body: []byte(body), Model: "m"})
		if f != nil {
			t.Fatalf("%s: %+v", in, f)
		}
		var sent map[string]json.RawMessage
		if err := json.Unmarshal(enc.Body, &sent); err != nil {
			t.Fatal(err)
		}
		got := string(sent["tool_choice"])
		if got == "" {
			got = "null"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestDefaultMaxTokens(t *testing.T) {
	for model, want := range map[string]int64{"claude-3-haiku-20240307": 4096, "claude-3-5-haiku-latest": 8192, "claude-sonnet-4-5": 8192, "claude-2.1": 4096} {
		if got := defaultMaxTokens(model); got != want {
			t.Errorf("%s: %d, want %d", model, got, want)
		}
	}
}

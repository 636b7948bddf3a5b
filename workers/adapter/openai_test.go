package adapter

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestEncode(t *testing.T) {
	for _, c := range []struct {
		name   string
		e      wire.Endpoint
		stream bool
		in     string
		path   string
		want   string
	}{
		{"whole", wire.ChatCompletions, false, `{"model":"chat","messages":[{"role":"user","content":"h\u0069"}]}`,
			"/chat/completions", `{"model":"up","messages":[{"role":"user","content":"h\u0069"}]}`},
		{"stream fields go", wire.ChatCompletions, false, `{"stream":true,"messages":[1],"model":"chat","stream_options":{"include_usage":true}}`,
			"/chat/completions", `{"model":"up","messages":[1]}`},
		{"stream", wire.ChatCompletions, true, `{"model":"chat","messages":[1]}`,
			"/chat/completions", `{"model":"up","messages":[1],"stream":true,"stream_options":{"include_usage":true}}`},
		{"stream options stay", wire.Completions, true, `{"model":"c","prompt":"x","stream":false,"stream_options":{"include_usage":false,"include_obfuscation":false}}`,
			"/completions", `{"model":"up","prompt":"x","stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}`},
		{"null options", wire.ChatCompletions, true, `{"model":"c","messages":[1],"stream_options":null}`,
			"/chat/completions", `{"model":"up","messages":[1],"stream":true,"stream_options":{"include_usage":true}}`},
		{"bytes stay", wire.ChatCompletions, false, "{ \"temperature\" : 1.0e0 ,\n\"model\":\"c\", \"seed\":12345678901234567890,\"x\":\"\\/\"}",
			"/chat/completions", "{\"model\":\"up\",\"temperature\" : 1.0e0,\"seed\":12345678901234567890,\"x\":\"\\/\"}"},
		{"every model field goes", wire.ChatCompletions, false, `{"model":"a","mod\u0065l":"b","messages":[1]}`,
			"/chat/completions", `{"model":"up","messages":[1]}`},
		{"nested fields stay", wire.ChatCompletions, false, `{"model":"a","metadata":{"model":"x","stream":true}}`,
			"/chat/completions", `{"model":"up","metadata":{"model":"x","stream":true}}`},
		{"responses", wire.Responses, true, `{"model":"a","input":"x","background":true,"store":false}`,
			"/responses", `{"model":"up","input":"x","store":false,"stream":true}`},
		{"responses options", wire.Responses, true, `{"model":"a","input":"x","stream_options":{"include_obfuscation":false}}`,
			"/responses", `{"model":"up","input":"x","stream":true,"stream_options":{"include_obfuscation":false}}`},
		{"background elsewhere", wire.ChatCompletions, false, `{"model":"a","background":true}`,
			"/chat/completions", `{"model":"up","background":true}`},
		{"embeddings do not stream", wire.Embeddings, true, `{"model":"a","input":["x"]}`,
			"/embeddings", `{"model":"up","input":["x"]}`},
		{"nothing but the model", wire.Embeddings, false, `{}`, "/embeddings", `{"model":"up"}`},
	} {
		in := []byte(c.in)
		enc, f := openAI{}.Encode(Request{Endpoint: c.e, Body: in, Model: "up", Stream: c.stream})
		if f != nil {
			t.Errorf("%s: %v", c.name, f.Err)
			continue
		}
		if enc.Method != "POST" || enc.Path != c.path || string(enc.Body) != c.want {
			t.Errorf("%s: %s %s\n%s\nwant\n%s", c.name, enc.Method, enc.Path, enc.Body, c.want)
		}
		if string(in) != c.in {
			t.Errorf("%s: the job's body was written to", c.name)
		}
		if want := c.stream && c.e != wire.Embeddings; enc.Stream != want {
			t.Errorf("%s: stream %v", c.name, enc.Stream)
		}
	}
}

func TestEncodeModelName(t *testing.T) {
	for _, model := range []string{"gpt-4o", "a/b:c", `quo"te`, "back\\slash", "naïve", "tab\t", ""} {
		enc, f := openAI{}.Encode(Request{Endpoint: wire.Embeddings, Body: []byte(`{}`), Model: model})
		var got struct{ Model string }
		if f != nil || json.Unmarshal(enc.Body, &got) != nil || got.Model != model {
			t.Errorf("%q became %q (%s)", model, got.Model, enc.Body)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	_, f := openAI{}.Encode(Request{Endpoint: wire.Messages, Body: []byte(`{}`)})
	if f == nil || f.Err.Code != wire.CodeUnsupported || f.Verdict != RetryElsewhere || !f.Err.Code.Misfit() {
		t.Errorf("messages: %+v", f)
	}
	for _, body := range []string{"", "[]", "null", `{"a":1`, `{"a" 1}`, `{"a":1}}`} {
		if _, f := (openAI{}).Encode(Request{Endpoint: wire.ChatCompletions, Body: []byte(body)}); f == nil || f.Err.Code != wire.CodeInvalidJSON || f.Verdict != Final {
			t.Errorf("%q: %+v", body, f)
		}
	}
}

// FuzzI1Encode compares with a slow rewrite by encoding/json.
func FuzzI1Encode(f *testing.F) {
	f.Add([]byte(`{"model":"chat","messages":[{"role":"user","content":"hi"}],"stream":true}`), true)
	f.Add([]byte(`{"stream_options":{"include_usage":false,"a":[]},"model":1,"\u0000":{}}`), false)
	f.Fuzz(func(t *testing.T, body []byte, stream bool) {
		enc, fail := openAI{}.Encode(Request{Endpoint: wire.ChatCompletions, Body: body, Model: "up", Stream: stream})
		var in map[string]json.RawMessage
		if !utf8.Valid(body) || json.Unmarshal(body, &in) != nil || in == nil {
			return // what is no object may pass: the provider refuses it
		}
		if fail != nil {
			t.Fatalf("%q: %v", body, fail.Err)
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal(enc.Body, &got); err != nil {
			t.Fatalf("%q became %q: %v", body, enc.Body, err)
		}
		delete(in, "stream")
		delete(in, "stream_options")
		in["model"] = json.RawMessage(`"up"`)
		if stream != (string(got["stream"]) == "true") || stream != (got["stream_options"] != nil) {
			t.Fatalf("%q: stream %s, options %s", body, got["stream"], got["stream_options"])
		}
		delete(got, "stream")
		delete(got, "stream_options")
		if !reflect.DeepEqual(in, got) {
			t.Fatalf("%q: %q, want %q", body, got, in)
		}
	})
}

// TestI2UsageSplit: what providers report, and the buckets it becomes.
func TestI2UsageSplit(t *testing.T) {
	for _, c := range []struct {
		name, usage string
		want        wire.Usage
	}{
		{"plain", `{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}`, wire.Usage{Input: 10, Output: 5}},
		{"cached", `{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":8}}`, wire.Usage{Input: 2, CacheRead: 8, Output: 5}},
		{"cache written", `{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":3,"cache_write_tokens":4}}`, wire.Usage{Input: 3, CacheRead: 3, CacheWrite: 4, Output: 5}},
		{"reasoning", `{"prompt_tokens":10,"completion_tokens":50,"total_tokens":60,"completion_tokens_details":{"reasoning_tokens":30}}`, wire.Usage{Input: 10, Output: 20, Reasoning: 30}},
		{"reasoning beside", `{"prompt_tokens":10,"completion_tokens":5,"total_tokens":45,"completion_tokens_details":{"reasoning_tokens":30}}`, wire.Usage{Input: 10, Output: 5, Reasoning: 30}},
		{"hidden thinking", `{"prompt_tokens":10,"completion_tokens":5,"total_tokens":45}`, wire.Usage{Input: 10, Output: 5, Reasoning: 30}},
		{"DeepSeek", `{"prompt_tokens":10,"completion_tokens":5,"prompt_cache_hit_tokens":6,"prompt_cache_miss_tokens":4}`, wire.Usage{Input: 4, CacheRead: 6, Output: 5}},
		{"responses", `{"input_tokens":10,"input_tokens_details":{"cached_tokens":1},"output_tokens":9,"output_tokens_details":{"reasoning_tokens":4}}`, wire.Usage{Input: 9, CacheRead: 1, Output: 5, Reasoning: 4}},
		{"more cached than there is", `{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":99,"cache_write_tokens":99}}`, wire.Usage{CacheRead: 10, Output: 5}},
		{"more reasoning than there is", `{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"completion_tokens_details":{"reasoning_tokens":99}}`, wire.Usage{Input: 10, Reasoning: 5}},
		{"null details", `{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":null,"completion_tokens_details":null}`, wire.Usage{Input: 10, Output: 5}},
		{"negative", `{"prompt_tokens":-10,"completion_tokens":5}`, wire.Usage{Output: 5}},
		{"fraction", `{"prompt_tokens":10.0,"completion_tokens":5}`, wire.Usage{Input: 10, Output: 5}},
		{"embeddings", `{"prompt_tokens":10,"total_tokens":10}`, wire.Usage{Input: 10}},
	} {
		var tl tally
		tl.add([]byte(c.usage))
		got := tl.usage()
		if got != c.want || !tl.reported {
			t.Errorf("%s: %+v (reported %v), want %+v", c.name, got, tl.reported, c.want)
		}
		if got.Total() != max(tl.input+tl.output, tl.total) {
			t.Errorf("%s: the buckets sum to %d", c.name, got.Total())
		}
	}
	for _, usage := range []string{"", "null", `"many"`, `{}`, `{"total_tokens":5}`, `[]`} {
		var tl tally
		if tl.add([]byte(usage)); tl.reported {
			t.Errorf("%q counts as reported", usage)
		}
	}
}

func TestDecode(t *testing.T) {
	for _, c := range []struct {
		name string
		e    wire.Endpoint
		body string
		want Answer
		code wire.Code // "": an answer
	}{
		{"chat", wire.ChatCompletions, `{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":3,"completion_tokens":2}}`,
			Answer{Usage: wire.Usage{Input: 3, Output: 2}, Reported: true}, ""},
		{"without usage", wire.ChatCompletions, `{"choices":[{"message":{"role":"assistant","content":"hello","tool_calls":[{"id":"x","function":{"name":"f","arguments":"{}"}}]},"logprobs":{"content":[{"token":"hello"}]}}]}`,
			Answer{Text: 8}, ""},
		{"completion", wire.Completions, `{"choices":[{"text":"hello"}],"usage":null}`, Answer{Text: 5}, ""},
		{"embeddings", wire.Embeddings, `{"data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":3,"total_tokens":3}}`,
			Answer{Usage: wire.Usage{Input: 3}, Reported: true}, ""},
		{"embeddings without usage", wire.Embeddings, `{"data":[{"embedding":"AAAA"}]}`, Answer{}, ""},
		{"response", wire.Responses, `{"status":"completed","error":null,"output":[{"content":[{"type":"output_text","text":"abcd"}]}]}`, Answer{Text: 4}, ""},
		{"incomplete response", wire.Responses, `{"status":"incomplete","output":[]}`, Answer{}, ""},
		{"failed response", wire.Responses, `{"status":"failed","output":[],"error":{"code":"server_error","message":"x"}}`, Answer{}, wire.CodeProviderError},
		{"queued response", wire.Responses, `{"status":"queued","output":[]}`, Answer{}, wire.CodeProviderError},
		{"error with 200", wire.ChatCompletions, `{"error":{"code":429,"message":"x"}}`, Answer{}, wire.CodeRateLimited},
		{"error with 200 and no code", wire.ChatCompletions, `{"error":{"message":"x"}}`, Answer{}, wire.CodeProviderError},
		{"HTML", wire.ChatCompletions, `<html>`, Answer{}, wire.CodeProviderError},
		{"nothing", wire.ChatCompletions, ``, Answer{}, wire.CodeProviderError},
		{"cut", wire.ChatCompletions, `{"choices":[{"mess`, Answer{}, wire.CodeProviderError},
		{"an array", wire.ChatCompletions, `[{"choices":[]}]`, Answer{}, wire.CodeProviderError},
		{"other API", wire.ChatCompletions, `{"candidates":[]}`, Answer{}, wire.CodeProviderError},
		{"not UTF-8", wire.ChatCompletions, "{\"choices\":[\"\xff\"]}", Answer{}, wire.CodeProviderError},
	} {
		got, f := readAnswer(c.e, []byte(c.body))
		if got != c.want || (f != nil) != (c.code != "") || f != nil && f.Err.Code != c.code {
			t.Errorf("%s: %+v, %+v; want %+v, %s", c.name, got, f, c.want, c.code)
		}
	}
}

// headers is a Refusal's header.
func headers(kv ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(kv); i += 2 {
		h.Set(kv[i], kv[i+1])
	}
	return h
}

// TestI5Classify: status and machine code decide, words never.
func TestI5Classify(t *testing.T) {
	body := func(code, kind string) string {
		return fmt.Sprintf(`{"error":{"message":"rate limit context_length insufficient_quota sk-secret","type":%q,"param":"messages[0].content","code":%q}}`, kind, code)
	}
	for _, c := range []struct {
		status int
		body   string
		code   wire.Code
		v      Verdict
	}{
		{400, body("", "invalid_request_error"), wire.CodeProviderRefused, RetryElsewhere},
		{400, body("context_length_exceeded", "invalid_request_error"), wire.CodeContextLength, RetryElsewhere},
		{400, body("missing_required_parameter", "invalid_request_error"), wire.CodeProviderRefused, Final},
		{400, body("invalid_image_format", "invalid_request_error"), wire.CodeProviderRefused, Final},
		{400, `{"object":"error","message":"x","type":"BadRequestError","param":null,"code":400}`, wire.CodeProviderRefused, RetryElsewhere},
		{400, body("unsupported_parameter", "invalid_request_error"), wire.CodeUnsupportedParam, RetryElsewhere},
		{400, body("integer_above_max_value", "invalid_request_error"), wire.CodeUnsupportedParam, RetryElsewhere},
		{400, body("model_decommissioned", "invalid_request_error"), wire.CodeModelNotFound, RetryElsewhere},
		{400, body("content_filter", ""), wire.CodeContentFilter, Final},
		{400, `{"error":{"code":"model_not_found"}}`, wire.CodeModelNotFound, RetryElsewhere},
		{400, "", wire.CodeProviderRefused, RetryElsewhere},
		{400, "<html>429 rate limit</html>", wire.CodeProviderRefused, RetryElsewhere},
		{401, body("invalid_api_key", ""), wire.CodeProviderAuth, RetryElsewhere},
		{402, "", wire.CodeInsufficientQuota, RetryElsewhere},
		{403, "", wire.CodeProviderAuth, RetryElsewhere},
		{404, body("model_not_found", ""), wire.CodeModelNotFound, RetryElsewhere},
		{404, `{"detail":"Not Found"}`, wire.CodeModelNotFound, RetryElsewhere},
		{405, "", wire.CodeUnsupported, RetryElsewhere},
		{408, "", wire.CodeTimeout, RetryElsewhere},
		{409, "", wire.CodeProviderError, RetryElsewhere},
		{413, body("rate_limit_exceeded", "tokens"), wire.CodeRateLimited, RetryLater},
		{413, "", wire.CodeTooLarge, RetryElsewhere},
		{422, body("", ""), wire.CodeProviderRefused, RetryElsewhere},
		{425, "", wire.CodeProviderError, RetryElsewhere},
		{429, body("rate_limit_exceeded", "requests"), wire.CodeRateLimited, RetryLater},
		{429, body("insufficient_quota", "insufficient_quota"), wire.CodeInsufficientQuota, RetryElsewhere},
		{429, "", wire.CodeRateLimited, RetryLater},
		{498, "", wire.CodeProviderError, RetryElsewhere},
		{500, body("context_length_exceeded", ""), wire.CodeProviderError, RetryElsewhere},
		{501, "", wire.CodeUnsupported, RetryElsewhere},
		{502, "<html>", wire.CodeProviderError, RetryElsewhere},
		{503, "", wire.CodeProviderError, RetryElsewhere},
		{504, "", wire.CodeTimeout, RetryElsewhere},
		{529, `{"type":"error","error":{"type":"overloaded_error","message":"x"}}`, wire.CodeProviderError, RetryElsewhere},
		{302, "", wire.CodeProviderError, RetryElsewhere},
		{400, `[{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"x"}}]`, wire.CodeProviderRefused, RetryElsewhere},
		{429, `[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}]`, wire.CodeRateLimited, RetryLater},
	} {
		f := openAI{}.Classify(Refusal{Status: c.status, Header: headers(), Body: []byte(c.body)})
		if f.Err.Code != c.code || f.Verdict != c.v {
			t.Errorf("%d %s: %s, %s; want %s, %s", c.status, c.body, f.Err.Code, f.Verdict, c.code, c.v)
		}
		if strings.Contains(f.Err.Message, "secret") || !strings.Contains(f.Err.Message, fmt.Sprint(c.status)) {
			t.Errorf("%d: message %q (I4)", c.status, f.Err.Message)
		}
	}
}

func TestI4OnlyMachineWords(t *testing.T) {
	f := openAI{}.Classify(Refusal{Status: 400, Body: []byte(
		`{"error":{"message":"my prompt","type":"invalid_request_error","code":"unsupported_value","param":"temperature"}}`)})
	if want := "the provider answered 400 (invalid_request_error, unsupported_value): leave that out, or route the request to a model that takes it"; f.Err.Message != want || f.Err.Param != "temperature" || f.Detail != "my prompt" {
		t.Errorf("%+v %q", f.Err, f.Detail)
	}
	f = openAI{}.Classify(Refusal{Status: 400, Body: []byte(
		`{"error":{"type":"you said: my prompt","code":"sk-1234","param":"the words of the prompt"}}`)})
	if want := "the provider answered 400: correct the request"; f.Err.Message != want || f.Err.Param != "" {
		t.Errorf("%+v", f.Err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		h    http.Header
		want time.Duration
	}{
		{headers(), 0},
		{headers("Retry-After", "7"), 7 * time.Second},
		{headers("Retry-After", "0.5"), 500 * time.Millisecond},
		{headers("Retry-After", "7", "retry-after-ms", "250"), 250 * time.Millisecond},
		{headers("Retry-After", "Sat, 01 Aug 2026 12:00:30 GMT"), 30 * time.Second},
		{headers("Retry-After", "Sat, 01 Aug 2026 11:00:00 GMT"), 0},
		{headers("Retry-After", "soon"), 0},
		{headers("Retry-After", "-4"), 0},
		{headers("Retry-After", "NaN"), 0},
		{headers("Retry-After", "99999999999"), maxRetryAfter},
		{headers("x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "1m30s"), 90 * time.Second},
		{headers("x-ratelimit-remaining-requests", "5", "x-ratelimit-reset-requests", "1m30s"), 0},
		{headers("x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "120ms",
			"x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "3"), 3 * time.Second},
		{headers("x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "later"), 0},
		{nil, 0},
	} {
		f := openAI{}.Classify(Refusal{Status: 429, Header: c.h, Now: now})
		if f.RetryAfter != c.want {
			t.Errorf("%v: %s, want %s", c.h, f.RetryAfter, c.want)
		}
	}
	if f := (openAI{}).Classify(Refusal{Status: 503, Header: headers("Retry-After", "3")}); f.Verdict != RetryLater || f.RetryAfter != 3*time.Second {
		t.Errorf("503 with Retry-After: %+v", f)
	}
	if f := (openAI{}).Classify(Refusal{Status: 400, Header: headers("Retry-After", "3")}); f.RetryAfter != 0 {
		t.Errorf("400 with Retry-After: %+v", f)
	}
}

func BenchmarkEncode1KiB(b *testing.B) {
	body := []byte(`{"model":"chat","max_tokens":64,"messages":[{"role":"user","content":"` + strings.Repeat("lorem ipsum ", 80) + `"}]}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, f := (openAI{}).Encode(Request{Endpoint: wire.ChatCompletions, Body: body, Model: "gpt-4o-mini"}); f != nil {
			b.Fatal(f.Err)
		}
	}
}

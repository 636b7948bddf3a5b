package adapter

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/sse"
)

func TestBedrockKeys(t *testing.T) {
	us, _ := url.Parse("https://bedrock-runtime.us-west-2.amazonaws.com")
	for key, want := range map[string]awsKey{
		"AK:sec/ret+":             {"AK", "sec/ret+", "", "us-west-2"},
		"AK:secret:to/ken==":      {"AK", "secret", "to/ken==", "us-west-2"},
		"AK:secret@eu-central-1":  {"AK", "secret", "", "eu-central-1"},
		"AK:secret:tok@sa-east-1": {"AK", "secret", "tok", "sa-east-1"},
	} {
		if got := readAWSKey(key, us); got != want {
			t.Errorf("%s: %+v, want %+v", key, got, want)
		}
		if f := (bedrock{}).Auth(key); f != (Field{}) {
			t.Errorf("%s: a header %+v", key, f)
		}
	}
	for host, want := range map[string]string{
		"bedrock-runtime.us-east-1.amazonaws.com":                 "us-east-1",
		"bedrock-runtime-fips.us-gov-west-1.amazonaws.com":        "us-gov-west-1",
		"bedrock-runtime.cn-north-1.amazonaws.com.cn":             "cn-north-1",
		"vpce-0a-1b.bedrock-runtime.eu-west-1.vpce.amazonaws.com": "eu-west-1",
		"bedrock-runtime": "", "127.0.0.1": "", "": "", "example.com": "",
	} {
		if got := awsRegion(host); got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
	if f := (bedrock{}).Auth("ABSK"); f != (Field{"Authorization", "Bearer ABSK"}) {
		t.Errorf("an API key: %+v", f)
	}
	if f := (bedrock{}).Sign(Signing{Key: "ABSK"}); f != nil {
		t.Errorf("an API key signs: %+v", f)
	}
	fields := bedrock{}.Sign(Signing{Key: "AK:secret:tok", Method: "POST", URL: us, Header: wholeHeader, Body: []byte("{}"), Now: time.Unix(1_700_000_000, 0)})
	if len(fields) != 3 || fields[1] != (Field{"X-Amz-Security-Token", "tok"}) || !strings.Contains(fields[2].Value, "/us-west-2/bedrock/aws4_request") ||
		strings.Contains(fields[2].Value, "secret") {
		t.Errorf("signed %+v", fields)
	}
}

func TestBedrockPaths(t *testing.T) {
	for model, want := range map[string]string{
		"amazon.nova-pro-v1:0":                               "/model/amazon.nova-pro-v1%3A0/converse",
		"arn:aws:bedrock:us-east-1:1:inference-profile/us.x": "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.x/converse",
	} {
		enc, f := bedrock{}.Encode(Request{Endpoint: wire.ChatCompletions, Body: []byte(requests[wire.ChatCompletions]), Model: model})
		if f != nil || enc.Path != want {
			t.Errorf("%s: %s, %+v", model, enc.Path, f)
		}
	}
}

// TestBedrockEncode looks at single fields of what is sent.
func TestBedrockEncode(t *testing.T) {
	tools := `"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]`
	user := func(part string) string { return `"messages":[{"role":"user","content":[` + part + `]}]` }
	for _, c := range []struct{ model, fields, want, not string }{
		{"m", userSaysX + `,` + tools + `,"tool_choice":"auto"`, `"toolChoice":{"auto":{}}`, ""},
		{"m", userSaysX + `,` + tools + `,"tool_choice":"required"`, `"toolChoice":{"any":{}}`, ""},
		{"m", userSaysX + `,` + tools, `"inputSchema":{"json":{"type":"object"}}`, "toolChoice"},
		{"m", userSaysX + `,` + tools + `,"tool_choice":"none"`, `"messages"`, "toolConfig"},
		{"m", userSaysX + `,"thinking":{"type":"enabled","budget_tokens":1024}`, `"additionalModelRequestFields":{"thinking":{"type":"enabled","budget_tokens":1024}}`, ""},
		{"openai.gpt-oss-20b-1:0", userSaysX + `,"reasoning_effort":"low"`, `"additionalModelRequestFields":{"reasoning_effort":"low"}`, ""},
		{"amazon.nova-pro-v1:0", userSaysX + `,"reasoning_effort":"low"`, `"messages"`, "additionalModelRequestFields"},
		{"m", userSaysX + `,"temperature":0`, `"inferenceConfig":{"temperature":0}`, ""},
		{"m", userSaysX + `,"temperature":2`, `"inferenceConfig":{"temperature":1}`, ""},
		{"m", userSaysX, `{"messages":[{"content":[{"text":"x"}],"role":"user"}]}`, ""},
		{"m", user(`{"type":"image_url","image_url":{"url":"data:image/JPG;base64,/9g="}}`), `{"image":{"format":"jpeg","source":{"bytes":"/9g="}}}`, ""},
		{"m", user(`{"type":"file","file":{"filename":"../Q3 (final).csv","file_data":"data:text/csv;charset=utf-8;base64,YQ=="}}`), `"name":"Q3 (final) csv"`, ""},
		{"m", user(`{"type":"file","file":{"filename":"é","file_data":"data:text/csv;base64,YQ=="}}`), `{"document":{"format":"csv","name":"document","source":{"bytes":"YQ=="}}}`, ""},
		{"m", `"messages":[{"role":"user","content":"x"},{"role":"assistant","thinking_blocks":[{"type":"redacted_thinking","data":"Rm8="}],"tool_calls":[{"id":"1","function":{"name":"f"}}]},{"role":"tool","tool_call_id":"1","content":""}]`,
			`{"content":[{"reasoningContent":{"redactedContent":"Rm8="}},{"toolUse":{"input":{},"name":"f","toolUseId":"1"}}],"role":"assistant"},{"content":[{"toolResult":{"content":[{"text":" "}],"toolUseId":"1"}}],"role":"user"}`, ""},
	} {
		enc, f := bedrock{}.Encode(Request{Endpoint: wire.ChatCompletions, Body: []byte("{" + c.fields + "}"), Model: c.model})
		if f != nil || !strings.Contains(string(enc.Body), c.want) || c.not != "" && strings.Contains(string(enc.Body), c.not) {
			t.Errorf("%s: %+v\n%s\nwant %s", c.fields, f, enc.Body, c.want)
		}
	}
	body := `{` + tools + `,"tool_choice":"none","messages":[{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f"}}]},{"role":"tool","tool_call_id":"1","content":"r"}]}`
	if _, f := (bedrock{}).Encode(Request{Endpoint: wire.ChatCompletions, Body: []byte(body), Model: "m"}); f == nil || f.Err.Code != wire.CodeUnsupportedParam {
		t.Errorf("none after calls: %+v", f)
	}
}

func TestDocumentName(t *testing.T) {
	for in, want := range map[string]string{
		"a.pdf": "a pdf", "../Q3 (final)  [1].csv": "Q3 (final) [1] csv", "": "document", "漢字": "document", strings.Repeat("x", 300): strings.Repeat("x", 200),
	} {
		if got := documentName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestBedrockFailures(t *testing.T) {
	for _, c := range []struct {
		name, data string
		code       wire.Code
		v          Verdict
	}{
		{"!throttlingException", `{"message":"secret"}`, wire.CodeRateLimited, RetryLater},
		{"!modelStreamErrorException", `{"message":"secret","originalStatusCode":500}`, wire.CodeProviderError, RetryElsewhere},
		{"!internalServerException", `{"message":"secret"}`, wire.CodeProviderError, RetryElsewhere},
		{"!validationException", `{"message":"secret"}`, wire.CodeProviderRefused, Final},
		{"!", `{}`, wire.CodeProviderError, RetryElsewhere},
		{"messageStop", `{"stopReason":"malformed_tool_use"}`, wire.CodeProviderError, RetryElsewhere},
		{"messageStop", `{"stopReason":`, wire.CodeStreamGarbled, RetryElsewhere},
	} {
		_, f := bedrock{}.Stream(Request{}).Event(c.name, []byte(c.data))
		if f == nil || f.Err.Code != c.code || f.Verdict != c.v || strings.Contains(f.Err.Message, "secret") {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
	for _, body := range []string{`{"output":{}}`, `{"output":{"message":{"content":"x"}}}`, `{"message":"x"}`,
		`{"output":{"message":{"content":[]}},"stopReason":"malformed_model_output"}`} {
		if _, _, f := (bedrock{}).Decode(Request{}, []byte(body)); f == nil || f.Err.Code != wire.CodeProviderError {
			t.Errorf("%s: %+v", body, f)
		}
	}
	_, a, f := bedrock{}.Decode(Request{}, []byte(`{"output":{"message":{"content":[{"text":"four"}]}},"stopReason":"end_turn"}`))
	if f != nil || a.Reported || a.Text != 4 {
		t.Errorf("without usage: %+v, %+v", a, f)
	}
}

// TestBedrockEnds: after messageStop a clean end is an end, although the usage
// is missing; before it, it is none.
func TestBedrockEnds(t *testing.T) {
	events := []sse.Event{{Name: "messageStart", Data: []byte(`{"role":"assistant"}`)}, {Name: "contentBlockDelta", Data: []byte(`{"contentBlockIndex":0,"delta":{"text":"hello"}}`)}}
	if p := playEvents(bedrock{}, Request{}, events, true); p.last || p.f != nil {
		t.Errorf("%+v", p)
	}
	p := playEvents(bedrock{}, Request{ID: "j"}, append(events, sse.Event{Name: "messageStop", Data: []byte(`{"stopReason":"end_turn"}`)}), true)
	if !p.last || string(p.chunks[len(p.chunks)-1]) != doneMarker || p.s.Sum().Reported {
		t.Errorf("%+v", p)
	}
	if u, source := UsageOf(p.s.Sum(), 40); u != (wire.Usage{Input: 10, Output: 2}) || source != wire.UsageEstimated {
		t.Errorf("%+v from %s", u, source)
	}
}

// TestBedrockInterleaved: blocks that are open at once keep their pieces
// apart.
func TestBedrockInterleaved(t *testing.T) {
	s := bedrock{}.Stream(Request{ID: "j"})
	for _, ev := range [][2]string{
		{"messageStart", `{}`},
		{"contentBlockStart", `{"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"a","name":"f"}}}`},
		{"contentBlockStart", `{"contentBlockIndex":1,"start":{"toolUse":{"toolUseId":"b","name":"g"}}}`},
		{"contentBlockDelta", `{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{\"x\""}}}`},
		{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"toolUse":{"input":"{\"y\""}}}`},
		{"contentBlockDelta", `{"contentBlockIndex":1,"delta":{"toolUse":{"input":":1}"}}}`},
		{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"toolUse":{"input":":2}"}}}`},
		{"contentBlockStop", `{"contentBlockIndex":1}`}, {"contentBlockStop", `{"contentBlockIndex":0}`},
		{"messageStop", `{"stopReason":"tool_use"}`}, {"metadata", `{"usage":{"inputTokens":1,"outputTokens":2}}`},
	} {
		if _, f := s.Event(ev[0], []byte(ev[1])); f != nil {
			t.Fatalf("%s: %+v", ev[0], f)
		}
	}
	m := messageOf(t, s.Answer())
	if len(m.Calls) != 2 || m.Calls[0].Function.Arguments != `{"y":2}` || m.Calls[1].Function.Arguments != `{"x":1}` {
		t.Errorf("%+v", m.Calls)
	}
}

func TestBedrockClassify(t *testing.T) {
	for _, c := range []struct {
		status     int
		kind, body string
		h          http.Header
		code       wire.Code
		v          Verdict
		wait       time.Duration
	}{
		{400, "ValidationException", `{"message":"rate limit secret"}`, nil, wire.CodeProviderRefused, RetryElsewhere, 0},
		{400, "ServiceQuotaExceededException", ``, nil, wire.CodeRateLimited, RetryLater, 0},
		{400, "", `{"__type":"com.amazon.coral.service#ExpiredTokenException","Message":"secret"}`, nil, wire.CodeProviderAuth, RetryElsewhere, 0},
		{403, "AccessDeniedException:http://internal.amazon.com/coral/x", `{"Message":"secret"}`, nil, wire.CodeProviderAuth, RetryElsewhere, 0},
		{403, "InvalidSignatureException", ``, nil, wire.CodeProviderAuth, RetryElsewhere, 0},
		{404, "ResourceNotFoundException", ``, nil, wire.CodeModelNotFound, RetryElsewhere, 0},
		{408, "ModelTimeoutException", ``, nil, wire.CodeTimeout, RetryElsewhere, 0},
		{424, "ModelErrorException", ``, nil, wire.CodeProviderError, RetryElsewhere, 0},
		{424, "", ``, nil, wire.CodeProviderError, RetryElsewhere, 0},
		{429, "ThrottlingException", `{"message":"secret"}`, headers("Retry-After", "4"), wire.CodeRateLimited, RetryLater, 4 * time.Second},
		{429, "ModelNotReadyException", ``, headers("Retry-After", "4"), wire.CodeProviderError, RetryElsewhere, 0},
		{500, "InternalServerException", ``, nil, wire.CodeProviderError, RetryElsewhere, 0},
		{503, "ServiceUnavailableException", ``, headers("Retry-After", "2"), wire.CodeProviderError, RetryLater, 2 * time.Second},
		{413, "", `<html>`, nil, wire.CodeTooLarge, RetryElsewhere, 0},
		{400, "my secret words", ``, nil, wire.CodeProviderRefused, Final, 0},
	} {
		h := c.h
		if h == nil {
			h = http.Header{}
		}
		if c.kind != "" {
			h.Set("x-amzn-ErrorType", c.kind)
		}
		f := bedrock{}.Classify(Refusal{Status: c.status, Header: h, Body: []byte(c.body)})
		if f.Err.Code != c.code || f.Verdict != c.v || f.RetryAfter != c.wait || strings.Contains(f.Err.Message, "secret") {
			t.Errorf("%d %s: %+v %s %s", c.status, c.kind, f.Err, f.Verdict, f.RetryAfter)
		}
	}
}

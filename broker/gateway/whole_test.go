package gateway

import (
	"bytes"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestWholeAsEvents(t *testing.T) {
	for name, c := range map[string]struct {
		endpoint wire.Endpoint
		body     string
		usage    bool
		want     []string
	}{
		"chat with tools and usage": {wire.ChatCompletions,
			`{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"t","type":"function","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"total_tokens":8}}`,
			true, []string{
				`{"choices":[{"delta":{"content":null,"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"},"id":"t","index":0,"type":"function"}]},"finish_reason":"tool_calls","index":0}],"id":"c","object":"chat.completion.chunk"}`,
				`{"choices":[],"id":"c","object":"chat.completion.chunk","usage":{"total_tokens":8}}`, `[DONE]`}},
		"completion": {wire.Completions, `{"object":"text_completion","choices":[{"index":0,"text":"x","finish_reason":"stop"}],"usage":{}}`, false,
			[]string{`{"choices":[{"index":0,"text":"x","finish_reason":"stop"}],"object":"text_completion"}`, `[DONE]`}},
		"response": {wire.Responses, `{"id":"r","status":"completed","output":[{"type":"message"}],"usage":{"total_tokens":1}}`, false,
			[]string{
				`{"response":{"id":"r","output":[],"status":"in_progress","usage":null},"sequence_number":0,"type":"response.created"}`,
				`{"response":{"id":"r","output":[{"type":"message"}],"status":"completed","usage":{"total_tokens":1}},"sequence_number":1,"type":"response.completed"}`}},
		"incomplete response": {wire.Responses, `{"status":"incomplete","output":[]}`, false,
			[]string{
				`{"response":{"output":[],"status":"in_progress","usage":null},"sequence_number":0,"type":"response.created"}`,
				`{"response":{"output":[],"status":"incomplete"},"sequence_number":1,"type":"response.incomplete"}`}},
		"message": {wire.Messages,
			`{"id":"m","type":"message","content":[{"type":"text","text":"hi"},{"type":"tool_use","id":"t","name":"f","input":{"a":1}},{"type":"redacted_thinking","data":"d"}],"stop_reason":"tool_use","usage":{"output_tokens":3}}`, false,
			[]string{
				`{"message":{"content":[],"id":"m","stop_reason":null,"stop_sequence":null,"type":"message","usage":{"output_tokens":3}},"type":"message_start"}`,
				`{"content_block":{"text":"","type":"text"},"index":0,"type":"content_block_start"}`,
				`{"delta":{"text":"hi","type":"text_delta"},"index":0,"type":"content_block_delta"}`,
				`{"index":0,"type":"content_block_stop"}`,
				`{"content_block":{"id":"t","input":{},"name":"f","type":"tool_use"},"index":1,"type":"content_block_start"}`,
				`{"delta":{"partial_json":"{\"a\":1}","type":"input_json_delta"},"index":1,"type":"content_block_delta"}`,
				`{"index":1,"type":"content_block_stop"}`,
				`{"content_block":{"data":"d","type":"redacted_thinking"},"index":2,"type":"content_block_start"}`,
				`{"index":2,"type":"content_block_stop"}`,
				`{"delta":{"stop_reason":"tool_use","stop_sequence":null},"type":"message_delta","usage":{"output_tokens":3}}`,
				`{"type":"message_stop"}`}},
		"thinking": {wire.Messages, `{"content":[{"type":"thinking","thinking":"hm","signature":"s"}],"stop_reason":"end_turn","stop_sequence":null}`, false,
			[]string{
				`{"message":{"content":[],"stop_reason":null,"stop_sequence":null},"type":"message_start"}`,
				`{"content_block":{"signature":"","thinking":"","type":"thinking"},"index":0,"type":"content_block_start"}`,
				`{"delta":{"thinking":"hm","type":"thinking_delta"},"index":0,"type":"content_block_delta"}`,
				`{"delta":{"signature":"s","type":"signature_delta"},"index":0,"type":"content_block_delta"}`,
				`{"index":0,"type":"content_block_stop"}`,
				`{"delta":{"stop_reason":"end_turn","stop_sequence":null},"type":"message_delta"}`,
				`{"type":"message_stop"}`}},
		"no answer":   {wire.ChatCompletions, `{"choices":[]}`, false, nil},
		"no object":   {wire.ChatCompletions, `[]`, false, nil},
		"no response": {wire.Responses, `{}`, false, nil},
		"no message":  {wire.Messages, `{}`, false, nil},
		"not JSON":    {wire.Messages, `{`, false, nil},
	} {
		got := wholeAsEvents(c.endpoint, []byte(c.body), c.usage)
		if len(got) != len(c.want) {
			t.Errorf("%s: %d events, want %d: %s", name, len(got), len(c.want), bytes.Join(got, []byte("\n")))
			continue
		}
		for i := range got {
			if string(got[i]) != c.want[i] {
				t.Errorf("%s: event %d is\n%s\nwant\n%s", name, i, got[i], c.want[i])
			}
		}
	}
}

func FuzzWholeAsEvents(f *testing.F) {
	f.Add(`{"choices":[{"message":{"tool_calls":[null]}}]}`)
	f.Add(`{"content":[null,{"type":5}],"output":[1],"choices":[null]}`)
	f.Fuzz(func(_ *testing.T, body string) {
		for e := range endpointBodies {
			wholeAsEvents(e, []byte(body), true)
		}
	})
}

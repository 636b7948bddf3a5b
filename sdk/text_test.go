package sdk

import "testing"

func TestChunkText(t *testing.T) {
	for data, want := range map[string]string{
		`{"choices":[{"index":0,"delta":{"content":"chat"}}]}`:                                                   "chat",
		`{"choices":[{"index":1,"delta":{"content":"other"}},{"index":0,"delta":{}}]}`:                           "",
		`{"choices":[{"index":0,"text":"completion"}]}`:                                                          "completion",
		`{"choices":[],"usage":{"prompt_tokens":1}}`:                                                             "",
		`{"type":"response.output_text.delta","delta":"response"}`:                                               "response",
		`{"type":"response.output_text.delta","delta":{}}`:                                                       "",
		`{"type":"response.function_call_arguments.delta","delta":"no"}`:                                         "",
		`{"type":"content_block_delta","delta":{"type":"text_delta","text":"message"}}`:                          "message",
		`{"type":"content_block_delta","delta":"?"}`:                                                             "",
		"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"framed\"}}]}\n\n":                             "framed",
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"both\"}}\n\n": "both",
		"data: [DONE]\n\n":          "",
		"[DONE]":                    "",
		"":                          "",
		`{"error":{"message":"x"}}`: "",
	} {
		c := Chunk{Data: []byte(data)}
		if got := c.Text(); got != want {
			t.Errorf("%s gives %q", data, got)
		}
	}
}

func TestAnswerText(t *testing.T) {
	for body, want := range map[string]string{
		`{"choices":[{"message":{"content":"chat"}},{"message":{"content":"second"}}]}`: "chat",
		`{"choices":[{"message":{"content":null}}]}`:                                    "",
		`{"choices":[{"text":"completion"}]}`:                                           "completion",
		`{"output":[{"type":"reasoning","content":[{"type":"output_text","text":"no"}]},{"type":"message","content":[{"type":"output_text","text":"re"},{"type":"output_text","text":"sponse"}]}]}`: "response",
		`{"content":[{"type":"thinking","text":"no"},{"type":"text","text":"mess"},{"type":"tool_use"},{"type":"text","text":"age"}]}`:                                                              "message",
		`{"data":[{"embedding":[0.5]}]}`: "",
		`?`:                              "",
	} {
		if got := answerText([]byte(body)); got != want {
			t.Errorf("%s gives %q", body, got)
		}
	}
}

func FuzzChunkText(f *testing.F) {
	f.Add([]byte(`{"choices":[{"index":0,"delta":{"content":"x"}}]}`))
	f.Add([]byte("event: a\ndata: {}\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := Chunk{Data: data}
		if text := c.Text(); len(text) > 3*len(data) {
			t.Errorf("%d bytes of text in %d bytes of data", len(text), len(data))
		}
		_ = answerText(data)
	})
}

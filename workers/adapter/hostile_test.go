package adapter

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

// TestHeldOfConversions: whatever a provider keeps sending, what the stream
// keeps of it is accounted for, so that the engine can bound it.
func TestHeldOfConversions(t *testing.T) {
	long := strings.Repeat("y", 1000)
	for _, c := range []struct {
		name, adapter string
		e             wire.Endpoint
		event         string
		data          func(i int) string
	}{
		{"text", "anthropic", wire.ChatCompletions, "", func(int) string {
			return `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"` + long + `"}}`
		}},
		{"signatures", "anthropic", wire.ChatCompletions, "", func(int) string {
			return `{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"` + long + `"}}`
		}},
		{"thoughts", "anthropic", wire.ChatCompletions, "", func(int) string {
			return `{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"` + long + `"}}`
		}},
		{"tools", "anthropic", wire.ChatCompletions, "", func(i int) string {
			return fmt.Sprintf(`{"type":"content_block_start","index":%d,"content_block":{"type":"tool_use","id":"%s","name":"f"}}`, i, long)
		}},
		{"blocks as they are", "anthropic", wire.Messages, "", func(i int) string {
			return fmt.Sprintf(`{"type":"content_block_start","index":%d,"content_block":{"type":"x","more":"%s"}}`, i, long)
		}},
		{"citations as they are", "anthropic", wire.Messages, "", func(int) string {
			return `{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"t":"` + long + `"}}}`
		}},
		{"parts", "gemini", wire.ChatCompletions, "", func(int) string {
			return `{"candidates":[{"content":{"parts":[{"text":"` + long + `"}]}}]}`
		}},
		{"calls", "gemini", wire.ChatCompletions, "", func(int) string {
			return `{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":"` + long + `"}}}]}}]}`
		}},
		{"thoughts", "bedrock", wire.ChatCompletions, "contentBlockDelta", func(i int) string {
			return fmt.Sprintf(`{"contentBlockIndex":%d,"delta":{"reasoningContent":{"redactedContent":"%s"}}}`, i, long)
		}},
		{"input", "bedrock", wire.ChatCompletions, "contentBlockDelta", func(int) string {
			return `{"contentBlockIndex":0,"delta":{"text":"` + long + `"}}`
		}},
	} {
		codec, _ := Lookup(c.adapter)
		s := codec.Stream(Request{Endpoint: c.e})
		const n = 200
		for i := range n {
			if _, f := s.Event(c.event, []byte(c.data(i))); f != nil {
				t.Fatalf("%s %s: %+v", c.adapter, c.name, f)
			}
		}
		if sum := s.Sum(); max(sum.Held, sum.Text) < n*len(long) || sum.Held > 4*n*len(long) {
			t.Errorf("%s %s: holds %d bytes, has %d of text, of %d sent", c.adapter, c.name, sum.Held, sum.Text, n*len(long))
		}
		if _, ok := s.End(); ok && c.adapter != "gemini" {
			t.Errorf("%s %s: an end without a marker", c.adapter, c.name)
		}
	}
}

// TestAnthropicFiles: which files go out, and as what.
func TestAnthropicFiles(t *testing.T) {
	for part, want := range map[string]string{
		`{"type":"file","file":{"filename":"n.txt","file_data":"data:text/plain;base64,aGk8"}}`: `{"type":"document","source":{"type":"text","media_type":"text/plain","data":"hi<"},"title":"n.txt"}`,
		`{"type":"file","file":{"file_data":"data:application/pdf;base64,JVBERi0="}}`:           `{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0="}}`,
		`{"type":"file","file":{"filename":"x.png","file_data":"data:image/png;base64,iVBO"}}`:  `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBO"}}`,
		`{"type":"image_url","image_url":{"url":"https://h/a.png"}}`:                            `{"type":"image","source":{"type":"url","url":"https://h/a.png"}}`,
		`{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"1h"}}`:            `{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"1h"}}`,
	} {
		for _, role := range []string{`"role":"user"`, `"role":"tool","tool_call_id":"1"`} {
			body := `{"messages":[{` + role + `,"content":[` + part + `]}]}`
			enc, f := anthropic{}.Encode(Request{Endpoint: wire.ChatCompletions, Body: []byte(body), Model: "m"})
			if f != nil || !strings.Contains(string(enc.Body), `"content":[`+want+`]`) {
				t.Errorf("%s: %+v\n%s\nwant\n%s", body, f, enc.Body, want)
			}
		}
	}
	body := `{"messages":[{"role":"user","content":[{"type":"file","file":{"file_data":"data:text/plain;base64,?"}}]}]}`
	if _, f := (anthropic{}).Encode(Request{Endpoint: wire.ChatCompletions, Body: []byte(body)}); f == nil || f.Err.Code != wire.CodeInvalidRequest {
		t.Errorf("broken base64: %+v", f)
	}
}

func TestMediaOf(t *testing.T) {
	for in, want := range map[string]media{
		"data:image/PNG;base64,AA==":              {mime: "image/png", data: "AA=="},
		"data:text/csv;charset=utf-8;base64,AA==": {mime: "text/csv", data: "AA=="},
		"https://h/x": {url: "https://h/x"},
		"gs://b/x":    {url: "gs://b/x"},
	} {
		if got, ok := mediaOf(in); !ok || got != want {
			t.Errorf("%s: %+v, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "x", "data:", "data:,x", "data:;base64,x", "data:image/png,x", "data:png;base64,x"} {
		if got, ok := mediaOf(in); ok {
			t.Errorf("%s: %+v", in, got)
		}
	}
}

// TestEndpointsSpeakJSON: what goes out to a provider is one JSON object with
// everything in it that the conversation had.
func TestEndpointsSpeakJSON(t *testing.T) {
	body := `{"messages":[{"role":"system","content":"S1"},{"role":"user","content":"U1"},{"role":"assistant","content":"A1"},{"role":"user","content":"U2"}],
		"max_tokens":7,"temperature":0.5,"top_p":0.25,"stop":["X1","X2"],"tools":[{"type":"function","function":{"name":"F1","description":"D1"}}]}`
	for name, codec := range convertors() {
		enc, f := codec.Encode(Request{Endpoint: wire.ChatCompletions, Body: []byte(body), Model: "m"})
		if f != nil {
			t.Fatalf("%s: %+v", name, f)
		}
		var v map[string]any
		if err := json.Unmarshal(enc.Body, &v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		last := -1
		for _, w := range []string{"U1", "A1", "U2"} {
			at := strings.Index(string(enc.Body), w)
			if at <= last {
				t.Errorf("%s: %s is not behind what came before it: %s", name, w, enc.Body)
			}
			last = at
		}
		for _, w := range []string{"S1", "X1", "X2", "F1", "D1", ":7", ":0.5", ":0.25"} {
			if strings.Count(string(enc.Body), w) != 1 {
				t.Errorf("%s: %s is there %d times: %s", name, w, strings.Count(string(enc.Body), w), enc.Body)
			}
		}
	}
}

func BenchmarkConvertEvent(b *testing.B) {
	for _, c := range [][3]string{
		{"anthropic", "", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" word"}}`},
		{"gemini", "", `{"candidates":[{"content":{"parts":[{"text":" word"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":3},"modelVersion":"g","responseId":"r"}`},
		{"bedrock", "contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":" word"},"p":"abcdefgh"}`},
	} {
		b.Run(c[0], func(b *testing.B) {
			codec, _ := Lookup(c[0])
			s := codec.Stream(Request{Endpoint: wire.ChatCompletions})
			data := []byte(c[2])
			b.ReportAllocs()
			for b.Loop() {
				if _, f := s.Event(c[1], data); f != nil {
					b.Fatal(f.Err)
				}
			}
		})
	}
}

package simulated

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/internal/openapi"
)

// spec is OpenAI's own description of its API.
type spec struct{ *openapi.Document }

func loadSpec(t *testing.T) spec {
	t.Helper()
	path := os.Getenv("SLUICE_OPENAI_SPEC")
	if path == "" {
		path = filepath.Join("..", "..", "..", "shared", "data", "openai-openapi.json")
	}
	d, err := openapi.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("OpenAI's specification is not beside the repository (../shared/data/openai-openapi.json): shapes are not compared with it")
	}
	if err != nil {
		t.Fatal(err)
	}
	return spec{d}
}

func (s spec) compare(t *testing.T, name, answer string) {
	t.Helper()
	for _, f := range s.Faults(name, []byte(answer)) {
		if strings.Contains(f, "usage is <nil>") || strings.Contains(f, "finish_reason is <nil>") {
			continue // null before the end of a stream, as the prose of the specification has it
		}
		t.Errorf("%s\n  in %.300s", f, answer)
	}
}

// TestShapes compares every kind of answer with OpenAI's specification.
func TestShapes(t *testing.T) {
	s := loadSpec(t)
	p, _ := provider(t, Config{MinTokens: 4, MaxTokens: 8, Models: []string{"m", "n"}})
	broken, _ := provider(t, Config{ErrorShare: 1, Faults: []Fault{RateLimit}})
	in := `{"model":"m","messages":[{"role":"user","content":"a"}],"prompt":"a","input":"a","stream_options":{"include_usage":true}`
	for _, c := range []struct {
		p            *Provider
		path, schema string
		fields       string
	}{
		{p, "/chat/completions", "CreateChatCompletionResponse", "}"},
		{p, "/chat/completions", "CreateChatCompletionResponse", `,"max_tokens":2}`},
		{p, "/chat/completions", "CreateChatCompletionResponse", toolsOf["/chat/completions"] + "}"},
		{p, "/completions", "CreateCompletionResponse", "}"},
		{p, "/embeddings", "CreateEmbeddingResponse", "}"},
		{p, "/responses", "ResponseUsage", "}"},
		{p, "/models", "ListModelsResponse", "}"},
		{broken, "/chat/completions", "ErrorResponse", "}"},
		{p, "/nothing", "ErrorResponse", "}"},
	} {
		_, answer, err := ask(t, c.p, c.path, "k", in+c.fields)
		if err != nil {
			t.Fatal(err)
		}
		if c.schema == "ResponseUsage" {
			var r struct{ Usage json.RawMessage }
			if err := json.Unmarshal([]byte(answer), &r); err != nil {
				t.Fatal(err)
			}
			answer = string(r.Usage)
		}
		s.compare(t, c.schema, answer)
	}
}

// TestStreamShapes compares every event of the streams.
func TestStreamShapes(t *testing.T) {
	s := loadSpec(t)
	p, _ := provider(t, Config{MinTokens: 4, MaxTokens: 8})
	in := `{"model":"m","stream":true,"messages":[{"role":"user","content":"a"}],"prompt":"a","input":"a","stream_options":{"include_usage":true}}`
	for path, schema := range map[string]string{
		"/chat/completions": "CreateChatCompletionStreamResponse",
		"/completions":      "CreateCompletionResponse",
	} {
		raw, err := io.ReadAll(open(t, p, path, in))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(string(raw)) {
			data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
			if ok && data != "[DONE]" {
				n++
				s.compare(t, schema, data)
			}
		}
		if n < 5 {
			t.Errorf("%s: %d events", path, n)
		}
	}
	named := map[string]string{
		"response.output_text.delta":  "ResponseTextDeltaEvent",
		"response.output_text.done":   "ResponseTextDoneEvent",
		"response.output_item.added":  "ResponseOutputItemAddedEvent",
		"response.output_item.done":   "ResponseOutputItemDoneEvent",
		"response.content_part.added": "ResponseContentPartAddedEvent",
	}
	seen := 0
	for _, ev := range events(t, open(t, p, "/responses", in)) {
		if schema := named[ev["type"].(string)]; schema != "" {
			raw, err := json.Marshal(ev)
			if err != nil {
				t.Fatal(err)
			}
			s.compare(t, schema, string(raw))
			seen++
		}
	}
	if seen < 7 {
		t.Errorf("%d events of the responses stream were compared", seen)
	}
}

// TestResponseShape compares a whole response.
func TestResponseShape(t *testing.T) {
	s := loadSpec(t)
	p, _ := provider(t, Config{})
	for _, more := range []string{"", `,"instructions":"be kind","temperature":0.5,"metadata":{"a":"b"}`, toolsOf["/responses"]} {
		_, answer, err := ask(t, p, "/responses", "k", `{"model":"m","input":"a"`+more+`}`)
		if err != nil {
			t.Fatal(err)
		}
		s.compare(t, "Response", answer)
	}
}

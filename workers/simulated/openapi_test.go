package simulated

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// spec is OpenAI's own description of its API, as far as this test reads it.
type spec struct {
	Components struct {
		Schemas map[string]*schema
	}
}

type schema struct {
	Ref        string `json:"$ref"`
	Type       any
	Required   []string
	Properties map[string]*schema
	Items      *schema
	Enum       []any
	AnyOf      []*schema
	OneOf      []*schema
	AllOf      []*schema
	Nullable   bool
}

func loadSpec(t *testing.T) *spec {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "data", "openai-openapi.json"))
	if err != nil {
		t.Skip("OpenAI's specification is not beside the repository (../shared/data/openai-openapi.json): shapes are not compared with it")
	}
	var s spec
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// check lists how v departs from the schema.
func (s *spec) check(sc *schema, v any, at string) []string {
	if name, ok := strings.CutPrefix(sc.Ref, "#/components/schemas/"); ok {
		return s.check(s.Components.Schemas[name], v, at)
	}
	if v == nil && sc.Nullable {
		return nil
	}
	var faults []string
	for _, part := range sc.AllOf {
		faults = append(faults, s.check(part, v, at)...)
	}
	for _, choices := range [][]*schema{sc.AnyOf, sc.OneOf} {
		faults = append(faults, s.some(choices, v, at)...)
	}
	if !hasType(sc.Type, v) {
		return append(faults, fmt.Sprintf("%s is %T, want %v", at, v, sc.Type))
	}
	if len(sc.Enum) > 0 && !slices.Contains(sc.Enum, v) {
		faults = append(faults, fmt.Sprintf("%s is %v, want one of %v", at, v, sc.Enum))
	}
	switch v := v.(type) {
	case map[string]any:
		for _, name := range sc.Required {
			if _, ok := v[name]; !ok {
				faults = append(faults, at+"."+name+" is missing")
			}
		}
		for name, part := range sc.Properties {
			if inner, ok := v[name]; ok {
				faults = append(faults, s.check(part, inner, at+"."+name)...)
			}
		}
	case []any:
		for i, e := range v {
			if sc.Items != nil {
				faults = append(faults, s.check(sc.Items, e, fmt.Sprintf("%s[%d]", at, i))...)
			}
		}
	}
	return faults
}

// some wants v to fit one of the choices, and reports the nearest.
func (s *spec) some(choices []*schema, v any, at string) []string {
	var nearest []string
	for i, c := range choices {
		faults := s.check(c, v, at)
		if len(faults) == 0 {
			return nil
		}
		if i == 0 || len(faults) < len(nearest) {
			nearest = faults
		}
	}
	return nearest
}

func hasType(want, v any) bool {
	switch want := want.(type) {
	case nil:
		return true
	case []any:
		return slices.ContainsFunc(want, func(w any) bool { return hasType(w, v) })
	case string:
		switch v := v.(type) {
		case nil:
			return want == "null"
		case bool:
			return want == "boolean"
		case float64:
			return want == "number" || want == "integer" && v == float64(int64(v))
		case string:
			return want == "string"
		case []any:
			return want == "array"
		case map[string]any:
			return want == "object"
		}
	}
	return false
}

func (s *spec) compare(t *testing.T, name, answer string) {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(answer), &v); err != nil {
		t.Fatalf("%s: %v in %s", name, err, answer)
	}
	sc := s.Components.Schemas[name]
	if sc == nil {
		t.Fatalf("the specification has no %s", name)
	}
	for _, f := range s.check(sc, v, name) {
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

package simulated

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

// toolsOf is a tool, in the words of each endpoint.
var toolsOf = map[string]string{
	"/chat/completions": `,"tools":[{"type":"function","function":{"name":"weather","parameters":` + weather + `}}]`,
	"/responses":        `,"tools":[{"type":"function","strict":true,"name":"weather","parameters":` + weather + `}]`,
	"/messages":         `,"tools":[{"name":"weather","input_schema":` + weather + `}]`,
}

const weather = `{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer","minimum":1,"maximum":3}},"required":["city","days"]}`

const in = `{"model":"m","max_tokens":64,"messages":[{"role":"user","content":"a"}],"input":"a"`

// decoded is an answer or event as a tree.
func decoded(t *testing.T, s string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%v in %.300s", err, s)
	}
	return v
}

// at follows keys and indexes.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			a, _ := v.([]any)
			if p >= len(a) {
				return nil
			}
			v = a[p]
		}
	}
	return v
}

// forecast checks the arguments of a call of the tool.
func forecast(t *testing.T, name string, arguments any) {
	t.Helper()
	s, ok := arguments.(string)
	if !ok {
		b, _ := json.Marshal(arguments)
		s = string(b)
	}
	var f struct {
		City string
		Days int
	}
	if err := json.Unmarshal([]byte(s), &f); err != nil || f.City == "" || f.Days < 1 || f.Days > 3 {
		t.Errorf("%s: arguments %q: %v", name, s, err)
	}
}

func TestToolCalls(t *testing.T) {
	p, books := provider(t, Config{})
	for path, c := range map[string]struct{ name, arguments, end []any }{
		"/chat/completions": {[]any{"choices", 0, "message", "tool_calls", 0, "function", "name"},
			[]any{"choices", 0, "message", "tool_calls", 0, "function", "arguments"}, []any{"choices", 0, "finish_reason"}},
		"/responses": {[]any{"output", 0, "name"}, []any{"output", 0, "arguments"}, []any{"output", 0, "type"}},
		"/messages":  {[]any{"content", 0, "name"}, []any{"content", 0, "input"}, []any{"stop_reason"}},
	} {
		_, answer, err := ask(t, p, path, "k", in+toolsOf[path]+"}")
		if err != nil {
			t.Fatal(err)
		}
		v := decoded(t, answer)
		if at(v, c.name...) != "weather" {
			t.Errorf("%s: no call of the tool in %s", path, answer)
		}
		forecast(t, path, at(v, c.arguments...))
		if end := at(v, c.end...); end != "tool_calls" && end != "function_call" && end != "tool_use" {
			t.Errorf("%s: ends with %v", path, end)
		}
	}
	for _, l := range books() {
		if l.Outcome != "ok" || l.Output != 4 { // {"city": "water", "days": 2}
			t.Errorf("books: %+v", l)
		}
	}
}

// A tool is not called when its result is there, or when none may be; and
// whichever is asked for is.
func TestToolChoice(t *testing.T) {
	p, _ := provider(t, Config{})
	two := `,"tools":[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"b"}}]`
	for _, c := range []struct{ messages, more, want string }{
		{`{"role":"user","content":"x"}`, ``, "a"},
		{`{"role":"user","content":"x"}`, `,"tool_choice":"none"`, ""},
		{`{"role":"user","content":"x"}`, `,"tool_choice":{"type":"function","function":{"name":"b"}}`, "b"},
		{`{"role":"user","content":"x"},{"role":"tool","content":"r"}`, ``, ""},
		{`{"role":"user","content":"x"},{"role":"tool","content":"r"}`, `,"tool_choice":"required"`, "a"},
	} {
		_, answer, err := ask(t, p, "/chat/completions", "k", `{"model":"m","messages":[`+c.messages+`]`+two+c.more+`}`)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := at(decoded(t, answer), "choices", 0, "message", "tool_calls", 0, "function", "name").(string)
		if got != c.want {
			t.Errorf("%s%s: calls %q, want %q", c.messages, c.more, got, c.want)
		}
	}
	_, answer, err := ask(t, p, "/messages", "k", `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"tool_result","content":"r"}]}]`+
		toolsOf["/messages"]+`}`)
	if err != nil || at(decoded(t, answer), "content", 0, "type") != "text" {
		t.Errorf("after a result: %s, %v", answer, err)
	}
}

// The events of a stream add up to the whole answer.
func TestStructuredStreams(t *testing.T) {
	p, _ := provider(t, Config{Seed: 5})
	format := `,"response_format":{"type":"json_schema","json_schema":{"name":"w","schema":` + weather + `}},"text":{"format":{"type":"json_schema","name":"w","schema":` + weather +
		`}},"output_config":{"format":{"type":"json_schema","schema":` + weather + `}}`
	paths := map[string][3][]any{ // deltas: text, tool; and the whole
		"/chat/completions": {{"choices", 0, "delta", "content"}, {"choices", 0, "delta", "tool_calls", 0, "function", "arguments"}},
		"/responses":        {{"delta"}, {"delta"}},
		"/messages":         {{"delta", "text"}, {"delta", "partial_json"}},
	}
	for path, where := range paths {
		for i, more := range []string{format, toolsOf[path]} {
			var text strings.Builder
			for _, ev := range events(t, open(t, p, path, in+more+`,"stream":true}`)) {
				s, _ := at(ev, where[i]...).(string)
				text.WriteString(s)
			}
			forecast(t, fmt.Sprintf("%s %d", path, i), text.String())
		}
	}
}

func TestMessages(t *testing.T) {
	p, books := provider(t, Config{CacheShare: 0.5, ReasoningShare: 0.25, MinTokens: 8, MaxTokens: 8})
	body := `{"model":"m","max_tokens":64,"system":"be kind","messages":[{"role":"user","content":[{"type":"text","text":"one two three"}]}]`
	_, answer, err := ask(t, p, "/messages", "k", body+"}")
	if err != nil {
		t.Fatal(err)
	}
	v := decoded(t, answer)
	want := map[string]any{"input_tokens": 6.0, "cache_read_input_tokens": 5.0, "cache_creation_input_tokens": 0.0, "output_tokens": 8.0,
		"output_tokens_details": map[string]any{"thinking_tokens": 2.0}}
	if !reflect.DeepEqual(v["usage"], want) || v["stop_reason"] != "end_turn" || v["role"] != "assistant" {
		t.Errorf("answer %s", answer)
	}
	if n := len(strings.Fields(at(v, "content", 0, "text").(string))); n != 6 {
		t.Errorf("%d words for 6 tokens beside 2 of reasoning", n)
	}
	var names []string
	text := ""
	for _, ev := range events(t, open(t, p, "/messages", body+`,"stream":true}`)) {
		names = append(names, ev["type"].(string))
		s, _ := at(ev, "delta", "text").(string)
		text += s
	}
	if got := strings.Join(names, " "); !strings.HasPrefix(got, "message_start content_block_start ping content_block_delta") ||
		!strings.HasSuffix(got, "content_block_delta content_block_stop message_delta message_stop") || len(strings.Fields(text)) != 6 {
		t.Errorf("events %s with %q", got, text)
	}
	for _, l := range books() {
		if l.Input != 6 || l.CacheRead != 5 || l.Output != 6 || l.Reasoning != 2 {
			t.Errorf("books: %+v", l)
		}
	}
	broken, _ := provider(t, Config{ErrorShare: 1, Faults: []Fault{RateLimit}})
	if status, answer, _ := ask(t, broken, "/messages", "k", body+"}"); status != 429 || at(decoded(t, answer), "error", "type") != "rate_limit_error" {
		t.Errorf("a refusal: %d %s", status, answer)
	}
}

// Whatever the schema, what comes of it is JSON; where the keywords are known,
// it follows them.
func TestFromSchema(t *testing.T) {
	for schema, ok := range map[string]func(v any) bool{
		``:                           func(v any) bool { return v != nil },
		`true`:                       func(v any) bool { return v != nil },
		`{"enum":["a b",7]}`:         func(v any) bool { return v == "a b" || v == 7.0 },
		`{"const": {"x": 1}}`:        func(v any) bool { return reflect.DeepEqual(v, map[string]any{"x": 1.0}) },
		`{"type":["null","string"]}`: func(v any) bool { return v == nil },
		`{"type":"array","items":{"type":"boolean"},"minItems":2}`: func(v any) bool { a, _ := v.([]any); return len(a) == 2 },
		`{"anyOf":[{"type":"integer","minimum":5,"maximum":5}]}`:   func(v any) bool { return v == 5.0 },
		`{"$defs":{"n":{"type":"null"}},"properties":{"é \"q":{"$ref":"#/$defs/n"}}}`: func(v any) bool {
			m, _ := v.(map[string]any)
			_, has := m[`é "q`]
			return has
		},
		`{"properties":{"self":{"$ref":"#"}}}`: func(v any) bool { _, is := v.(map[string]any); return is },
		`{"$ref":"#/nowhere"}`:                 func(v any) bool { return v != nil },
	} {
		rnd := rng(7)
		s := fromSchema([]byte(schema), &rnd)
		var v any
		if err := json.Unmarshal([]byte(s), &v); err != nil || !ok(v) {
			t.Errorf("%s: %s (%v)", schema, s, err)
		}
	}
}

func FuzzFromSchema(f *testing.F) {
	f.Add(weather)
	f.Add(`{"properties":{"a":1,"b":{"type":"array"}},"items":3}`)
	f.Fuzz(func(t *testing.T, schema string) {
		rnd := rng(1)
		if s := fromSchema([]byte(schema), &rnd); !json.Valid([]byte(s)) {
			t.Errorf("%q becomes %q", schema, s)
		}
	})
}

// An answer that max_tokens cuts is cut in the middle of its JSON.
func TestStructureIsCut(t *testing.T) {
	p, _ := provider(t, Config{})
	_, answer, err := ask(t, p, "/chat/completions", "k", `{"model":"m","max_tokens":2,"messages":[{"role":"user","content":"a"}]`+toolsOf["/chat/completions"]+"}")
	if err != nil {
		t.Fatal(err)
	}
	v := decoded(t, answer)
	if at(v, "choices", 0, "finish_reason") != "length" || json.Valid([]byte(at(v, "choices", 0, "message", "tool_calls", 0, "function", "arguments").(string))) {
		t.Errorf("answer %s", answer)
	}
	_, answer, err = ask(t, p, "/messages", "k", `{"model":"m","max_tokens":2,"messages":[{"role":"user","content":"a"}]`+toolsOf["/messages"]+"}")
	if err != nil || at(decoded(t, answer), "stop_reason") != "max_tokens" {
		t.Errorf("answer %s, %v", answer, err)
	}
}

// Vectors are the same in either encoding.
func TestBase64Vectors(t *testing.T) {
	p, _ := provider(t, Config{})
	_, plain, _ := ask(t, p, "/embeddings", "k", `{"model":"m","input":["a","b"],"dimensions":3}`)
	_, packed, err := ask(t, p, "/embeddings", "k", `{"model":"m","input":["a","b"],"dimensions":3,"encoding_format":"base64"}`)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		s, _ := at(decoded(t, packed), "data", i, "embedding").(string)
		raw, err := base64.StdEncoding.DecodeString(s)
		if err != nil || len(raw) != 12 {
			t.Fatalf("%q: %v", s, err)
		}
		for k := range 3 {
			got := math.Float32frombits(binary.LittleEndian.Uint32(raw[4*k:]))
			if want := at(decoded(t, plain), "data", i, "embedding", k).(float64); got != float32(want) {
				t.Errorf("vector %d, %d: %v, want %v", i, k, got, want)
			}
		}
	}
}

func TestOddDimensions(t *testing.T) {
	p, _ := provider(t, Config{})
	for _, n := range []string{"1e300", "99999999999999", "-1", "0", `"x"`, "4097"} {
		status, answer, err := ask(t, p, "/embeddings", "k", `{"model":"m","input":"a","dimensions":`+n+`}`)
		v, _ := at(decoded(t, answer), "data", 0, "embedding").([]any)
		if status != 200 || err != nil || len(v) != 8 {
			t.Errorf("dimensions %s: %d, %d numbers, %v", n, status, len(v), err)
		}
	}
}

package adapter

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// convertors are the codecs that convert chat.
func convertors() map[string]Codec {
	out := map[string]Codec{}
	for _, name := range Names() {
		c, _ := Lookup(name)
		_, same := c.(openAI)
		if _, both := c.(simulated); !same && !both {
			out[name] = c
		}
	}
	return out
}

const userSaysX = `"messages":[{"role":"user","content":"x"}]`

// TestLacks: what an API has no counterpart for is refused with a sentence,
// and another pool may have it.
func TestLacks(t *testing.T) {
	tool := `"tools":[{"type":"function","function":{"name":"f"}}]`
	for _, c := range []struct{ body, param, but string }{
		{`{` + userSaysX + `,"n":2}`, "n", "gemini"},
		{`{` + userSaysX + `,"logprobs":true}`, "logprobs", ""},
		{`{` + userSaysX + `,"presence_penalty":0.5}`, "frequency_penalty", "gemini"},
		{`{` + userSaysX + `,"modalities":["text","audio"]}`, "modalities", ""},
		{`{` + userSaysX + `,"logit_bias":{"5":1}}`, "logit_bias", ""},
		{`{` + userSaysX + `,"functions":[]}`, "functions", ""},
		{`{` + userSaysX + `,"web_search_options":{}}`, "web_search_options", ""},
		{`{` + userSaysX + `,"tools":[{"type":"custom","custom":{"name":"f"}}]}`, "tools", ""},
		{`{` + userSaysX + `,` + tool + `,"tool_choice":{"type":"allowed_tools"}}`, "tool_choice", ""},
		{`{` + userSaysX + `,"response_format":{"type":"grammar"}}`, "response_format", ""},
		{`{` + userSaysX + `,"response_format":{"type":"json_object"}}`, "response_format", "gemini"},
		{`{` + userSaysX + `,` + tool + `,"parallel_tool_calls":false}`, "parallel_tool_calls", "anthropic"},
		{`{"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}]}]}`, "messages[0].content", "gemini"},
		{`{"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file-1"}}]}]}`, "messages[0].content", ""},
		{`{"messages":[{"role":"user","content":[{"type":"video"}]}]}`, "messages[0].content", ""},
		{`{"messages":[{"role":"function","content":"x","name":"f"}]}`, "messages[0].role", ""},
		{`{"messages":[{"role":"system","content":"x"}]}`, "messages", ""},
		{`{"messages":[{"role":"user","content":""}]}`, "messages", ""},
		{`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://h/x.png"}}]}]}`, "messages", "anthropic"},
		{`{"messages":[{"role":"user","content":[{"type":"file","file":{"file_data":"data:application/zip;base64,AA=="}}]}]}`, "messages", "gemini"},
	} {
		for name, codec := range convertors() {
			_, f := codec.Encode(Request{Endpoint: wire.ChatCompletions, Body: []byte(c.body), Model: "m"})
			if name == c.but {
				if f != nil {
					t.Errorf("%s: %s: %+v", name, c.body, f.Err)
				}
				continue
			}
			if f == nil || f.Err.Code != wire.CodeUnsupportedParam || f.Verdict != RetryElsewhere || f.Err.Param != c.param || !strings.Contains(f.Err.Message, "route the request") {
				t.Errorf("%s: %s: %+v", name, c.body, f)
			}
		}
	}
	for name, codec := range convertors() {
		for _, e := range []wire.Endpoint{wire.Embeddings, wire.Responses, wire.Completions} {
			if _, f := codec.Encode(Request{Endpoint: e, Body: []byte(requests[e])}); f == nil || f.Err.Code != wire.CodeUnsupported {
				t.Errorf("%s %s: %+v", name, e, f)
			}
		}
	}
}

// TestWrong: what no API would take is the request's own fault.
func TestWrong(t *testing.T) {
	call := func(fields string) string {
		return `{"messages":[{"role":"user","content":"x"},{"role":"assistant","tool_calls":[` + fields + `]}]}`
	}
	for _, c := range []struct {
		body  string
		code  wire.Code
		param string
	}{
		{``, wire.CodeInvalidJSON, ""},
		{`null`, wire.CodeInvalidJSON, ""},
		{`[1]`, wire.CodeInvalidJSON, ""},
		{`{"messages":[`, wire.CodeInvalidJSON, ""},
		{`{}`, wire.CodeInvalidRequest, "messages"},
		{`{"messages":[]}`, wire.CodeInvalidRequest, "messages"},
		{`{"messages":5}`, wire.CodeInvalidRequest, "messages"},
		{`{"messages":[{"role":"user","content":5}]}`, wire.CodeInvalidRequest, "messages.content"},
		{`{` + userSaysX + `,"temperature":"hot"}`, wire.CodeInvalidRequest, "temperature"},
		{`{` + userSaysX + `,"max_tokens":-1}`, wire.CodeInvalidRequest, "max_tokens"},
		{`{` + userSaysX + `,"max_tokens":1.5}`, wire.CodeInvalidRequest, "max_tokens"},
		{`{` + userSaysX + `,"stop":[5]}`, wire.CodeInvalidRequest, "stop"},
		{`{` + userSaysX + `,"tool_choice":{"type":"function"}}`, wire.CodeInvalidRequest, "tool_choice"},
		{`{` + userSaysX + `,"response_format":{"type":"json_schema","json_schema":{"schema":5}}}`, wire.CodeInvalidRequest, "response_format"},
		{`{"messages":[{"role":"tool","content":"x"}]}`, wire.CodeInvalidRequest, "messages[0].tool_call_id"},
		{`{"messages":[{"role":"system","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]}]}`, wire.CodeInvalidRequest, "messages[0].content"},
		{`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"nowhere"}}]}]}`, wire.CodeInvalidRequest, "messages[0].content"},
		{`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png,x"}}]}]}`, wire.CodeInvalidRequest, "messages[0].content"},
		{call(`{"id":"c","type":"function","function":{"name":"f","arguments":"{\"cut"}}`), wire.CodeInvalidRequest, "messages[1].tool_calls"},
		{call(`{"id":"c","type":"function","function":{"name":"f","arguments":"[1]"}}`), wire.CodeInvalidRequest, "messages[1].tool_calls"},
		{call(`{"id":"c","type":"custom"}`), wire.CodeInvalidRequest, "messages[1].tool_calls"},
	} {
		for name, codec := range convertors() {
			_, f := codec.Encode(Request{Endpoint: wire.ChatCompletions, Body: []byte(c.body), Model: "m"})
			if f == nil || f.Err.Code != c.code || f.Verdict != Final || f.Err.Param != c.param {
				t.Errorf("%s: %s: %+v", name, c.body, f)
			}
		}
	}
}

// TestI4FieldNames: a field's name goes into an error only if it looks like
// one.
func TestI4FieldNames(t *testing.T) {
	for name, codec := range convertors() {
		_, f := codec.Encode(Request{Endpoint: wire.ChatCompletions, Body: []byte(`{` + userSaysX + `,"my secret prompt":1}`)})
		if f == nil || f.Err.Code != wire.CodeUnsupportedParam || strings.Contains(f.Err.Message+f.Err.Param, "secret") {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// TestHintsAreFine: fields that promise nothing, and defaults, do not turn a
// request away.
func TestHintsAreFine(t *testing.T) {
	body := `{"model":"x",` + userSaysX + `,"metadata":{"a":"b"},"store":true,"service_tier":"auto","seed":5,"user":"u","n":1,"logprobs":false,
		"top_logprobs":null,"presence_penalty":0,"logit_bias":null,"verbosity":"low","modalities":["text"],"prompt_cache_key":"k","stop":null,
		"tools":[],"tool_choice":"auto","parallel_tool_calls":true,"reasoning_effort":"low","unknown":null,"max_tokens":null}`
	for name, codec := range convertors() {
		if _, f := codec.Encode(Request{Endpoint: wire.ChatCompletions, Body: []byte(body), Model: "m"}); f != nil {
			t.Errorf("%s: %+v", name, f.Err)
		}
	}
}

// TestTurns: messages of one side become one turn, and empty ones none.
func TestTurns(t *testing.T) {
	c, f := readChat(Request{Endpoint: wire.ChatCompletions, Body: []byte(`{"messages":[
		{"role":"user","content":"a"},{"role":"user","content":""},{"role":"user","content":[{"type":"text","text":"b"}]},
		{"role":"assistant","content":""},{"role":"assistant","content":[{"type":"refusal","refusal":"no"}],"refusal":"never"},
		{"role":"assistant","content":"","tool_calls":[{"id":"1","function":{"name":"f","arguments":" "}}]},
		{"role":"tool","tool_call_id":"1","content":"r"},{"role":"user","content":"c"},{"role":"system","content":"late"}]}`)}, chatLimits{api: "X"})
	if f != nil {
		t.Fatal(f.Err)
	}
	system, turns, f := c.turns(chatLimits{api: "X"})
	if f != nil || joined(system) != "late" {
		t.Fatalf("%+v, system %q", f, joined(system))
	}
	var got strings.Builder
	for _, turn := range turns {
		fmt.Fprintf(&got, "%s[", side(turn.user, "other"))
		for _, b := range turn.blocks {
			switch b.kind {
			case callBlock:
				fmt.Fprintf(&got, " call %s %s", b.call.Function.Name, b.input)
			case resultBlock:
				fmt.Fprintf(&got, " result of %s %s", b.name, joined(b.parts))
			default:
				got.WriteString(" " + b.text)
			}
		}
		got.WriteString(" ]")
	}
	if want := "user[ a b ]other[ no never call f {} ]user[ result of f r c ]"; got.String() != want {
		t.Errorf("turns %s, want %s", got.String(), want)
	}
}

// TestWriterUsageRoundTrip: the buckets survive OpenAI's shape, in which they
// are sums.
func TestWriterUsageRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := func() int64 { return r.Int64N(1 << r.IntN(40)) }
		want := wire.Usage{Input: n(), CacheRead: n(), CacheWrite: n(), Output: n(), Reasoning: n()}
		var tl tally
		tl.add(appendUsage(nil, want))
		if got := tl.usage(); got != want || !tl.reported {
			t.Fatalf("%+v came back as %+v", want, got)
		}
	}
}

// TestWriterAgainstText: whatever pieces a text comes in, the whole answer has
// it all, and so have the chunks.
func TestWriterAgainstText(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 3))
	words := []string{"a", "\"", "\\", "\n", "é", "漢", "😀", "<b>", "\u2028", "", "\x00", "}"}
	for range 300 {
		w := newChatWriter(Request{Model: "m", ID: "i"})
		var text, thought, args strings.Builder
		calls := 0
		for range r.IntN(20) {
			s := words[r.IntN(len(words))] + words[r.IntN(len(words))]
			switch r.IntN(3) {
			case 0:
				text.WriteString(s)
				w.text(0, quoted(s))
			case 1:
				thought.WriteString(s)
				w.reasoning(0, quoted(s))
			case 2:
				if calls == 0 {
					w.call(0, "id", "f", "")
					calls++
				}
				args.WriteString(s)
				w.arguments(0, 0, quoted(s))
			}
		}
		w.finish(0, "stop")
		w.end(wire.Usage{Input: 1}, true)
		chunks := w.take()
		checkChunks(t, chunks, w.whole.Answer(), wire.Usage{Input: 1})
		answer := messageOf(t, w.whole.Answer())
		if answer.Content != text.String() || answer.Reasoning != thought.String() || calls > 0 && answer.Calls[0].Function.Arguments != args.String() {
			t.Fatalf("seed %d: %+v, want %q %q %q", seed, answer, text.String(), thought.String(), args.String())
		}
	}
}

// plainMessage is the message of an answer's first choice.
type plainMessage struct {
	Content   string
	Reasoning string     `json:"reasoning_content"`
	Calls     []chatCall `json:"tool_calls"`
}

func messageOf(t *testing.T, answer []byte) plainMessage {
	t.Helper()
	var v struct {
		Choices []struct{ Message plainMessage }
	}
	if err := json.Unmarshal(answer, &v); err != nil || len(v.Choices) != 1 {
		t.Fatalf("%v in %s", err, answer)
	}
	return v.Choices[0].Message
}

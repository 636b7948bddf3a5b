package adapter

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// oracle assembles chat chunks the slow way: decode everything, add it up,
// encode it again. It is what choiceStream is compared with.
type oracle struct {
	head    map[string]any
	choices map[int]map[string]any
}

func (o *oracle) add(t *testing.T, raw []byte) {
	var chunk map[string]any
	if err := json.Unmarshal(raw, &chunk); err != nil {
		t.Fatal(err)
	}
	for k, v := range chunk {
		if k != "choices" && v != nil {
			o.head[k] = v
		}
	}
	for _, c := range chunk["choices"].([]any) {
		in := c.(map[string]any)
		index := int(in["index"].(float64))
		out := o.choices[index]
		if out == nil {
			out = map[string]any{"index": float64(index), "message": map[string]any{"role": "assistant", "content": nil}, "logprobs": nil, "finish_reason": nil}
			o.choices[index] = out
		}
		if f := in["finish_reason"]; f != nil {
			out["finish_reason"] = f
		}
		if l, ok := in["logprobs"].(map[string]any); ok {
			o.addLogs(out, l["content"].([]any))
		}
		if d, ok := in["delta"].(map[string]any); ok {
			o.addDelta(out["message"].(map[string]any), d)
		}
	}
}

func (o *oracle) addLogs(choice map[string]any, more []any) {
	logs, ok := choice["logprobs"].(map[string]any)
	if !ok {
		logs = map[string]any{"content": []any{}}
		choice["logprobs"] = logs
	}
	logs["content"] = append(logs["content"].([]any), more...)
}

func (o *oracle) addDelta(message, delta map[string]any) {
	for _, k := range []string{"content", "reasoning_content"} {
		if s, ok := delta[k].(string); ok {
			was, _ := message[k].(string)
			message[k] = was + s
		}
	}
	calls, ok := delta["tool_calls"].([]any)
	if !ok {
		return
	}
	have, _ := message["tool_calls"].([]any)
	for _, c := range calls {
		in := c.(map[string]any)
		index := int(in["index"].(float64))
		for len(have) <= index {
			have = append(have, map[string]any{"function": map[string]any{"arguments": ""}})
		}
		out := have[index].(map[string]any)
		for _, k := range []string{"id", "type"} {
			if in[k] != nil {
				out[k] = in[k]
			}
		}
		f, g := in["function"].(map[string]any), out["function"].(map[string]any)
		if f["name"] != nil {
			g["name"] = f["name"]
		}
		g["arguments"] = g["arguments"].(string) + f["arguments"].(string)
	}
	message["tool_calls"] = have
}

func (o *oracle) answer() any {
	out := map[string]any{"object": "chat.completion"}
	for k, v := range o.head {
		if k != "object" {
			out[k] = v
		}
	}
	list := []any{}
	for i := range 200 {
		if c := o.choices[i]; c != nil {
			list = append(list, c)
		}
	}
	out["choices"] = list
	return out
}

// chunks draws a stream: several choices, text in odd pieces and escapes, tool
// calls, logprobs, usage at the end.
func chunks(r *rand.Rand) [][]byte {
	pieces := []string{"", "a", " word", `\"`, `\n`, `\\`, `é`, `\u00e9`, `漢`, `\ud83d\ude00`, `{`, `]`, `:,`, `\/`}
	text := func() string {
		var b strings.Builder
		for range r.IntN(4) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		return b.String()
	}
	n := 1 + r.IntN(3)
	tools := make([]int, n) // begun, by choice
	var out [][]byte
	for range 1 + r.IntN(30) {
		i := r.IntN(n)
		var delta string
		switch k := r.IntN(6); {
		case k == 0:
			delta = `{"role":"assistant","content":null}`
		case k == 1:
			delta = `{"reasoning_content":"` + text() + `"}`
		case k == 2:
			delta = fmt.Sprintf(`{"tool_calls":[{"index":%d,"id":"call_%d","type":"function","function":{"name":"f%d","arguments":"%s"}}]}`, tools[i], tools[i], tools[i], text())
			tools[i]++
		case k == 3 && tools[i] > 0:
			delta = fmt.Sprintf(`{"tool_calls":[{"index":%d,"function":{"arguments":"%s"}}]}`, r.IntN(tools[i]), text())
		case k == 4:
			delta = `{}`
		default:
			delta = `{"content":"` + text() + `"}`
		}
		logs := "null"
		if r.IntN(3) == 0 {
			logs = fmt.Sprintf(`{"content":[{"token":"t","logprob":-%d.5}]}`, r.IntN(9))
		}
		out = append(out, fmt.Appendf(nil, `{"id":"x","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":%d,"delta":%s,"logprobs":%s,"finish_reason":null}]}`, i, delta, logs))
	}
	for i := range n {
		out = append(out, fmt.Appendf(nil, `{"id":"x","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":%d,"delta":{},"finish_reason":"stop"}]}`, i))
	}
	return append(out, []byte(`{"id":"x","object":"chat.completion.chunk","created":7,"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}`))
}

// TestAssemblyAgainstOracle compares the assembled answer with the oracle's on
// random streams.
func TestAssemblyAgainstOracle(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 2))
	for round := range 500 {
		o := oracle{head: map[string]any{}, choices: map[int]map[string]any{}}
		s := openAI{}.Stream(Request{Endpoint: wire.ChatCompletions})
		stream := chunks(r)
		for _, c := range stream {
			o.add(t, c)
			if _, f := s.Event("", c); f != nil {
				t.Fatalf("seed %d round %d: %v for %s", seed, round, f.Err, c)
			}
		}
		if step, f := s.Event("", []byte(doneMarker)); !step.Last || f != nil {
			t.Fatalf("seed %d: the marker: %+v, %+v", seed, step, f)
		}
		var got any
		if err := json.Unmarshal(s.Answer(), &got); err != nil {
			t.Fatalf("seed %d round %d: %v in %s", seed, round, err, s.Answer())
		}
		if want := o.answer(); !reflect.DeepEqual(got, want) {
			a, _ := json.Marshal(got)
			b, _ := json.Marshal(want)
			t.Fatalf("seed %d round %d:\ngot  %s\nwant %s", seed, round, a, b)
		}
	}
}

// TestHeldGrows: what a stream keeps in memory is accounted for, so that the
// engine can bound it.
func TestHeldGrows(t *testing.T) {
	s := openAI{}.Stream(Request{Endpoint: wire.ChatCompletions})
	total := 0
	for i := range 100 {
		c := fmt.Appendf(nil, `{"choices":[{"index":0,"delta":{"x%d":["%s"]}}],"k%d":"%s"}`, i, strings.Repeat("y", 100), i, strings.Repeat("z", 100))
		if _, f := s.Event("", c); f != nil {
			t.Fatal(f.Err)
		}
		total += 200
	}
	if held := s.Sum().Held; held < total || held > 2*total {
		t.Errorf("holds %d bytes for %d", held, total)
	}
}

func ExampleLookup() {
	codec, _ := Lookup("openai")
	enc, failure := codec.Encode(Request{
		Endpoint: wire.ChatCompletions, Model: "gpt-4o-mini", Stream: true,
		Body: []byte(`{"model":"chat","messages":[{"role":"user","content":"hi"}]}`),
	})
	fmt.Println(enc.Method, enc.Path, failure == nil)
	fmt.Println(string(enc.Body))
	// Output:
	// POST /chat/completions true
	// {"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true}}
}

func ExampleCodec_classify() {
	codec, _ := Lookup("openai")
	f := codec.Classify(Refusal{Status: 429, Header: headers("Retry-After", "20"),
		Body: []byte(`{"error":{"message":"words nobody looks at","type":"tokens","code":"rate_limit_exceeded"}}`)})
	fmt.Println(f.Err.Code, f.Verdict, f.RetryAfter)
	fmt.Println(f.Err.Message)
	// Output:
	// rate_limited retry_later 20s
	// the provider answered 429 (tokens, rate_limit_exceeded): lower the pool's limits or add another candidate
}

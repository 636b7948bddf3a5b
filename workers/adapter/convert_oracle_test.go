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
	"github.com/sluicehq/sluice/workers/sse"
)

// made is a random answer, which each provider's shape can tell.
type made struct {
	blocks []madeBlock
	reason int // an index into each maker's reasons
	usage  wire.Usage
}

// madeBlock is a thought, a text or a call.
type madeBlock struct {
	kind, text, signature, id, name string
	args                            map[string]any
}

// reasons are the finish reasons of OpenAI that makers have in their own
// words, in this order.
var reasons = []string{"stop", "length", "content_filter", "tool_calls"}

func word(r *rand.Rand) string {
	words := []string{"a", " word", "\"", "\\", "\n", "é", "漢", "😀", "<b>&", "\u2028", "\t", "}]", "\x01", "data: "}
	var b strings.Builder
	for range 1 + r.IntN(5) {
		b.WriteString(words[r.IntN(len(words))])
	}
	return b.String()
}

func makeAnswer(r *rand.Rand) made {
	m := made{reason: r.IntN(3), usage: wire.Usage{Input: r.Int64N(1e6), CacheRead: r.Int64N(1e6), Output: 1 + r.Int64N(1e6)}}
	if r.IntN(2) == 0 {
		m.blocks = append(m.blocks, madeBlock{kind: "thought", text: word(r), signature: fmt.Sprintf("S%d==", r.IntN(99))})
	}
	for range r.IntN(3) {
		m.blocks = append(m.blocks, madeBlock{kind: "text", text: word(r)})
	}
	for i := range r.IntN(3) {
		args := map[string]any{}
		for j := range r.IntN(3) {
			args[fmt.Sprint("k", j, word(r))] = []any{word(r), float64(j), nil, true}[r.IntN(4)]
		}
		m.blocks = append(m.blocks, madeBlock{kind: "call", id: fmt.Sprint("id", i), name: fmt.Sprint("f", i), args: args})
		m.reason = 3
	}
	return m
}

// pieces cuts text between its characters.
func pieces(r *rand.Rand, text string) []string {
	out := []string{""}
	for _, c := range text {
		if r.IntN(2) == 0 {
			out = append(out, "")
		}
		out[len(out)-1] += string(c)
	}
	return out
}

type j = map[string]any

// maker tells an answer as a provider does, streamed and whole.
type maker func(r *rand.Rand, m made) (stream []sse.Event, whole []byte)

func event(name string, v any) sse.Event {
	b, _ := json.Marshal(v)
	return sse.Event{Name: name, Data: b}
}

func makeAnthropic(r *rand.Rand, m made) (stream []sse.Event, whole []byte) {
	say := func(kind string, v j) { v["type"] = kind; stream = append(stream, event(kind, v)) }
	usage := j{"input_tokens": m.usage.Input, "cache_read_input_tokens": m.usage.CacheRead, "output_tokens": 1}
	head := func(content any) j {
		return j{"id": "msg", "type": "message", "role": "assistant", "model": "claude", "content": content, "stop_reason": nil, "usage": usage}
	}
	say("message_start", j{"message": head([]any{})})
	content := []any{}
	for i, b := range m.blocks {
		delta := func(kind, member, text string) {
			for _, p := range pieces(r, text) {
				say("content_block_delta", j{"index": i, "delta": j{"type": kind, member: p}})
			}
		}
		switch b.kind {
		case "thought":
			say("content_block_start", j{"index": i, "content_block": j{"type": "thinking", "thinking": "", "signature": ""}})
			delta("thinking_delta", "thinking", b.text)
			say("content_block_delta", j{"index": i, "delta": j{"type": "signature_delta", "signature": b.signature}})
			content = append(content, j{"type": "thinking", "thinking": b.text, "signature": b.signature})
		case "text":
			say("content_block_start", j{"index": i, "content_block": j{"type": "text", "text": ""}})
			delta("text_delta", "text", b.text)
			content = append(content, j{"type": "text", "text": b.text})
		case "call":
			args, _ := json.Marshal(b.args)
			say("content_block_start", j{"index": i, "content_block": j{"type": "tool_use", "id": b.id, "name": b.name, "input": j{}}})
			delta("input_json_delta", "partial_json", string(args))
			content = append(content, j{"type": "tool_use", "id": b.id, "name": b.name, "input": b.args})
		}
		say("content_block_stop", j{"index": i})
		if r.IntN(3) == 0 {
			say("ping", j{})
		}
	}
	stop := []string{"end_turn", "max_tokens", "refusal", "tool_use"}[m.reason]
	say("message_delta", j{"delta": j{"stop_reason": stop}, "usage": j{"output_tokens": m.usage.Output}})
	say("message_stop", j{})
	end := head(content)
	usage["output_tokens"], end["stop_reason"] = m.usage.Output, stop
	whole, _ = json.Marshal(end)
	return stream, whole
}

func makeBedrock(r *rand.Rand, m made) (stream []sse.Event, whole []byte) {
	say := func(kind string, v j) { stream = append(stream, event(kind, v)) }
	usage := j{"inputTokens": m.usage.Input, "cacheReadInputTokens": m.usage.CacheRead, "outputTokens": m.usage.Output}
	say("messageStart", j{"role": "assistant"})
	content := []any{}
	for i, b := range m.blocks {
		delta := func(text string, make func(p string) j) {
			for _, p := range pieces(r, text) {
				say("contentBlockDelta", j{"contentBlockIndex": i, "delta": make(p)})
			}
		}
		switch b.kind {
		case "thought":
			delta(b.text, func(p string) j { return j{"reasoningContent": j{"text": p}} })
			say("contentBlockDelta", j{"contentBlockIndex": i, "delta": j{"reasoningContent": j{"signature": b.signature}}})
			content = append(content, j{"reasoningContent": j{"reasoningText": j{"text": b.text, "signature": b.signature}}})
		case "text":
			delta(b.text, func(p string) j { return j{"text": p} })
			content = append(content, j{"text": b.text})
		case "call":
			args, _ := json.Marshal(b.args)
			say("contentBlockStart", j{"contentBlockIndex": i, "start": j{"toolUse": j{"toolUseId": b.id, "name": b.name}}})
			delta(string(args), func(p string) j { return j{"toolUse": j{"input": p}} })
			content = append(content, j{"toolUse": j{"toolUseId": b.id, "name": b.name, "input": b.args}})
		}
		say("contentBlockStop", j{"contentBlockIndex": i})
	}
	stop := []string{"stop_sequence", "model_context_window_exceeded", "content_filtered", "tool_use"}[m.reason]
	say("messageStop", j{"stopReason": stop})
	say("metadata", j{"usage": usage})
	whole, _ = json.Marshal(j{"output": j{"message": j{"role": "assistant", "content": content}}, "stopReason": stop, "usage": usage})
	return stream, whole
}

func makeGemini(r *rand.Rand, m made) (stream []sse.Event, whole []byte) {
	usage := j{"promptTokenCount": m.usage.Input + m.usage.CacheRead, "cachedContentTokenCount": m.usage.CacheRead, "candidatesTokenCount": m.usage.Output}
	answer := func(parts []any, stop string, usage j) j {
		c := j{"index": 0, "content": j{"role": "model", "parts": parts}}
		if stop != "" {
			c["finishReason"] = stop
		}
		return j{"candidates": []any{c}, "usageMetadata": usage, "modelVersion": "gemini", "responseId": "r"}
	}
	early := j{"promptTokenCount": m.usage.Input + m.usage.CacheRead, "candidatesTokenCount": m.usage.Output / 2}
	all := []any{}
	for _, b := range m.blocks {
		if b.kind == "call" {
			part := j{"functionCall": j{"id": b.id, "name": b.name, "args": b.args}, "thoughtSignature": "T=="}
			all = append(all, part)
			stream = append(stream, event("", answer([]any{part}, "", early)))
			continue
		}
		part := func(text string) j { return j{"text": text, "thought": b.kind == "thought"} }
		all = append(all, part(b.text))
		for _, p := range pieces(r, b.text) {
			stream = append(stream, event("", answer([]any{part(p)}, "", early)))
		}
	}
	stop := []string{"STOP", "MAX_TOKENS", "PROHIBITED_CONTENT", "STOP"}[m.reason]
	stream = append(stream, event("", answer([]any{}, stop, usage)))
	whole, _ = json.Marshal(answer(all, stop, usage))
	return stream, whole
}

// TestConversionsAgainstOracle: a random answer, in whatever pieces a provider
// streams it, comes out as what was put in, and the same as when it is whole.
func TestConversionsAgainstOracle(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 4))
	for name, tell := range map[string]maker{"anthropic": makeAnthropic, "bedrock": makeBedrock, "gemini": makeGemini} {
		codec, _ := Lookup(name)
		for round := range 300 {
			m := makeAnswer(r)
			events, native := tell(r, m)
			req := Request{Endpoint: wire.ChatCompletions, Model: "m", Stream: true, ID: "i"}
			p := playEvents(codec, req, events, true)
			if p.f != nil || !p.last {
				t.Fatalf("%s seed %d round %d: last %v, %+v", name, seed, round, p.last, p.f)
			}
			checkChunks(t, p.chunks, p.s.Answer(), m.usage)
			whole, a, f := codec.Decode(req, native)
			if f != nil || a.Usage != m.usage || p.s.Sum().Usage != m.usage {
				t.Fatalf("%s seed %d: %+v, usage %+v and %+v, want %+v", name, seed, f, a.Usage, p.s.Sum().Usage, m.usage)
			}
			if got, want := withArguments(t, p.s.Answer()), withArguments(t, whole); !reflect.DeepEqual(got, want) {
				t.Fatalf("%s seed %d round %d: streamed\n%s\nwhole\n%s", name, seed, round, p.s.Answer(), whole)
			}
			m.compare(t, fmt.Sprintf("%s seed %d round %d", name, seed, round), whole)
		}
	}
}

// compare looks for everything that was put in.
func (m made) compare(t *testing.T, what string, answer []byte) {
	t.Helper()
	var v struct {
		Choices []struct {
			Finish string `json:"finish_reason"`
		}
	}
	if err := json.Unmarshal(answer, &v); err != nil || len(v.Choices) != 1 || v.Choices[0].Finish != reasons[m.reason] {
		t.Fatalf("%s: %v, want %s: %s", what, err, reasons[m.reason], answer)
	}
	got := messageOf(t, answer)
	var text, thought string
	calls := 0
	for _, b := range m.blocks {
		switch b.kind {
		case "text":
			text += b.text
		case "thought":
			thought += b.text
		case "call":
			c := got.Calls[calls]
			calls++
			var args map[string]any
			if err := json.Unmarshal([]byte(c.Function.Arguments), &args); err != nil || c.ID != b.id || c.Function.Name != b.name || !reflect.DeepEqual(args, b.args) {
				t.Fatalf("%s: call %+v, want %+v (%v)", what, c, b, err)
			}
		}
	}
	if got.Content != text || got.Reasoning != thought || len(got.Calls) != calls {
		t.Fatalf("%s: %+v, want %q, %q and %d calls", what, got, text, thought, calls)
	}
}

// TestNextTurn: what comes out of an adapter goes back into it as the history
// of the next turn, with the signatures that its provider wants to see again.
func TestNextTurn(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 5))
	for name, tell := range map[string]maker{"anthropic": makeAnthropic, "bedrock": makeBedrock, "gemini": makeGemini} {
		codec, _ := Lookup(name)
		for range 100 {
			m := makeAnswer(r)
			_, native := tell(r, m)
			whole, _, f := codec.Decode(Request{Endpoint: wire.ChatCompletions, ID: "i"}, native)
			if f != nil {
				t.Fatalf("%s seed %d: %+v", name, seed, f)
			}
			var v struct {
				Choices []struct{ Message json.RawMessage }
			}
			if err := json.Unmarshal(whole, &v); err != nil {
				t.Fatal(err)
			}
			messages := []any{j{"role": "user", "content": "x"}, v.Choices[0].Message}
			for _, b := range m.blocks {
				if b.kind == "call" {
					messages = append(messages, j{"role": "tool", "tool_call_id": b.id, "content": "result of " + b.id})
				}
			}
			body, _ := json.Marshal(j{"messages": append(messages, j{"role": "user", "content": "go on"})})
			enc, f := codec.Encode(Request{Endpoint: wire.ChatCompletions, Body: body, Model: "m"})
			if f != nil {
				t.Fatalf("%s seed %d: %+v for %s", name, seed, f.Err, body)
			}
			m.inHistory(t, fmt.Sprintf("%s seed %d", name, seed), name, enc.Body)
		}
	}
}

func (m made) inHistory(t *testing.T, what, name string, sent []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(sent, &v); err != nil {
		t.Fatal(err)
	}
	sent = marshal(v) // with the escapes of the rest
	for _, b := range m.blocks {
		var want []any
		switch {
		case b.kind == "call":
			want = []any{b.name, b.args, "result of " + b.id}
			if name == "gemini" {
				want = append(want, "T==")
			}
		case b.kind == "thought" && name != "gemini": // which has signatures on calls only
			want = []any{b.text, b.signature}
		}
		for _, w := range want {
			if raw := marshal(w); !strings.Contains(string(sent), string(raw)) {
				t.Fatalf("%s: %s is not in %s", what, raw, sent)
			}
		}
	}
}

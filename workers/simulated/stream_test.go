package simulated

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/workers/sse"
)

// events reads a stream's events; [DONE] comes as nil.
func events(t testing.TB, r io.Reader) []map[string]any {
	t.Helper()
	var out []map[string]any
	for s := sse.NewReader(r, 0); ; {
		ev, err := s.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if string(ev.Data) == "[DONE]" {
			out = append(out, nil)
			continue
		}
		var v map[string]any
		if err := json.Unmarshal(ev.Data, &v); err != nil {
			t.Fatalf("%v in %s", err, ev.Data)
		}
		if ev.Name != "" && v["type"] != ev.Name {
			t.Errorf("event %s has the type %v", ev.Name, v["type"])
		}
		out = append(out, v)
	}
}

func open(t testing.TB, p *Provider, path, body string) io.ReadCloser {
	t.Helper()
	resp, err := p.RoundTrip(request(context.Background(), path, "k", body))
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("Content-Type %s", got)
	}
	return resp.Body
}

// TestChatStream looks at the shape that OpenAI's clients rely on.
func TestChatStream(t *testing.T) {
	p, _ := provider(t, Config{MinTokens: 3, MaxTokens: 3})
	for _, usage := range []bool{false, true} {
		body := open(t, p, "/chat/completions", fmt.Sprintf(ping+`,"stream":true,"stream_options":{"include_usage":%v}}`, usage))
		got := events(t, body)
		want := 6 // role, three words, finish, [DONE]
		if usage {
			want = 7
		}
		if len(got) != want || got[len(got)-1] != nil {
			t.Fatalf("usage %v: %d events", usage, len(got))
		}
		id := got[0]["id"]
		for i, ev := range got[:len(got)-1] {
			if ev["id"] != id || ev["object"] != "chat.completion.chunk" || ev["model"] != "m" {
				t.Errorf("event %d: %v", i, ev)
			}
			if u, has := ev["usage"]; has != usage || u != nil && i != want-2 {
				t.Errorf("event %d: usage %v", i, u)
			}
		}
		if role := delta(got[0])["role"]; role != "assistant" {
			t.Errorf("role %v", role)
		}
		var text string
		for _, ev := range got[1:4] {
			text += delta(ev)["content"].(string)
		}
		if len(strings.Fields(text)) != 3 || strings.TrimSpace(text) != text {
			t.Errorf("text %q", text)
		}
		if last := choice(got[4]); last["finish_reason"] != "stop" {
			t.Errorf("finish %v", last)
		}
		if usage {
			if u := got[5]["usage"].(map[string]any); u["completion_tokens"] != 3.0 || len(got[5]["choices"].([]any)) != 0 {
				t.Errorf("usage event %v", got[5])
			}
		}
	}
}

func choice(ev map[string]any) map[string]any {
	return ev["choices"].([]any)[0].(map[string]any)
}

func delta(ev map[string]any) map[string]any {
	return choice(ev)["delta"].(map[string]any)
}

// TestResponsesStream: the order of events, their numbers, and the answer in the
// last one.
func TestResponsesStream(t *testing.T) {
	for _, c := range []struct{ fields, last, status string }{
		{"", "response.completed", "completed"},
		{`,"max_output_tokens":2`, "response.incomplete", "incomplete"},
	} {
		p, _ := provider(t, Config{MinTokens: 3, MaxTokens: 3})
		got := events(t, open(t, p, "/responses", `{"model":"m","stream":true,"input":"x"`+c.fields+`}`))
		var text string
		for i, ev := range got {
			if ev["sequence_number"] != float64(i) {
				t.Errorf("event %d has the number %v", i, ev["sequence_number"])
			}
			if ev["type"] == "response.output_text.delta" {
				text += ev["delta"].(string)
			}
		}
		if got[0]["type"] != "response.created" {
			t.Errorf("begins with %v", got[0]["type"])
		}
		last := got[len(got)-1]
		response, _ := last["response"].(map[string]any)
		if last["type"] != c.last || response["status"] != c.status {
			t.Fatalf("ends with %v", last)
		}
		item := response["output"].([]any)[0].(map[string]any)
		if whole := item["content"].([]any)[0].(map[string]any)["text"]; whole != text || text == "" {
			t.Errorf("the deltas say %q, the answer %q", text, whole)
		}
	}
}

// TestStreamEqualsWhole: the same call both ways has the same words and usage.
func TestStreamEqualsWhole(t *testing.T) {
	p, lines := provider(t, Config{ReasoningShare: 0.3, CacheShare: 0.3})
	for i, path := range []string{"/chat/completions", "/completions", "/responses"} {
		in := `{"model":"m","messages":[{"role":"user","content":"a b c"}],"prompt":"a b c","input":"a b c"`
		_, answer, _ := ask(t, p, path, "k", in+"}")
		r := parse(t, answer)
		var want string
		switch {
		case len(r.Output) > 0:
			want = r.Output[0].Content[0].Text
		case r.Choices[0].Text != "":
			want = r.Choices[0].Text
		default:
			want = r.Choices[0].Message.Content
		}
		var got string
		for _, ev := range events(t, open(t, p, path, in+`,"stream":true}`)) {
			switch {
			case ev == nil:
			case ev["type"] == "response.output_text.delta":
				got += ev["delta"].(string)
			case ev["choices"] != nil && path == "/completions":
				got += choice(ev)["text"].(string)
			case ev["choices"] != nil:
				if s, ok := delta(ev)["content"].(string); ok {
					got += s
				}
			}
		}
		if got != want || got == "" {
			t.Errorf("%s: streamed %q, whole %q", path, got, want)
		}
		a, b := lines()[2*i], lines()[2*i+1]
		if b.Stream = false; a.Output != b.Output || a.Reasoning != b.Reasoning || a.Input != b.Input {
			t.Errorf("%s: books %+v and %+v", path, a, b)
		}
	}
}

// TestAnyReadSize: how the answer is read changes nothing.
func TestAnyReadSize(t *testing.T) {
	p, _ := provider(t, Config{})
	body := ping + `,"stream":true}`
	want, err := io.ReadAll(open(t, p, "/chat/completions", body))
	if err != nil {
		t.Fatal(err)
	}
	for name, wrap := range map[string]func(io.Reader) io.Reader{"bytes": iotest.OneByteReader, "halves": iotest.HalfReader} {
		got, err := io.ReadAll(wrap(open(t, p, "/chat/completions", body)))
		if err != nil || string(got) != string(want) {
			t.Errorf("%s: %v, %d bytes, want %d", name, err, len(got), len(want))
		}
	}
}

// TestPace: each token comes at its time, and the books know how many came.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := provider(t, Config{TimeToFirstToken: time.Second, TokensPerSecond: 4, Fill: true})
		start := time.Now()
		body := open(t, p, "/chat/completions", ping+`,"max_tokens":9,"stream":true}`)
		if d := time.Since(start); d != 0 {
			t.Errorf("the header came after %s", d)
		}
		var at []time.Duration
		s := sse.NewReader(body, 0)
		for {
			ev, err := s.Next()
			if err != nil {
				break
			}
			if strings.Contains(string(ev.Data), `{"content":"`) {
				at = append(at, time.Since(start))
			}
		}
		for i, d := range at {
			if want := time.Second + time.Duration(i)*250*time.Millisecond; d != want {
				t.Errorf("token %d after %s, want %s", i, d, want)
			}
		}
		if len(at) != 9 {
			t.Errorf("%d tokens", len(at))
		}
		start = time.Now()
		if _, _, err := ask(t, p, "/embeddings", "k", `{"model":"m","input":"x"}`); err != nil || time.Since(start) != time.Second {
			t.Errorf("embeddings after %s, %v", time.Since(start), err)
		}
	})
}

// TestI5NoTimers: a provider without latencies answers in no time at all.
func TestI5NoTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := provider(t, Config{})
		start := time.Now()
		for _, stream := range []string{"false", "true"} {
			_, _, _ = ask(t, p, "/chat/completions", "k", ping+`,"stream":`+stream+`}`) // only its time counts
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("took %s", d)
		}
	})
}

package adapter

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/sse"
)

// endpointOf is the endpoint that a transcript in testdata belongs to.
func endpointOf(file string) wire.Endpoint {
	switch name, _, _ := strings.Cut(filepath.Base(file), "_"); name {
	case "responses":
		return wire.Responses
	case "completions":
		return wire.Completions
	}
	return wire.ChatCompletions
}

// play gives a transcript to a stream, until it fails or says last.
func play(t testing.TB, e wire.Endpoint, transcript []byte) (s Stream, last bool, events, content int, f *Failure) {
	t.Helper()
	s = openAI{}.Stream(Request{Endpoint: e})
	r := sse.NewReader(bytes.NewReader(transcript), 0)
	for {
		ev, err := r.Next()
		if err == io.EOF {
			return s, false, events, content, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		step, f := s.Event(ev.Name, ev.Data)
		events++
		if step.Content {
			content++
		}
		if step.Last || f != nil {
			return s, step.Last, events, content, f
		}
	}
}

// TestTranscripts assembles every transcript and compares the answer byte by
// byte.
func TestTranscripts(t *testing.T) {
	usage := map[string]wire.Usage{
		"chat_text.sse":        {Input: 176, CacheRead: 1024, Output: 44, Reasoning: 256},
		"chat_tools.sse":       {Input: 80, Output: 30},
		"chat_many.sse":        {Input: 10, Output: 6}, // the highest of the cumulative reports
		"completions_text.sse": {Input: 4, Output: 2},
		"responses_text.sse":   {Input: 20, CacheRead: 20, CacheWrite: 10, Output: 10, Reasoning: 30},
	}
	files, _ := filepath.Glob("testdata/*.sse")
	if len(files) != len(usage) {
		t.Fatalf("%d transcripts, want %d", len(files), len(usage))
	}
	for _, file := range files {
		transcript, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(strings.TrimSuffix(file, ".sse") + ".json")
		if err != nil {
			t.Fatal(err)
		}
		s, last, _, content, f := play(t, endpointOf(file), transcript)
		if f != nil || !last || content == 0 {
			t.Errorf("%s: last %v, %d with content, %+v", file, last, content, f)
			continue
		}
		if got := s.Answer(); string(got) != strings.TrimSpace(string(want)) {
			t.Errorf("%s: answer\n%s\nwant\n%s", file, got, want)
		}
		sum := s.Sum()
		if sum.Usage != usage[filepath.Base(file)] || !sum.Reported {
			t.Errorf("%s: usage %+v reported %v", file, sum.Usage, sum.Reported)
		}
		if _, f := readAnswer(endpointOf(file), s.Answer()); f != nil {
			t.Errorf("%s: the assembled answer is none: %v", file, f.Err)
		}
	}
}

// TestI3OnlyTheMarkerEnds drops events from the end of each transcript: none of
// them may pass as a whole answer.
func TestI3OnlyTheMarkerEnds(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.sse")
	for _, file := range files {
		transcript, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		events := bytes.SplitAfter(transcript, []byte("\n\n"))
		for n := range len(events) - 2 {
			if _, last, _, _, f := play(t, endpointOf(file), bytes.Join(events[:n], nil)); last || f != nil {
				t.Errorf("%s: the first %d events: last %v, %+v", file, n, last, f)
			}
		}
	}
}

func TestStreamFailures(t *testing.T) {
	head := `data: {"id":"x","choices":[{"index":0,"delta":{"content":"part"},"finish_reason":null}]}` + "\n\n"
	for _, c := range []struct {
		name string
		e    wire.Endpoint
		in   string
		code wire.Code
		v    Verdict
	}{
		{"cut JSON", wire.ChatCompletions, head + `data: {"id":"x","choi` + "\n\n", wire.CodeStreamGarbled, RetryElsewhere},
		{"no object", wire.ChatCompletions, head + "data: 5\n\n", wire.CodeStreamGarbled, RetryElsewhere},
		{"null", wire.ChatCompletions, head + "data: null\n\n", wire.CodeStreamGarbled, RetryElsewhere},
		{"not UTF-8", wire.ChatCompletions, head + "data: {\"a\":\"\xff\"}\n\n", wire.CodeStreamGarbled, RetryElsewhere},
		{"only the marker", wire.ChatCompletions, "data: [DONE]\n\n", wire.CodeStreamTruncated, RetryElsewhere},
		{"too many choices", wire.ChatCompletions, `data: {"choices":[` + manyChoices(200) + "]}\n\n", wire.CodeStreamGarbled, RetryElsewhere},
		{"error object", wire.ChatCompletions, head + `data: {"error":{"message":"secret words","type":"server_error","code":null}}` + "\n\n", wire.CodeProviderError, RetryElsewhere},
		{"rate limit", wire.ChatCompletions, head + `data: {"error":{"message":"slow","code":"rate_limit_exceeded"}}` + "\n\n", wire.CodeRateLimited, RetryLater},
		{"numeric code", wire.ChatCompletions, head + `data: {"error":{"message":"x","code":429},"choices":[]}` + "\n\n", wire.CodeRateLimited, RetryLater},
		{"code as text", wire.ChatCompletions, head + `data: {"error":{"message":"x","code":"400"}}` + "\n\n", wire.CodeProviderRefused, Final},
		{"error as text", wire.ChatCompletions, head + `data: {"error":"boom"}` + "\n\n", wire.CodeProviderError, RetryElsewhere},
		{"vLLM's shape", wire.ChatCompletions, head + `data: {"object":"error","message":"x","type":"BadRequestError","code":400}` + "\n\n", wire.CodeProviderRefused, Final},
		{"error in completions", wire.Completions, `data: {"error":{"type":"overloaded_error"}}` + "\n\n", wire.CodeProviderError, RetryElsewhere},
		{"response failed", wire.Responses, `data: {"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"x"}}}` + "\n\n", wire.CodeProviderError, RetryElsewhere},
		{"response refused", wire.Responses, `data: {"type":"response.failed","response":{"status":"failed","error":{"code":"invalid_prompt","message":"x"}}}` + "\n\n", wire.CodeProviderRefused, Final},
		{"error event", wire.Responses, "event: error\n" + `data: {"type":"error","code":"rate_limit_exceeded","message":"x","param":null}` + "\n\n", wire.CodeRateLimited, RetryLater},
		{"bare error", wire.Responses, `data: {"error":{"code":"server_error"}}` + "\n\n", wire.CodeProviderError, RetryElsewhere},
		{"completed without response", wire.Responses, `data: {"type":"response.completed"}` + "\n\n", wire.CodeStreamGarbled, RetryElsewhere},
		{"garbled response", wire.Responses, "data: {\n\n", wire.CodeStreamGarbled, RetryElsewhere},
	} {
		_, last, _, _, f := play(t, c.e, []byte(c.in))
		if f == nil || last || f.Err.Code != c.code || f.Verdict != c.v {
			t.Errorf("%s: last %v, %+v; want %s, %s", c.name, last, f, c.code, c.v)
			continue
		}
		if strings.Contains(f.Err.Message, "secret") {
			t.Errorf("%s: the provider's words are in the error: %s", c.name, f.Err.Message)
		}
	}
}

func manyChoices(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"index":` + string(appendInt(nil, int64(i))) + `,"delta":{"content":"x"}}`)
	}
	return b.String()
}

// TestPartialSum is what a cut stream reports: the text so far.
func TestPartialSum(t *testing.T) {
	s, _, _, _, _ := play(t, wire.ChatCompletions, []byte(
		`data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"four"}}]}`+"\n\n"+
			`data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"not counted","function":{"name":"name","arguments":"args"}}]}}]}`+"\n\n"))
	sum := s.Sum()
	if sum.Text != 12 || sum.Reported {
		t.Errorf("sum %+v", sum)
	}
	u, source := UsageOf(sum, 401)
	if want := (wire.Usage{Input: 101, Output: 3}); u != want || source != wire.UsageEstimated {
		t.Errorf("usage %+v from %s", u, source)
	}
}

// TestMergeOddities: what relatives of the API do to deltas.
func TestMergeOddities(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 200) + `"x"` + strings.Repeat(`}`, 200)
	for _, c := range []struct {
		name, want string
		deltas     []string
	}{
		{"tools without index", `{"role":"assistant","tool_calls":[{"id":"a"},{"id":"b"}],"content":null}`,
			[]string{`{"role":"assistant","tool_calls":[{"id":"a"}]}`, `{"tool_calls":[{"id":"b"}]}`}},
		{"function_call", `{"function_call":{"name":"f","arguments":"{\"a\":1}"},"role":"assistant","content":null}`,
			[]string{`{"function_call":{"name":"f","arguments":""}}`, `{"function_call":{"arguments":"{\"a\":"}}`, `{"function_call":{"arguments":"1}"}}`}},
		{"name in pieces", `{"function_call":{"name":"get_time"},"role":"assistant","content":null}`,
			[]string{`{"function_call":{"name":"get_"}}`, `{"function_call":{"name":"time"}}`}},
		{"no role", `{"content":"a","role":"assistant"}`, []string{`{"content":"a"}`}},
		{"null after text", `{"content":"ab","role":"assistant"}`, []string{`{"content":"a"}`, `{"content":null}`, `{"content":"b"}`}},
		{"kind changes", `{"content":"b","role":"assistant"}`, []string{`{"content":[1]}`, `{"content":"b"}`}},
		{"numbers replace", `{"n":2,"content":null,"role":"assistant"}`, []string{`{"n":1,"content":null}`, `{"n":2}`}},
		{"delta is null", `{"role":"assistant","content":null}`, []string{`null`}},
		{"very deep", `{"x":` + deep + `,"role":"assistant","content":null}`, []string{`{"x":` + deep + `}`}},
	} {
		var ch choice
		for _, d := range c.deltas {
			ch.message.merge([]byte(d))
		}
		got := string(ch.appendMessage(nil))
		if !sameJSON(t, got, c.want) {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func sameJSON(t testing.TB, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Errorf("%v in %s", err, a)
		return false
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Fatal(err)
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return bytes.Equal(p, q)
}

// FuzzStream: no transcript panics, and what is assembled is JSON.
func FuzzStream(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.sse")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("data: {\"choices\":[{\"delta\":{\"\":\"\\u00\",\"a\":[{\"index\":1e9}]}}],\"\\n\":1}\n\ndata: [DONE]\n\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, e := range []wire.Endpoint{wire.ChatCompletions, wire.Completions, wire.Responses} {
			s := openAI{}.Stream(Request{Endpoint: e})
			r := sse.NewReader(bytes.NewReader(in), 0)
			for {
				ev, err := r.Next()
				if err != nil {
					break
				}
				step, fail := s.Event(ev.Name, ev.Data)
				if fail != nil {
					break
				}
				if step.Last {
					if !json.Valid(s.Answer()) {
						t.Fatalf("assembled %s", s.Answer())
					}
					break
				}
			}
			if u := s.Sum().Usage; min(u.Input, u.CacheRead, u.CacheWrite, u.Output, u.Reasoning) < 0 {
				t.Fatalf("usage below zero: %+v", u)
			}
		}
	})
}

func BenchmarkEvent(b *testing.B) {
	data := []byte(`{"id":"chatcmpl-9aB","object":"chat.completion.chunk","created":1767225600,"model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}],"usage":null}`)
	b.ReportAllocs()
	s := openAI{}.Stream(Request{Endpoint: wire.ChatCompletions})
	for b.Loop() {
		if _, f := s.Event("", data); f != nil {
			b.Fatal(f.Err)
		}
	}
}

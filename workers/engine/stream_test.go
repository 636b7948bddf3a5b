package engine_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/adapter"
	"github.com/sluicehq/sluice/workers/engine"
)

var recorded = map[string]wire.Endpoint{
	"chat_text.sse": wire.ChatCompletions, "chat_tools.sse": wire.ChatCompletions, "chat_many.sse": wire.ChatCompletions,
	"completions_text.sse": wire.Completions, "responses_text.sse": wire.Responses,
}

// payloads are the data of a transcript's events.
func payloads(b []byte) []string {
	var out []string
	for line := range strings.Lines(string(b)) {
		if d, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "data: "); ok {
			out = append(out, d)
		}
	}
	return out
}

// TestI2EventsUnchanged plays every transcript, in pieces of several sizes and
// with each line ending.
func TestI2EventsUnchanged(t *testing.T) {
	for name, ep := range recorded {
		b := transcript(t, name)
		want := payloads(b)
		for _, body := range [][]byte{b, append(bytes.Clone(b), "\n\n"...), bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))} {
			for _, pieces := range []int{0, 1, 7} {
				s := &script{kind: "text/event-stream; charset=utf-8", body: body, pieces: pieces}
				c, h := streamCall(ep)
				o := endpoint(t, s, nil).Do(context.Background(), c)
				h.check(t, name)
				if o.Status != wire.Succeeded || o.Source != wire.UsageFromProvider || o.TTFT <= 0 || o.Latency < o.TTFT {
					t.Fatalf("%s: %+v", name, o)
				}
				if strings.Join(h.events, "\n") != strings.Join(want, "\n") {
					t.Errorf("%s: events %q", name, h.events)
				}
				if g := strings.TrimSpace(string(transcript(t, strings.TrimSuffix(name, ".sse")+".json"))); string(o.Body) != g {
					t.Errorf("%s: answer %s", name, o.Body)
				}
				if !s.closed {
					t.Errorf("%s: the body was not closed", name)
				}
			}
		}
	}
}

// TestTruncatedAnywhere cuts every transcript after every byte, with a clean and
// a broken end: none may pass as an answer, whatever the socket says.
func TestTruncatedAnywhere(t *testing.T) {
	for name, ep := range recorded {
		b := transcript(t, name)
		step := 1
		if testing.Short() {
			step = 17
		}
		for n := 0; n < len(b); n += step {
			for _, end := range []error{nil, io.ErrUnexpectedEOF} {
				c, h := streamCall(ep)
				o := endpoint(t, &script{kind: "text/event-stream", body: b[:n], end: end}, nil).Do(context.Background(), c)
				h.check(t, name)
				if o.Status != wire.Failed || o.Err.Code != wire.CodeStreamTruncated || o.Verdict != engine.RetryElsewhere || o.Body != nil {
					t.Fatalf("%s cut at %d of %d: %+v", name, n, len(b), o)
				}
				if o.Usage.Input == 0 {
					t.Fatalf("%s cut at %d: no usage", name, n)
				}
				if k := len(h.events); k > 0 && !strings.Contains(h.events[k-1], `"code":"stream_truncated"`) {
					t.Fatalf("%s cut at %d: ends with %s", name, n, h.events[k-1])
				}
			}
		}
	}
}

// TestGarbledAnywhere breaks each event in turn.
func TestGarbledAnywhere(t *testing.T) {
	for name, ep := range recorded {
		lines := bytes.SplitAfter(append(transcript(t, name), "\n\n"...), []byte("\n"))
		for i, line := range lines {
			if !bytes.HasPrefix(line, []byte("data: {")) {
				continue
			}
			broken := bytes.Clone(bytes.Join(lines, nil))
			at := len(bytes.Join(lines[:i], nil)) + len("data: ")
			broken[at] = '['
			c, h := streamCall(ep)
			o := endpoint(t, &script{kind: "text/event-stream", body: broken}, nil).Do(context.Background(), c)
			h.check(t, name)
			if o.Status != wire.Failed || o.Err.Code != wire.CodeStreamGarbled {
				t.Errorf("%s garbled in line %d: %+v", name, i, o)
			}
			if strings.Contains(strings.Join(h.events, ""), "data: [") {
				t.Errorf("%s: the broken event was handed on", name)
			}
		}
	}
}

func TestErrorInStream(t *testing.T) {
	text := strings.Repeat("word", 10)
	s := &script{kind: "text/event-stream", body: []byte(
		`data: {"choices":[{"index":0,"delta":{"content":"` + text + `"}}]}` + "\n\n" +
			`data: {"error":{"message":"secret","type":"overloaded_error","code":503}}` + "\n\n" + "data: [DONE]\n\n")}
	c, h := streamCall(wire.ChatCompletions)
	o := endpoint(t, s, nil).Do(context.Background(), c)
	h.check(t, "error")
	if o.Err == nil || o.Err.Code != wire.CodeProviderError || o.HTTP != 200 || o.Usage.Output != 10 || o.Source != wire.UsageEstimated {
		t.Errorf("%+v", o)
	}
	if len(h.events) != 2 || h.events[1] != string(o.Err.Body()) || strings.Contains(h.events[1], "secret") {
		t.Errorf("events %q", h.events)
	}
}

// TestErrorFirst: a stream that fails before its first event says nothing, so
// that the next attempt can begin in its place.
func TestErrorFirst(t *testing.T) {
	for _, s := range []*script{
		{kind: "text/event-stream", body: []byte(`data: {"error":{"code":"server_error"}}` + "\n\n")},
		{kind: "text/event-stream"},
		{status: 500},
		{body: []byte(answer)}, // not a stream at all
		{body: []byte(`{"error":{"code":"server_error"}}`)},
	} {
		c, h := streamCall(wire.ChatCompletions)
		o := endpoint(t, s, nil).Do(context.Background(), c)
		if o.Status != wire.Failed || o.Verdict != engine.RetryElsewhere || len(h.events) != 0 {
			t.Errorf("%+v, events %q", o, h.events)
		}
	}
}

// TestEventsTogether: events that one read brings go together, and none waits
// for the next read.
func TestEventsTogether(t *testing.T) {
	event := `data: {"choices":[{"index":0,"delta":{"content":"a"}}]}` + "\n\n"
	body := []byte(strings.Repeat(event, 6) + "data: [DONE]\n\n")
	for pieces, want := range map[int][]int{0: {7}, 2 * len(event): {2, 2, 2, 1}, len(event): {1, 1, 1, 1, 1, 1, 1}, (3*len(event) + 1) / 2: {1, 2, 1, 2, 1}} {
		c, h := streamCall(wire.ChatCompletions)
		o := endpoint(t, &script{kind: "text/event-stream", body: body, pieces: pieces}, nil).Do(context.Background(), c)
		h.check(t, "together")
		if o.Status != wire.Succeeded || !slices.Equal(h.calls, want) {
			t.Errorf("%d bytes at a time: %s, %v events together, want %v", pieces, o.Status, h.calls, want)
		}
	}
}

func TestEmitFails(t *testing.T) {
	for _, pieces := range []int{0, 100} {
		s := &script{kind: "text/event-stream", body: transcript(t, "chat_text.sse"), pieces: pieces}
		c, h := streamCall(wire.ChatCompletions)
		h.fail = errors.New("the reader is gone")
		o := endpoint(t, s, nil).Do(context.Background(), c)
		if o.Status != wire.Failed || o.Err.Code != wire.CodeInternal || o.Verdict != engine.RetryLater || len(h.calls) != 1 {
			t.Errorf("%+v, calls %v", o, h.calls)
		}
		if !s.closed {
			t.Error("the provider's call was not stopped")
		}
	}
}

// TestI4BoundedMemory: answers and events above the bounds end the call.
func TestI4BoundedMemory(t *testing.T) {
	piece := func(content string) string {
		return `data: {"choices":[{"index":0,"delta":{"content":"` + content + `"}}]}` + "\n\n"
	}
	many := strings.Repeat(piece(strings.Repeat("x", 1000)), 200)
	tools := strings.Repeat(`data: {"choices":[{"index":0,"delta":{"tool_calls":[{"id":"`+strings.Repeat("y", 1000)+`"}]}}]}`+"\n\n", 1000)
	keys := ""
	for i := range 600 {
		keys += `data: {"choices":[],"k` + strings.Repeat("k", i) + `":"` + strings.Repeat("v", 2000) + `"}` + "\n\n"
	}
	done := piece("x") + "data: [DONE]\n\n"
	for name, c := range map[string]struct {
		body string
		code wire.Code
	}{
		"long text":       {many + done, wire.CodeTooLarge},
		"many tool calls": {tools + done, wire.CodeTooLarge},
		"many members":    {keys + done, wire.CodeTooLarge},
		"huge event":      {"data: " + strings.Repeat("x", 9<<20) + "\n\n" + done, wire.CodeStreamGarbled},
		"within":          {piece(strings.Repeat("x", 60_000)) + done, ""},
	} {
		call, h := streamCall(wire.ChatCompletions)
		e := endpoint(t, &script{kind: "text/event-stream", body: []byte(c.body)}, func(cfg *engine.Config) { cfg.MaxAnswer = 100_000 })
		o := e.Do(context.Background(), call)
		h.check(t, name)
		if (o.Err == nil) != (c.code == "") || o.Err != nil && o.Err.Code != c.code {
			t.Errorf("%s: %s %v", name, o.Status, o.Err)
		}
	}
}

// FuzzStream plays anything as the answer of any provider: Do returns, keeps I1
// and I2, and says succeeded only with a valid answer.
func FuzzStream(f *testing.F) {
	for name := range recorded {
		f.Add(transcript(f, name), uint8(3), uint16(0))
	}
	var ends []*engine.Endpoint
	s := &script{}
	for _, name := range adapter.Names() {
		ends = append(ends, endpoint(f, s, func(c *engine.Config) { c.Adapter, c.APIKey = name, "" }))
		files, _ := filepath.Glob("../adapter/testdata/" + name + "/*.sse")
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, uint8(0), uint16(len(ends)-1))
		}
	}
	asked := []wire.Endpoint{wire.ChatCompletions, wire.Completions, wire.Responses, wire.Messages}
	kinds := []string{"text/event-stream", "application/vnd.amazon.eventstream", "application/json", ""}
	f.Fuzz(func(t *testing.T, body []byte, pieces uint8, which uint16) {
		e := ends[int(which)%len(ends)]
		which /= uint16(len(ends))
		ep := asked[which%4]
		s.body, s.pieces, s.kind, s.status = body, int(pieces), kinds[which/4%4], []int{200, 200, 200, 500}[which/16%4]
		c, h := streamCall(ep)
		o := e.Do(context.Background(), c)
		h.check(t, string(ep))
		if !o.Status.Terminal() || (o.Status == wire.Succeeded) != (o.Err == nil) || (o.Body != nil) != (o.Err == nil) {
			t.Fatalf("%+v", o)
		}
		if o.Err == nil {
			canonical(t, o.Body)
		} else if o.Err.Code == wire.CodeInternal {
			t.Fatalf("%v", o.Err)
		}
	})
}

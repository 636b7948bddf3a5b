package engine_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
	"github.com/sluicehq/sluice/workers/simulated"
)

// TestI3Limits passes every limit in turn, in fake time.
func TestI3Limits(t *testing.T) {
	text := transcript(t, "chat_text.sse")
	cut := text[:strings.Index(string(text), `data: {"id":"chatcmpl-9aB","object":"chat.completion.chunk","created":1767225600,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_62a2","choices":[],`)]
	for _, c := range []struct {
		name   string
		s      *script
		stream bool
		after  time.Duration // when the client cancels, 0: never
		dead   time.Duration // the job's deadline, 0: none
		status wire.Status
		code   wire.Code
		at     time.Duration
		output int64
	}{
		{name: "slow answer", s: &script{first: time.Hour}, status: wire.Failed, code: wire.CodeTimeout, at: 10 * time.Minute},
		{name: "slow body", s: &script{body: []byte(answer), pause: time.Hour}, status: wire.Failed, code: wire.CodeTimeout, at: 10 * time.Minute},
		{name: "answer in time", s: &script{body: []byte(answer), first: 9 * time.Minute}, status: wire.Succeeded, at: 9 * time.Minute, output: 2},
		{name: "no header", s: &script{first: time.Hour}, stream: true, status: wire.Failed, code: wire.CodeTimeout, at: 2 * time.Minute},
		{name: "silent stream", s: &script{kind: "text/event-stream", body: text, pause: 61 * time.Second}, stream: true, status: wire.Failed, code: wire.CodeTimeout, at: time.Minute},
		{name: "slow stream", s: &script{kind: "text/event-stream", body: text, pieces: 500, pause: 59 * time.Second}, stream: true, status: wire.Succeeded, at: 5 * 59 * time.Second, output: 44},
		{name: "endless stream", s: &script{kind: "text/event-stream", body: cut, pieces: 10, pause: 30 * time.Second}, stream: true, status: wire.Failed, code: wire.CodeTimeout, at: 10 * time.Minute},
		{name: "silent refusal", s: &script{status: 500, body: []byte("x"), pause: time.Hour}, stream: true, status: wire.Failed, code: wire.CodeProviderError, at: time.Minute},
		{name: "deadline", s: &script{first: time.Hour}, dead: time.Minute, status: wire.Expired, code: wire.CodeDeadline, at: time.Minute},
		{name: "deadline in a stream", s: &script{kind: "text/event-stream", body: text, pieces: 700, pause: 10 * time.Second}, stream: true, dead: 25 * time.Second,
			status: wire.Expired, code: wire.CodeDeadline, at: 25 * time.Second, output: 9},
		{name: "cancelled", s: &script{first: time.Hour}, after: time.Second, status: wire.Cancelled, code: wire.CodeCancelled, at: time.Second},
		{name: "cancelled in a stream", s: &script{kind: "text/event-stream", body: text, pieces: 700, pause: 10 * time.Second}, stream: true, after: 25 * time.Second,
			status: wire.Cancelled, code: wire.CodeCancelled, at: 25 * time.Second, output: 9},
	} {
		synctest.Test(t, func(t *testing.T) {
			call, h := streamCall(wire.ChatCompletions)
			if !c.stream {
				call.Emit = nil
			}
			if c.dead > 0 {
				call.Meta.Deadline = time.Now().Add(c.dead).UnixNano()
			}
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			if c.after > 0 {
				defer time.AfterFunc(c.after, func() { cancel(errors.New("the client's own reason")) }).Stop()
			}
			start := time.Now()
			o := endpoint(t, c.s, nil).Do(ctx, call)
			h.check(t, c.name)
			took := time.Since(start)
			// the last pause of a stream is the look for the connection's end
			if took < c.at || took > c.at+10*time.Millisecond || o.Latency != took {
				t.Errorf("%s: took %s (latency %s), want %s", c.name, took, o.Latency, c.at)
			}
			if o.Status != c.status || (o.Err != nil) != (c.code != "") || o.Err != nil && o.Err.Code != c.code {
				t.Errorf("%s: %s %v, want %s %s", c.name, o.Status, o.Err, c.status, c.code)
			}
			if c.output > 0 && o.Usage.Output != c.output {
				t.Errorf("%s: usage %+v from %s, want %d out", c.name, o.Usage, o.Source, c.output)
			}
		})
	}
}

// TestParentDeadline: a deadline of the caller's context counts as the job's.
func TestParentDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		o := endpoint(t, &script{first: time.Hour}, nil).Do(ctx, chatCall(hello))
		if o.Status != wire.Expired || o.Latency != time.Second {
			t.Errorf("%+v", o)
		}
	})
}

// TestSimulatedPace: time to first token and speed come out as configured.
func TestSimulatedPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := simulate(t, simulated.Config{TimeToFirstToken: 300 * time.Millisecond, TokensPerSecond: 10, Fill: true})
		body := `{"model":"chat","max_tokens":21,"messages":[{"role":"user","content":"go"}]}`
		whole := e.Do(context.Background(), chatCall(body))
		if whole.Latency != 2300*time.Millisecond || whole.Usage.Output != 21 || whole.TTFT != whole.Latency {
			t.Errorf("whole: %+v", whole)
		}
		c := chatCall(body)
		h := &heard{}
		c.Emit = h.emit
		streamed := e.Do(context.Background(), c)
		h.check(t, "streamed")
		if streamed.Latency != 2300*time.Millisecond || streamed.TTFT != 300*time.Millisecond || streamed.Usage != whole.Usage {
			t.Errorf("streamed: %+v", streamed)
		}
	})
}

// TestCancelFreesTheProvider: the provider sees the end of a cancelled call at
// once, and books what was made.
func TestCancelFreesTheProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := t.TempDir() + "/books"
		books, err := simulated.OpenBooks(path)
		if err != nil {
			t.Fatal(err)
		}
		p, err := simulated.New(simulated.Config{TokensPerSecond: 1, Fill: true, Books: books})
		if err != nil {
			t.Fatal(err)
		}
		e := endpoint(t, http.RoundTripper(p), nil)
		c := chatCall(`{"model":"chat","max_tokens":100,"messages":[{"role":"user","content":"go on"}]}`)
		h := &heard{}
		c.Emit = h.emit
		ctx, cancel := context.WithCancel(context.Background())
		defer time.AfterFunc(4500*time.Millisecond, cancel).Stop()
		o := e.Do(ctx, c)
		h.check(t, "cancelled")
		if o.Status != wire.Cancelled || o.Latency != 4500*time.Millisecond || o.Source != wire.UsageEstimated || o.Usage.Output == 0 || o.Body != nil {
			t.Errorf("%+v", o)
		}
		if s := p.Stats(); s.Running != 0 || s.MaxRunning != 1 || s.Calls != 1 {
			t.Errorf("stats %+v", s)
		}
		if err := books.Close(); err != nil {
			t.Error(err)
		}
		lines, _, err := simulated.ReadBooks(path)
		if err != nil || len(lines) != 1 || lines[0].Outcome != "cut" || lines[0].Output != 5 || lines[0].Key != engine.IdempotencyKey("acme", "job1", 1) {
			t.Errorf("books %+v, %v", lines, err)
		}
	})
}

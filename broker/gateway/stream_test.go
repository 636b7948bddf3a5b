package gateway

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestStreamIsOpenAIs(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("ab"), opening, delta("a"), delta("b"), closing, counted, doneSSE))
	f := b.newFront()
	r := f.post("/v1/chat/completions", streamBody)
	want := sse(opening, delta("a"), delta("b"), closing, doneSSE)
	if r.status != 200 || r.body != want {
		t.Fatalf("stream %d\n%s\nwant\n%s", r.status, r.body, want)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", "X-Accel-Buffering": "no", "Sluice-Job": b.newest().ID,
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
}

func TestUsageChunkOnlyIfAskedFor(t *testing.T) {
	const filters = `{"id":"","object":"chat.completion.chunk","choices":[],"prompt_filter_results":[],"usage":null}` // Azure's first
	b := newBroker(t, t.TempDir(), answer(completion("a"), filters, opening, delta(`"usage":{}`), closing, counted, doneSSE))
	f := b.newFront()
	asked := strings.Replace(streamBody, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1)
	want := sse(filters, opening, delta(`"usage":{}`), closing, counted, doneSSE)
	if r := f.post("/v1/chat/completions", asked); r.body != want {
		t.Errorf("asked for:\n%s\nwant\n%s", r.body, want)
	}
	want = strings.Replace(want, sse(counted), "", 1)
	if r := f.post("/v1/chat/completions", streamBody); r.body != want {
		t.Errorf("not asked for:\n%s\nwant\n%s", r.body, want)
	}
}

func TestStreamsWithNamedEvents(t *testing.T) {
	for e, list := range map[wire.Endpoint][]string{
		wire.Responses: {`{"type":"response.created","sequence_number":0,"response":{}}`,
			`{"type":"response.output_text.delta","sequence_number":1,"delta":"a"}`,
			`{"type":"response.completed","sequence_number":2,"response":{"usage":{"input_tokens":1}}}`},
		wire.Messages: {`{"type":"message_start","message":{}}`, `{"type":"ping"}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}`,
			`{"type":"message_delta","delta":{},"usage":{"output_tokens":1}}`, `{"type":"message_stop"}`},
	} {
		b := newBroker(t, t.TempDir(), answer(`{}`, list...))
		f := b.newFront()
		var want strings.Builder
		for _, data := range list {
			name := strings.Split(data, `"`)[3]
			want.WriteString("event: " + name + "\ndata: " + data + "\n\n")
		}
		r := f.post(string(e), strings.Replace(endpointBodies[e], "{", `{"stream":true,`, 1))
		if r.status != 200 || r.body != want.String() {
			t.Errorf("%s: %d\n%s\nwant\n%s", e, r.status, r.body, want.String())
		}
	}
}

func TestChunksComeAtOnce(t *testing.T) {
	step := make(chan struct{})
	b := newBroker(t, t.TempDir(), func(b *broker, job wire.Job) {
		b.claim(job, 1)
		for i, d := range []string{opening, delta("a"), delta("b"), doneSSE} {
			b.chunks(job, 1, i, d == doneSSE, d)
			if i > 0 {
				<-step
			}
		}
		b.succeed(job, 1, completion("ab"))
	})
	f := b.newFront()
	res, body, _ := f.open("/v1/chat/completions", streamBody)
	if res.StatusCode != 200 {
		t.Fatalf("status %d", res.StatusCode)
	}
	for _, want := range []string{sse(opening, delta("a")), sse(delta("b")), sse(doneSSE)} {
		got := make([]byte, len(want))
		if _, err := io.ReadFull(body, got); err != nil || string(got) != want {
			t.Fatalf("%q (%v), want %q", got, err, want)
		}
		step <- struct{}{}
	}
	if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
		t.Fatalf("more: %q (%v)", rest, err)
	}
}

func TestErrorInsideAStream(t *testing.T) {
	boom := wire.Errorf(wire.CodeStreamTruncated, "", "it broke off")
	for e, want := range map[wire.Endpoint]string{
		wire.ChatCompletions: `data: {"error":{"message":"it broke off","type":"server_error","param":null,"code":"stream_truncated"}}` + "\n\n",
		wire.Completions:     `data: {"error":{"message":"it broke off","type":"server_error","param":null,"code":"stream_truncated"}}` + "\n\n",
		wire.Responses:       "event: error\n" + `data: {"code":"stream_truncated","message":"it broke off","param":null,"sequence_number":1,"type":"error"}` + "\n\n",
		wire.Messages:        "event: error\n" + `data: {"error":{"message":"it broke off","type":"api_error","param":null,"code":"stream_truncated"},"type":"error"}` + "\n\n",
	} {
		b := newBroker(t, t.TempDir(), func(b *broker, job wire.Job) {
			b.claim(job, 1)
			b.chunks(job, 1, 0, true, delta("a"), string(boom.Body()))
			b.retry(job, 1)
		})
		f := b.newFront()
		r := f.post(string(e), strings.Replace(endpointBodies[e], "{", `{"stream":true,`, 1))
		if r.status != 200 || r.body != sse(delta("a"))+want {
			t.Errorf("%s: %d\n%s\nwant\n%s", e, r.status, r.body, sse(delta("a"))+want)
		}
		if id := b.newest().ID; !b.wasCancelled(id) {
			t.Errorf("%s: the job goes on with nobody to read it", e)
		}
	}
}

func TestRetryBeforeAnythingWasSaid(t *testing.T) {
	boom := wire.Errorf(wire.CodeProviderError, "", "overloaded")
	b := newBroker(t, t.TempDir(), func(b *broker, job wire.Job) {
		b.claim(job, 1)
		b.chunks(job, 1, 0, true, opening, string(boom.Body()))
		b.retry(job, 1)
		b.claim(job, 2)
		b.chunks(job, 2, 0, true, opening, delta("second"), closing, doneSSE)
		b.succeed(job, 2, completion("second"))
	})
	f := b.newFront()
	want := sse(opening, delta("second"), closing, doneSSE)
	if r := f.post("/v1/chat/completions", streamBody); r.status != 200 || r.body != want {
		t.Fatalf("%d\n%s\nwant\n%s", r.status, r.body, want)
	}
}

func TestTwoAttemptsNeverMix(t *testing.T) {
	seen := make(chan struct{})
	b := newBroker(t, t.TempDir(), func(b *broker, job wire.Job) {
		b.claim(job, 1)
		b.chunks(job, 1, 0, false, opening, delta("first"))
		<-seen // the worker vanishes without a word
		b.retry(job, 1)
		b.claim(job, 2)
		b.chunks(job, 2, 0, true, opening, delta("second"), doneSSE)
		b.succeed(job, 2, completion("second"))
	})
	f := b.newFront()
	_, body, _ := f.open("/v1/chat/completions", streamBody)
	want := sse(opening, delta("first"))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(body, got); err != nil || string(got) != want {
		t.Fatalf("%q (%v)", got, err)
	}
	close(seen)
	rest, err := io.ReadAll(body)
	if err != nil || strings.Contains(string(rest), "second") || !strings.HasPrefix(string(rest), `data: {"error":`) || strings.Contains(string(rest), doneSSE) {
		t.Fatalf("%q (%v) (I3)", rest, err)
	}
}

func TestJobThatFailsWhileItStreams(t *testing.T) {
	b := newBroker(t, t.TempDir(), func(b *broker, job wire.Job) {
		b.claim(job, 1)
		b.chunks(job, 1, 0, false, opening, delta("a"))
		b.end(job, wire.Expired, ended(1, wire.Expired, wire.CodeDeadline, 0), wire.Errorf(wire.CodeDeadline, "", "too late"))
	})
	f := b.newFront()
	r := f.post("/v1/chat/completions", streamBody)
	if r.status != 200 || !strings.HasSuffix(r.body, `"code":"deadline_exceeded"}}`+"\n\n") {
		t.Fatalf("%d %s", r.status, r.body)
	}
}

func TestStreamOfAJobWithoutChunks(t *testing.T) {
	b := newBroker(t, t.TempDir(), func(b *broker, job wire.Job) { // a provider that does not stream
		b.claim(job, 1)
		b.succeed(job, 1, completion("all at once"))
	})
	f := b.newFront()
	r := f.post("/v1/chat/completions", streamBody)
	want := sse(`{"choices":[{"delta":{"content":"all at once","role":"assistant"},"finish_reason":"stop","index":0}],"created":1,"id":"c1","model":"m1","object":"chat.completion.chunk"}`, doneSSE)
	if r.status != 200 || r.body != want {
		t.Fatalf("%d\n%s\nwant\n%s", r.status, r.body, want)
	}
}

func TestStreamAgain(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("ab"), opening, delta("a"), delta("b"), closing, doneSSE))
	f := b.newFront()
	first := f.post("/v1/chat/completions", streamBody, "Idempotency-Key", "k")
	eventually(t, "job over", func() bool {
		last, err := b.led.Last(t.Context(), "default", "k")
		return err == nil && last.Status.Terminal()
	})
	second := f.post("/v1/chat/completions", streamBody, "Idempotency-Key", "k")
	if first.status != 200 || second.body != first.body || b.count() != 1 {
		t.Fatalf("%d %s\nthen %d %s, %d jobs", first.status, first.body, second.status, second.body, b.count())
	}
}

func TestTrailers(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("a"), opening, delta("a"), closing, doneSSE))
	f := b.newFront()
	r := f.post("/v1/chat/completions", streamBody, "TE", "trailers")
	if r.trailer.Get("Sluice-Pool") != "p1" || r.trailer.Get("Sluice-Cost-Nano-Usd") != "7" {
		t.Errorf("trailers %v", r.trailer)
	}
	if r := f.post("/v1/chat/completions", streamBody); len(r.trailer) != 0 {
		t.Errorf("trailers %v that were not asked for", r.trailer)
	}
}

func TestLargeStreamToASlowClient(t *testing.T) {
	const n = 4000
	pad := strings.Repeat("x", 2000)
	published := make(chan time.Duration, 1)
	b := newBroker(t, t.TempDir(), func(b *broker, job wire.Job) {
		b.claim(job, 1)
		start := time.Now()
		for i := range n {
			b.chunks(job, 1, i, false, delta(pad))
		}
		b.chunks(job, 1, n, true, doneSSE)
		published <- time.Since(start)
		b.succeed(job, 1, completion("x"))
	})
	f := b.newFront()
	_, body, _ := f.open("/v1/chat/completions", streamBody)
	if d := <-published; d > 20*time.Second {
		t.Errorf("the worker took %s (I5)", d)
	}
	all, err := io.ReadAll(body)
	if err != nil || strings.Count(string(all), "data: ") != n+1 || !strings.HasSuffix(string(all), sse(doneSSE)) {
		t.Fatalf("%d events, %v", strings.Count(string(all), "data: "), err)
	}
}

func TestDataOfSeveralLines(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("a"), "{\"choices\":\n[1]}", doneSSE))
	f := b.newFront()
	if r := f.post("/v1/chat/completions", streamBody); r.body != "data: {\"choices\":\ndata: [1]}\n\n"+sse(doneSSE) {
		t.Fatalf("%q", r.body)
	}
}

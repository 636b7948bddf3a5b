package gateway

import (
	"testing"
)

func TestStreamIsOpenAIs(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("ab"), opening, delta("a"), delta("b"), closing, counted, doneSSE))
	f := b.newFront()
	r := f.post("/v1/chat/completions", streamBody)
	want := sse(opening, delta("a"), delta("b"), closing, doneSSE)
	if r.status != 200 || r.body != want {
		t.Fatalf("stream %d\n%s\nwant\n%s", r.status, r.body, want)
	}
	if ct := r.header.Get("Content-Type"); ct != "text/event-stream; charset=utf-8" {
		t.Errorf("content type %q", ct)
	}
	if id := b.newest().ID; r.header.Get("Sluice-Job") != id {
		t.Errorf("Sluice-Job is %q, want %q", r.header.Get("Sluice-Job"), id)
	}
}

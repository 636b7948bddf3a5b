package sdk

import (
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestSubmitAndWait(t *testing.T) {
	c := newBroker(t).dial()
	h, err := c.Submit(t.Context(), ask())
	if err != nil {
		t.Fatal(err)
	}
	r, err := h.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Text() != "hello" || r.Status != Succeeded || r.Err != nil || r.Cost != 7 || !r.CostKnown || r.Attempts != 1 ||
		r.Pool != "p1" || r.Provider != "simulated" || r.Model != "m1" || r.Usage.Output != 5 {
		t.Errorf("result is %+v", r)
	}
	late, err := c.Attach(h.ID()).Wait(t.Context())
	if err != nil || late.Text() != "hello" || late.Seq != r.Seq || late.FinishedAt.IsZero() {
		t.Errorf("a late wait gives %+v, %v", late, err)
	}
}

func TestChunksLiveAndLate(t *testing.T) {
	b := newBroker(t)
	c := b.dial()
	h, err := c.Submit(t.Context(), Job{Request: Prompt("chat", "hi"), Stream: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // live, then late
		text := ""
		for chunk, err := range h.Chunks(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if chunk.Index != len(text) || chunk.Attempt != 1 || chunk.Restarted {
				t.Errorf("chunk after %q is %+v", text, chunk)
			}
			text += chunk.Text()
		}
		if text != "hello" {
			t.Errorf("chunks give %q", text)
		}
	}
}

func TestCancel(t *testing.T) {
	b := newBroker(t)
	b.play(func(b *testBroker, job wire.Job) { b.claim(job, 1) })
	c := b.dial()
	h, err := c.Submit(t.Context(), ask())
	if err != nil {
		t.Fatal(err)
	}
	for range h.Records(t.Context()) {
		break // it is running
	}
	if a, err := h.Cancel(t.Context()); err != nil || a.Status != Cancelled {
		t.Fatalf("cancel gives %+v, %v", a, err)
	}
	r, err := h.Wait(t.Context())
	if err != nil || r.Status != Cancelled || CodeOf(r.Err) != wire.CodeCancelled {
		t.Errorf("result is %+v, %v", r, err)
	}
	if _, err := h.Cancel(t.Context()); CodeOf(err) != wire.CodeFinished {
		t.Errorf("a second cancel gives %v", err)
	}
}

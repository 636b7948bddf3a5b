package sdk

import (
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// kilobyte is a job whose body has 1 KiB.
func kilobyte() Job {
	frame := len(`{"model":"chat","messages":[{"role":"user","content":""}]}`)
	return Job{Body: fmt.Appendf(nil, `{"model":"chat","messages":[{"role":"user","content":"%s"}]}`, strings.Repeat("x", 1024-frame))}
}

func repeat(job Job, n int) iter.Seq[Job] {
	return func(yield func(Job) bool) {
		for range n {
			if !yield(job) {
				return
			}
		}
	}
}

func TestSubmitHundredThousand(t *testing.T) {
	b := newServer(t, serverOptions(t))
	b.streams()
	c := b.dial()
	start, n := time.Now(), 0
	for _, err := range c.SubmitMany(t.Context(), repeat(kilobyte(), 100_000)) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	t.Logf("%d jobs of 1 KiB in %v", n, time.Since(start))
	if got := b.stream(wire.StreamJobs).State.Msgs; got != 100_000 {
		t.Errorf("the stream holds %d jobs", got)
	}
}

package sdk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// streaming is a job that asks for chunks.
func streaming() Job { return Job{Request: Prompt("chat", "hi"), Stream: true} }

// read follows a job's chunks as "attempt.index" with "!" where the reader is
// told of a restart and "$" at an end, and the error that ended it.
func read(ctx context.Context, h *Handle, attempt, index int) (string, error) {
	var got []string
	for c, err := range h.ChunksFrom(ctx, attempt, index) {
		if err != nil {
			return strings.Join(got, " "), err
		}
		s := fmt.Sprintf("%d.%d", c.Attempt, c.Index)
		if c.Restarted {
			s = "!" + s
		}
		if c.End {
			s += "$"
		}
		got = append(got, s)
	}
	return strings.Join(got, " "), nil
}

func TestChunksLiveAndLate(t *testing.T) {
	b := newBroker(t)
	h := submit(t, b.dial(), streaming())
	for range 2 { // live, then late
		if got, err := read(t.Context(), h, 0, 0); err != nil || got != "1.0 1.1 1.2 1.3 1.4$" {
			t.Errorf("chunks %s, %v", got, err)
		}
	}
	if text, err := h.Text(t.Context()); err != nil || text != "hello" {
		t.Errorf("text %q, %v", text, err)
	}
}

// Live chunks need no replay.
func TestChunksLiveNeedNoReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t)
		b.play(func(b *testBroker, job wire.Job) {
			time.Sleep(50 * time.Millisecond) // until the reader waits for live chunks
			answer("hello")(b, job)
		})
		h := submit(t, b.dial(), streaming())
		if got, err := read(t.Context(), h, 0, 0); err != nil || got != "1.0 1.1 1.2 1.3 1.4$" || b.asked() > 0 {
			t.Errorf("chunks %s, %v, %d replays", got, err, b.asked())
		}
	})
}

// What is lost of an answer on its way is asked for again, not taken for a
// chunk that is gone.
func TestChunksTornReplay(t *testing.T) {
	const n = 3 * replayMost
	b := newBroker(t)
	b.play(func(b *testBroker, job wire.Job) {
		b.claim(job, 1)
		for i := range n {
			b.chunk(job, 1, i, "x", i == n-1)
		}
		_ = b.nc.Flush()
		b.end(job, Succeeded, ended(1, Succeeded, ""), "", nil)
	})
	b.tear = func(n int) int { return n % 2 } // the first message of every other answer
	h := submit(t, b.dial(), streaming())
	if _, err := h.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text, err := h.Text(t.Context()); err != nil || len(text) != n || b.asked() < 6 {
		t.Errorf("%d of %d chunks, %v, in %d answers", len(text), n, err, b.asked())
	}
}

// A router that comes back later answers then.
func TestChunksWithoutARouter(t *testing.T) {
	b := newServer(t, serverOptions(t))
	b.streams()
	h := b.dial().Attach("x")
	job := wire.Job{Meta: wire.Meta{ID: "x", Tenant: "acme", Stream: true}}
	answer("hello")(b, job)
	time.AfterFunc(600*time.Millisecond, b.serve)
	if text, err := h.Text(t.Context()); err != nil || text != "hello" {
		t.Errorf("text %q, %v", text, err)
	}
}

// retried plays two chunks of an attempt that fails, and an attempt that works.
func retried(b *testBroker, job wire.Job) {
	b.claim(job, 1)
	b.chunk(job, 1, 0, "wro", false)
	b.chunk(job, 1, 1, "ng", true)
	b.retry(job, 1)
	b.claim(job, 2)
	b.chunk(job, 2, 0, "right", true)
	b.end(job, Succeeded, ended(2, Succeeded, ""), "", completion("right"))
}

func TestChunksOfASecondAttempt(t *testing.T) {
	b := newBroker(t)
	begin := make(chan struct{})
	b.play(func(b *testBroker, job wire.Job) { <-begin; retried(b, job) })
	h := submit(t, b.dial(), streaming())
	time.AfterFunc(50*time.Millisecond, func() { close(begin) })
	for _, tc := range []struct {
		attempt, index int
		want           string
	}{
		{0, 0, "1.0 1.1$ !2.0$"}, // live
		{0, 0, "2.0$"},           // late: the latest attempt
		{1, 0, "1.0 1.1$ !2.0$"},
		{1, 1, "1.1$ !2.0$"},
		{1, 2, "2.0$"},
		{2, 1, ""},
	} {
		got, err := read(t.Context(), h, tc.attempt, tc.index)
		if tc.attempt == 2 { // all read before: nothing is left, and nothing is missing
			if got != "" || err != nil {
				t.Errorf("past the end: %s, %v", got, err)
			}
			continue
		}
		if err != nil || got != tc.want {
			t.Errorf("from %d.%d: %s, %v; want %s", tc.attempt, tc.index, got, err, tc.want)
		}
	}
	if text, err := h.Text(t.Context()); err != nil || text != "right" {
		t.Errorf("text %q, %v", text, err)
	}
}

// A worker that lost its job goes on publishing: nobody mixes that in.
func TestChunksOfAReplacedAttempt(t *testing.T) {
	b := newBroker(t)
	begin := make(chan struct{})
	b.play(func(b *testBroker, job wire.Job) {
		<-begin
		b.claim(job, 1)
		b.chunk(job, 1, 0, "a", false)
		b.claim(job, 2)
		b.chunk(job, 2, 0, "b", false)
		b.chunk(job, 1, 1, "x", true)
		b.chunk(job, 2, 1, "c", false)
		b.chunk(job, 2, 1, "c", false) // repeated
		b.chunk(job, 2, 2, "d", true)
		b.end(job, Succeeded, ended(2, Succeeded, ""), "", nil)
	})
	h := submit(t, b.dial(), streaming())
	time.AfterFunc(50*time.Millisecond, func() { close(begin) })
	if got, err := read(t.Context(), h, 0, 0); err != nil || got != "1.0 !2.0 2.1 2.2$" {
		t.Errorf("live: %s, %v", got, err)
	}
	if got, err := read(t.Context(), h, 1, 0); err != nil || got != "1.0 !2.0 2.1 2.2$" {
		t.Errorf("late: %s, %v", got, err)
	}
}

func TestChunksOfJobsWithout(t *testing.T) {
	b := newBroker(t)
	h := submit(t, b.dial(), ask())
	if got, err := read(t.Context(), h, 0, 0); err != nil || got != "" {
		t.Errorf("%s, %v", got, err)
	}
	if text, err := h.Text(t.Context()); err != nil || text != "hello" {
		t.Errorf("text %q, %v", text, err)
	}
}

func TestChunksOfAFailedJob(t *testing.T) {
	b := newBroker(t)
	b.play(func(b *testBroker, job wire.Job) {
		b.claim(job, 1)
		b.chunk(job, 1, 0, "half", false)
		b.end(job, Failed, ended(1, Failed, wire.CodeStreamGarbled), wire.CodeStreamGarbled, wire.Errorf(wire.CodeStreamGarbled, "", "bad event").Body())
	})
	h := submit(t, b.dial(), streaming())
	if got, err := read(t.Context(), h, 0, 0); CodeOf(err) != wire.CodeStreamGarbled || got != "1.0" {
		t.Errorf("%s, %v", got, err)
	}
	// The scripted broker does not wait until its chunk is stored.
	text, err := h.Text(t.Context())
	for try := 0; try < 40 && text == ""; try++ {
		time.Sleep(50 * time.Millisecond)
		text, err = h.Text(t.Context())
	}
	if CodeOf(err) != wire.CodeStreamGarbled || text != "half" {
		t.Errorf("text %q, %v", text, err)
	}
}

func TestChunksThatAreGone(t *testing.T) {
	for name, tc := range map[string]struct {
		keep []int // indices of five that are published
		from int
		want string
	}{
		"the first": {[]int{1, 2, 3, 4}, 0, ""},
		"a middle":  {[]int{0, 1, 3, 4}, 0, "1.0 1.1"},
		"the last":  {[]int{0, 1, 2, 3}, 0, "1.0 1.1 1.2 1.3"},
		"from":      {[]int{3, 4}, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBroker(t)
			begin := make(chan struct{})
			b.play(func(b *testBroker, job wire.Job) {
				<-begin
				b.claim(job, 1)
				for _, i := range tc.keep {
					b.chunk(job, 1, i, "x", i == 4)
				}
				b.end(job, Succeeded, ended(1, Succeeded, ""), "", completion("whole"))
			})
			h := submit(t, b.dial(), streaming())
			time.AfterFunc(20*time.Millisecond, func() { close(begin) })
			for range 2 { // live, then late
				if got, err := read(t.Context(), h, 1, tc.from); CodeOf(err) != wire.CodeStreamTruncated || got != tc.want {
					t.Errorf("%q, %v", got, err)
				}
			}
			if text, err := h.Text(t.Context()); tc.from == 0 && (err != nil || text != "whole") {
				t.Errorf("text %q, %v", text, err)
			}
		})
	}
}

// The tail of a gone stream may be read by who has the rest already.
func TestChunksFromBehindWhatIsGone(t *testing.T) {
	b := newBroker(t)
	b.play(func(b *testBroker, job wire.Job) {
		b.claim(job, 1)
		for i := 3; i < 6; i++ {
			b.chunk(job, 1, i, "x", i == 5)
		}
		b.end(job, Succeeded, ended(1, Succeeded, ""), "", nil)
	})
	h := submit(t, b.dial(), streaming())
	if got, err := read(t.Context(), h, 1, 4); err != nil || got != "1.4 1.5$" {
		t.Errorf("%s, %v", got, err)
	}
}

// Chunks are stored without acknowledgement, so the record may be there first.
func TestChunksStoredAfterTheRecord(t *testing.T) {
	b := newBroker(t)
	b.play(func(b *testBroker, job wire.Job) {
		b.end(job, Succeeded, ended(1, Succeeded, ""), "", completion("late"))
	})
	c := b.dial()
	h := submit(t, c, streaming())
	if _, err := h.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.stop()
	b.before = func(n int) {
		if n == 2 {
			b.chunk(b.known(h), 1, 0, "late", true)
			_ = b.nc.Flush()
		}
	}
	if got, err := read(t.Context(), h, 1, 0); err != nil || got != "1.0$" || b.asked() < 2 {
		t.Errorf("%s, %v after %d looks", got, err, b.asked())
	}
}

// A reader that is far slower than the job misses nothing.
func TestChunksForASlowReader(t *testing.T) {
	const n = 5 * chunkBuffer
	b := newBroker(t)
	written := make(chan struct{})
	begin := make(chan struct{})
	b.play(func(b *testBroker, job wire.Job) {
		<-begin
		b.claim(job, 1)
		for i := range n {
			b.chunk(job, 1, i, "x", i == n-1)
		}
		_ = b.nc.Flush()
		close(written)
		time.Sleep(100 * time.Millisecond)
		b.end(job, Succeeded, ended(1, Succeeded, ""), "", nil)
	})
	h := submit(t, b.dial(), streaming())
	time.AfterFunc(20*time.Millisecond, func() { close(begin) })
	next := 0
	for c, err := range h.Chunks(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if c.Index != next {
			t.Fatalf("chunk %d after %d", c.Index, next-1)
		}
		if next++; next == 10 {
			<-written
		}
	}
	if next != n {
		t.Errorf("%d of %d chunks", next, n)
	}
}

// The buffer overflows and nothing follows: the reader looks by itself.
func TestChunksOverflowWithoutAnother(t *testing.T) {
	const n = 2 * chunkBuffer
	b := newBroker(t)
	b.play(silent)
	h := submit(t, b.dial(), streaming())
	job := b.known(h)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	next := 0
	time.AfterFunc(20*time.Millisecond, func() { b.claim(job, 1); b.chunk(job, 1, 0, "x", false) })
	for range h.Chunks(ctx) {
		if next++; next == 1 {
			for i := 1; i < n; i++ {
				b.chunk(job, 1, i, "x", false)
			}
			_ = b.nc.Flush()
			time.Sleep(100 * time.Millisecond)
		}
		if next == n {
			return
		}
	}
	t.Errorf("%d of %d chunks", next, n)
}

func TestChunksForManyReaders(t *testing.T) {
	b := newBroker(t)
	b.play(func(b *testBroker, job wire.Job) {
		b.claim(job, 1)
		for i := range 200 {
			b.chunk(job, 1, i, "x", i == 199)
			time.Sleep(100 * time.Microsecond)
		}
		b.end(job, Succeeded, ended(1, Succeeded, ""), "", nil)
	})
	c := b.dial()
	h := submit(t, c, streaming())
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			time.Sleep(time.Duration(i) * time.Millisecond) // some from the start, some from the middle
			if text, err := c.Attach(h.ID()).Text(t.Context()); err != nil || len(text) != 200 {
				t.Errorf("reader %d: %d bytes, %v", i, len(text), err)
			}
		})
	}
	all.Wait()
	if n := c.nc.NumSubscriptions(); n > 2 {
		t.Errorf("%d subscriptions are left", n)
	}
}

// A slow stream is followed for as long as it takes; the end comes with the record.
func TestChunksLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t)
		b.play(func(b *testBroker, job wire.Job) {
			b.claim(job, 1)
			for i := range 60 {
				time.Sleep(10 * time.Second)
				b.chunk(job, 1, i, "x", i == 59)
			}
			time.Sleep(time.Minute)
			b.end(job, Succeeded, ended(1, Succeeded, ""), "", nil)
		})
		h := submit(t, b.dial(), streaming())
		start := time.Now()
		if text, err := h.Text(t.Context()); err != nil || len(text) != 60 {
			t.Errorf("%d bytes, %v", len(text), err)
		}
		if d := time.Since(start).Round(time.Second); d != 11*time.Minute {
			t.Errorf("ended after %v", d)
		}
	})
}

func TestChunksBreakAndContext(t *testing.T) {
	b := newBroker(t)
	b.play(func(b *testBroker, job wire.Job) {
		b.claim(job, 1)
		b.chunk(job, 1, 0, "x", false)
	})
	c := b.dial()
	h := submit(t, c, streaming())
	for range h.Chunks(t.Context()) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var errs []error
	for _, err := range h.Chunks(ctx) {
		cancel()
		errs = append(errs, err)
	}
	if len(errs) != 2 || errs[0] != nil || !errors.Is(errs[1], context.Canceled) {
		t.Errorf("errors are %v", errs)
	}
	if c.listeners() != 0 {
		t.Error("listeners are left")
	}
}

func TestChunksFromNowhere(t *testing.T) {
	h := newBroker(t).dial().Attach("x")
	for _, from := range [][2]int{{-1, 0}, {1, -1}, {0, 3}} {
		if _, err := read(t.Context(), h, from[0], from[1]); CodeOf(err) != wire.CodeInvalidRequest {
			t.Errorf("%v gives %v", from, err)
		}
	}
}

func TestParseChunks(t *testing.T) {
	for _, tc := range []struct {
		attempt, index, sizes string
		ok                    bool
	}{
		{"1", "0", "", true}, {"0", "0", "", false}, {"", "0", "", false}, {"1", "", "", false}, {"1", "-1", "", false}, {"x", "0", "", false},
		{"1", "0", "1 2", true}, {"1", "0", "1 1", false}, {"1", "0", "x", false},
	} {
		h := map[string][]string{wire.HeaderAttempt: {tc.attempt}, wire.HeaderIndex: {tc.index}, wire.HeaderSizes: {tc.sizes}}
		if _, ok := parseChunks(h, []byte("abc")); ok != tc.ok {
			t.Errorf("%+v gives %v", tc, ok)
		}
	}
}

// Chunks that came in one message are read from any of them on, live and late,
// also where the reader has some of them already.
func TestPackedChunks(t *testing.T) {
	b := newBroker(t)
	b.play(func(b *testBroker, job wire.Job) {
		b.claim(job, 1)
		b.packed(job, 1, 0, false, "a", "b")
		b.packed(job, 1, 2, false, "c")
		b.packed(job, 1, 3, true, "d", "e", "f")
		b.end(job, Succeeded, ended(1, Succeeded, ""), "", completion("abcdef"))
	})
	all := strings.Fields("1.0 1.1 1.2 1.3 1.4 1.5$")
	h := submit(t, b.dial(), streaming())
	if got, err := read(t.Context(), h, 0, 0); err != nil || got != strings.Join(all, " ") {
		t.Errorf("chunks %s, %v", got, err)
	}
	for i := range all {
		if got, err := read(t.Context(), h, 1, i); err != nil || got != strings.Join(all[i:], " ") {
			t.Errorf("chunks from %d on: %s, %v", i, got, err)
		}
	}
	if text, err := h.Text(t.Context()); err != nil || text != "abcdef" {
		t.Errorf("text %q, %v", text, err)
	}
}

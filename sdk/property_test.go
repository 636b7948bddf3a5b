package sdk

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/sdk/wire"
)

// story is one random life of a streamed job: what a worker publishes, and
// which of it a reader hears.
type story struct {
	chunks []piece // in the order of publishing
	last   int     // the attempt that succeeds
	size   int     // its chunks
}

// piece is one message: as many chunks as texts.
type piece struct {
	attempt, index int
	end            bool
	texts          []string
}

func newStory(r *rand.Rand) story {
	s := story{last: 1 + r.IntN(3)}
	for attempt := 1; attempt <= s.last; attempt++ {
		n := r.IntN(12)
		if attempt == s.last {
			n++
			s.size = n
		}
		for i := 0; i < n; {
			p := piece{attempt: attempt, index: i}
			for more := 1 + r.IntN(2)*r.IntN(4); more > 0 && i < n; more, i = more-1, i+1 {
				p.texts = append(p.texts, "x")
			}
			// a failed attempt may break off without an end
			p.end = i == n && (attempt == s.last || r.IntN(2) == 0)
			s.chunks = append(s.chunks, p)
		}
	}
	return s
}

// S3, for any loss and any repetition between the server and the reader.
func TestReaderNeverMixesAttempts(t *testing.T) {
	b := newBroker(t)
	c := b.dial()
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := newStory(r)
		h := c.Attach(fmt.Sprint("story-", seed))
		got, err := s.tell(t, b, h, r)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if why := s.check(got); why != "" {
			t.Fatalf("seed %d: %s in %+v", seed, why, got)
		}
	}
}

// tell stores the story in the stream while a reader hears part of it, and
// returns what the reader yields.
func (s *story) tell(t *testing.T, b *testBroker, h *Handle, rnd *rand.Rand) (got []Chunk, err error) {
	reader, err := h.openReader(0, 0, true)
	if err != nil {
		return nil, err
	}
	defer reader.close()
	if err := reader.sub.Unsubscribe(); err != nil { // this test decides what is heard
		return nil, err
	}
	reader.yield = func(c Chunk, _ error) bool {
		got = append(got, c)
		return true
	}
	loss := rnd.IntN(4)
	for i, c := range s.chunks {
		b.packed(b.known(h), c.attempt, c.index, c.end, c.texts...)
		if rnd.IntN(4) < loss {
			continue
		}
		if err := b.nc.Flush(); err != nil {
			return nil, err
		}
		for range 1 + rnd.IntN(2) {
			if err := reader.takeLive(t.Context(), c.message()); err != nil {
				return got, err
			}
		}
		if i > 0 && rnd.IntN(5) == 0 { // one from before, late
			if err := reader.takeLive(t.Context(), s.chunks[rnd.IntN(i)].message()); err != nil {
				return got, err
			}
		}
	}
	end := stored{Record: wire.Record{Status: Succeeded, Entry: wire.Entry{
		Meta: wire.Meta{Stream: true}, Progress: wire.Progress{Attempts: s.last},
	}}}
	return got, reader.finish(t.Context(), end)
}

func (p *piece) message() *nats.Msg { return message(p.attempt, p.index, p.end, p.texts...) }

// check says what is wrong with what a reader was given.
func (s *story) check(got []Chunk) string {
	attempt, index := 0, 0
	for i, c := range got {
		switch {
		case c.Attempt < attempt:
			return "an earlier attempt"
		case c.Attempt > attempt:
			if c.Restarted != (i > 0) {
				return "a restart that is not told, or told and none"
			}
			attempt, index = c.Attempt, 0
		case c.Restarted:
			return "a restart within an attempt"
		}
		if c.Index != index {
			return fmt.Sprintf("index %d for %d", c.Index, index)
		}
		index++
	}
	if attempt != s.last || index != s.size || !got[len(got)-1].End {
		return "the end is missing"
	}
	return ""
}

package sdk

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Chunk is a piece of a streamed answer.
type Chunk struct {
	Attempt int    // from 1: the call to a provider that it comes from
	Index   int    // from 0, within the attempt
	Data    []byte // one stream event of the endpoint's SSE format
	End     bool   // the last of its attempt
	More    bool   // the loop has the next one already: it came in the same message

	// Restarted says that this is the first chunk of a new attempt and
	// replaces all chunks that the loop has seen before.
	Restarted bool
}

// Chunks follows the job's streamed answer from the beginning, live while it
// is generated, or later for as long as the broker keeps the chunks (at least
// 10 minutes after the end). Where several attempts have been made already,
// it begins with the latest.
//
// The loop ends once the job has ended and its chunks have all been read;
// without any, for a job that does not stream or whose chunks are all no
// longer kept. A job that did not succeed ends it with the job's [*Error]; a
// single chunk that is no longer kept ends it with wire.CodeStreamTruncated.
// The whole answer is then still in [Handle.Wait]'s result. It survives reconnects without gap or repeat (S3).
// A reader that is slower than the job holds at most 64 chunks in memory and
// reads the others from the broker later.
func (h *Handle) Chunks(ctx context.Context) iter.Seq2[Chunk, error] {
	return h.ChunksFrom(ctx, 0, 0)
}

// ChunksFrom is [Handle.Chunks] from a place on: attempt from 1 and index
// from 0. It goes on with the attempts after it. Attempt 0 is the latest.
func (h *Handle) ChunksFrom(ctx context.Context, attempt, index int) iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		var err error
		r := h.ear.Swap(nil)
		if r == nil || r.sub == nil || attempt > 0 {
			if r != nil {
				r.close()
			}
			if r, err = h.openReader(attempt, index, true); err != nil {
				yield(Chunk{}, err)
				return
			}
		}
		defer r.close()
		r.yield = yield
		if err := r.follow(ctx); err != nil && !r.stopped {
			yield(Chunk{}, h.waiting(ctx, err))
		}
	}
}

const (
	chunkBuffer = 64 // live chunks that wait for the reader
	// A reader is given a page of what is stored, a small one at first and when
	// it takes its time: who does not read shall not hold much.
	pageLeast = 32
	pageMost  = 128
	pageSoon  = 250 * time.Millisecond // a page read faster than that is followed by one of twice the size
	gapTries  = 6                      // looks for a missing chunk, 10 ms and doubling apart
	gapFirst  = 10 * time.Millisecond
)

// chunkReader is one loop over a job's chunks. Live chunks come by a plain
// subscription; what it misses, because it came late, was slow or lost the
// connection, is asked for.
type chunkReader struct {
	h     *Handle
	l     *listener
	sub   *nats.Subscription // to live; nil: only records are listened for
	live  chan *nats.Msg
	lost  int // of the messages that found no room in live, how many have been seen to
	yield func(Chunk, error) bool

	attempt int    // of the next chunk, 0: whichever comes
	index   int    // of the next chunk
	ended   bool   // the attempt's last chunk has been read
	any     bool   // a chunk has been yielded
	stopped bool   // the loop was left
	read    uint64 // stream sequence up to which replays have read
	page    int    // chunks of the last answer at most
	asked   time.Time
}

// errStopped ends a read inside the reader when the loop was left.
var errStopped = errors.New("the loop was left")

// openReader listens for the job's terminal record and, if chunks, for its
// chunks from a place on.
func (h *Handle) openReader(attempt, index int, chunks bool) (r *chunkReader, err error) {
	if err := h.valid(); err != nil {
		return nil, err
	}
	if attempt < 0 || index < 0 || attempt == 0 && index > 0 {
		return nil, fail(wire.CodeInvalidRequest, nil, "chunks are read from an attempt >= 1 and an index >= 0").of(h.id)
	}
	r = &chunkReader{h: h, attempt: attempt, index: index}
	if r.l, err = h.c.watch.listen(h.id, false); err != nil || !chunks {
		return r, err
	}
	r.live = make(chan *nats.Msg, chunkBuffer)
	if r.sub, err = h.c.nc.ChanSubscribe(h.c.subjects.Chunks(h.c.tenant, h.id), r.live); err != nil {
		r.l.close()
		return nil, classify(err).of(h.id)
	}
	return r, nil
}

func (r *chunkReader) close() {
	if r.sub != nil {
		_ = r.sub.Unsubscribe() // fails only on a closed connection
	}
	r.l.close()
}

// overflowed reports, once for each time, that live had no room.
func (r *chunkReader) overflowed() bool {
	n, err := r.sub.Dropped()
	if err != nil || n == r.lost { // a closed connection is noticed elsewhere
		return false
	}
	r.lost = n
	return true
}

// follow yields chunks until the job has ended.
func (r *chunkReader) follow(ctx context.Context) error {
	unknown := 0
	last, ok, err := r.l.look(ctx, false)
	if err != nil {
		return err
	}
	if ok { // before its first record a job has no chunks
		r.start(last)
		if err := r.catchUp(ctx); err != nil {
			return err
		}
	}
	for !ok || !last.Status.Terminal() {
		hinted, err := r.readLive(ctx)
		if err != nil {
			return err
		}
		if last, ok, err = r.l.look(ctx, hinted); err != nil {
			return err
		}
		if hinted || ok || r.l.confirm > 0 {
			unknown = 0
		} else if unknown, err = r.h.exists(ctx, unknown); err != nil {
			return err
		}
	}
	return r.finish(ctx, last)
}

// start begins with the latest attempt, unless the caller chose one.
func (r *chunkReader) start(last stored) {
	if r.attempt > 0 {
		return
	}
	r.attempt = last.Entry.Progress.Attempts
	if a := last.Entry.Attempt; a != nil {
		r.attempt = max(r.attempt, a.N)
	}
}

// readLive yields live chunks until it is time to look at the job's record.
func (r *chunkReader) readLive(ctx context.Context) (hinted bool, err error) {
	timer := time.NewTimer(r.l.due())
	defer timer.Stop()
	for {
		select {
		case m := <-r.live:
			if err := r.takeLive(ctx, m); err != nil {
				return false, err
			}
		case <-r.l.ready:
			if r.l.tookMiss() {
				r.read = 0 // a restarted server may have made the stream anew
				return false, r.catchUp(ctx)
			}
			return true, nil
		case <-timer.C:
			return false, nil
		case <-r.h.c.closed:
			return false, errClosed
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// takeLive yields a live chunk, after those before it that were not heard.
func (r *chunkReader) takeLive(ctx context.Context, m *nats.Msg) error {
	p, ok := parseChunks(m.Header, m.Data)
	if !ok {
		return nil
	}
	if !r.gap(&p.Chunk) {
		if err := r.giveAll(&p); err != nil {
			return err
		}
		if len(r.live) == 0 && r.overflowed() {
			return r.catchUp(ctx)
		}
		return nil
	}
	for wait, try := gapFirst, 0; try < gapTries; wait, try = wait*2, try+1 {
		r.overflowed() // what is missing is read now
		if err := r.catchUp(ctx); err != nil {
			return err
		}
		if !r.gap(&p.Chunk) {
			return r.giveAll(&p)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		r.read = 0 // the stream may have been made anew, and count from 1
	}
	return r.truncated()
}

// gap reports whether chunks are missing before c.
func (r *chunkReader) gap(c *Chunk) bool {
	if c.Attempt == r.attempt {
		return c.Index > r.index
	}
	return c.Attempt > r.attempt && c.Index > 0
}

// give yields c, unless it has been yielded already or is of an attempt that
// a later one has replaced.
func (r *chunkReader) give(c Chunk) error {
	if c.Attempt < r.attempt || c.Attempt == r.attempt && c.Index < r.index {
		r.ended = r.ended || c.End && c.Attempt == r.attempt // the caller began behind it
		return nil
	}
	c.Restarted = r.any && c.Attempt > r.attempt
	r.attempt, r.index, r.ended, r.any = c.Attempt, c.Index+1, c.End, true
	if !r.yield(c, nil) {
		r.stopped = true
		return errStopped
	}
	return nil
}

// catchUp yields what the stream holds after what has been read of it.
// Whether that reaches far enough is for the caller to see, by the next live
// chunk or at the end.
func (r *chunkReader) catchUp(ctx context.Context) error {
	c := r.h.c
	var inner error
	from, gap := r.read, false
	err := c.replay(ctx, r.h.id,
		func() wire.ReplayRequest { // with the chunk before: it may be the attempt's end
			return wire.ReplayRequest{Attempt: r.attempt, Index: max(r.index-1, 0), After: r.read, Most: r.nextPage(), Packed: true}
		},
		func(m *nats.Msg) bool {
			p, ok := parseChunks(m.Header, m.Data)
			if !ok {
				return true
			}
			if r.gap(&p.Chunk) {
				gap = true
				return false
			}
			inner = r.giveAll(&p)
			return inner == nil
		},
		func(seq uint64) { r.read = seq })
	switch {
	case inner != nil:
		return inner
	case gap && from == 0:
		return r.truncated()
	case gap: // the stream was made anew, and its numbers mean nothing: read all
		r.read = 0
		return r.catchUp(ctx)
	}
	return err
}

// nextPage is how many chunks to ask for.
func (r *chunkReader) nextPage() int {
	now := time.Now()
	if r.page > 0 && now.Sub(r.asked) < pageSoon {
		r.page = min(2*r.page, pageMost)
	} else {
		r.page = pageLeast
	}
	r.asked = now
	return r.page
}

// finish yields what is left once the job has ended, and says how it ended.
func (r *chunkReader) finish(ctx context.Context, last stored) error {
	for len(r.live) > 0 {
		if err := r.takeLive(ctx, <-r.live); err != nil {
			return err
		}
	}
	attempts := last.Entry.Progress.Attempts
	if err := r.awaitLive(ctx, attempts); err != nil {
		return err
	}
	for wait, try := gapFirst, 0; try < gapTries && !r.complete(attempts); wait, try = wait*2, try+1 {
		if err := r.catchUp(ctx); err != nil {
			return err
		}
		if r.complete(attempts) || last.Status != Succeeded || !r.any && !last.Entry.Meta.Stream {
			break
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		r.read = 0 // the stream may have been made anew, and count from 1
	}
	if last.Status != Succeeded {
		return endError(r.h.id, last)
	}
	if r.any && !r.complete(attempts) {
		return r.truncated()
	}
	return nil
}

// awaitLive takes the live chunks that a record overtook on its way: the two
// come by subscriptions of their own.
func (r *chunkReader) awaitLive(ctx context.Context, attempts int) error {
	if !r.any || r.attempt != attempts {
		return nil // not a reader of this attempt's live chunks
	}
	grace := time.NewTimer(gapFirst)
	defer grace.Stop()
	for !r.complete(attempts) {
		select {
		case m := <-r.live:
			if err := r.takeLive(ctx, m); err != nil {
				return err
			}
		case <-grace.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// complete reports whether the end of the last attempt has been read.
func (r *chunkReader) complete(attempts int) bool {
	return r.ended && r.attempt >= attempts
}

func (r *chunkReader) truncated() error {
	return fail(wire.CodeStreamTruncated, nil,
		"chunk %d of attempt %d is no longer kept: the whole answer is in the job's result", r.index, r.attempt).of(r.h.id)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

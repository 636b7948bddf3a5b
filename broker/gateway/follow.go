package gateway

import (
	"context"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// Sequence numbers of a response in the background follow from where an event
// stands, so that any gateway numbers them alike: 0 and 1 say that it was
// created and queued, chunk i of attempt a has (a-1)·attemptSpan + 2 + i, and
// an end that no provider has sent comes after all of its attempt.
const (
	attemptSpan = 1_000_000
	firstChunk  = 2
)

func sequenceOf(attempt, index int) int64 {
	return int64(attempt-1)*attemptSpan + firstChunk + int64(index)
}

// placeOf is where to read on from an event: from its own chunk, since that may
// be the last. Attempt 0 is the latest.
func placeOf(seq int64) (attempt, index int) {
	if seq < firstChunk {
		return 0, 0
	}
	return int(seq/attemptSpan) + 1, int(max(seq%attemptSpan-firstChunk, 0))
}

// following relays the events of a response in the background.
type following struct {
	c     *call
	s     *snapshot
	out   *events
	after int64 // of what the client has seen
	begun int   // the attempt whose chunks were sent, 0: none
	done  bool  // the response's last event was sent
	deaf  bool  // the client takes no more
	fault *wire.Error
}

// follow sends the events behind sequence number after (-1: all) until the
// response is done. The job goes on whatever becomes of the client.
func (c *call) follow(ctx context.Context, s *snapshot, after int64) {
	f := &following{c: c, s: s, out: c.g.newEvents(c), after: after}
	first := *s
	first.status, first.body, first.fault = "queued", nil, nil
	f.out.open()
	f.out.number(after + 1)
	f.send(0, event("response.created", first.object()))
	f.send(1, event("response.queued", first.object()))
	f.out.flushNow()
	if err := f.run(ctx); err != nil && f.fault == nil {
		f.fault = faultOf(reason(ctx, err))
	}
	f.out.close(f.fault)
}

// event is an event around a response.
func event(kind string, response []byte) []byte {
	return append(append([]byte(`{"type":"`+kind+`","response":`), response...), '}')
}

// send sends an event under its number, unless the client has seen it.
func (f *following) send(seq int64, data []byte) {
	if seq <= f.after {
		return
	}
	f.out.event(numbered(data, seq, f.s.id))
	f.out.number(seq + 1)
}

func (f *following) run(ctx context.Context) error {
	attempt, index := placeOf(f.after)
	f.begun = attempt
	for chunk, err := range f.c.job.ChunksFrom(ctx, attempt, index) {
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			break // the job's own error, or chunks that are not kept: its record says
		}
		if chunk.End && brokenOff(&chunk) == nil && !f.stands(ctx, &chunk) {
			break
		}
		if !f.take(&chunk) {
			break
		}
		if !chunk.More && !f.out.send() {
			f.deaf = true
			break
		}
	}
	if f.done || f.deaf || f.fault != nil {
		return nil
	}
	return f.end(ctx)
}

// stands waits for the record behind a last chunk, since who reads that a
// response is completed may retrieve it at once. If the record is of another
// attempt, because the worker died in between, the chunk is not the end.
func (f *following) stands(ctx context.Context, chunk *sdk.Chunk) bool {
	f.out.send() // what came before it does not wait; that the client takes no more shows later
	res, err := f.c.job.Wait(ctx)
	if err != nil && res == nil {
		return true // nobody knows better; the client hears what there is
	}
	if attempts := res.Record.Entry.Progress.Attempts; attempts > chunk.Attempt {
		f.fault = wire.Errorf(wire.CodeInterrupted, "", "the answer broke off and another attempt began: read it from its start")
		return false
	}
	return true
}

// take relays one chunk; false ends the stream.
func (f *following) take(chunk *sdk.Chunk) bool {
	if f.begun != 0 && chunk.Attempt > f.begun {
		f.fault = wire.Errorf(wire.CodeInterrupted, "", "the answer broke off and another attempt began: read it from its start")
		return false
	}
	if brokenOff(chunk) != nil {
		return true // another attempt may follow, or the job's end
	}
	switch jsonscan.String(jsonscan.Get(chunk.Data, "type")) {
	case "response.created", "response.queued": // said already
		return true
	}
	f.begun = chunk.Attempt
	if chunk.Index == 0 || f.after < firstChunk {
		f.c.g.metrics.firstChunk(f.c.endpoint, time.Since(f.c.start))
	}
	f.send(sequenceOf(chunk.Attempt, chunk.Index), chunk.Data)
	f.done = chunk.End
	return !f.done
}

// end sends the end that the job's record tells, where no chunk did.
func (f *following) end(ctx context.Context) error {
	f.out.send()
	res, err := f.c.job.Wait(ctx)
	if err != nil {
		return err
	}
	s := snapshotOf(&res.Record)
	kind := "response.failed"
	if s.status == "completed" || s.status == "incomplete" {
		kind = "response." + s.status
	}
	f.send(int64(max(s.attempts, 1))*attemptSpan, event(kind, s.object()))
	return nil
}

// numbered gives an event its number here, and its response our ID.
func numbered(data []byte, seq int64, id string) []byte {
	out := append(make([]byte, 0, len(data)+64), '{')
	o := jsonscan.NewObject(data)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		switch string(m.Key) {
		case "sequence_number":
		case "response":
			out = append(append(append(out, `"response":`...), rename(m.Value, id)...), ',')
		default:
			out = append(append(out, m.Span...), ',')
		}
	}
	return append(strconv.AppendInt(append(out, `"sequence_number":`...), seq, 10), '}')
}

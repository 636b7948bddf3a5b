package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/adapter"
	"github.com/sluicehq/sluice/workers/eventstream"
	"github.com/sluicehq/sluice/workers/sse"
)

// drainLimit and drainTime bound the look for the end of the connection's
// response after the finish marker: at its end the connection can be used
// again.
const (
	drainLimit = 4 << 10
	drainTime  = 10 * time.Millisecond
)

// heldPerAnswer is how much more than the answer a stream may keep in memory
// while it is assembled: deltas come with a little around them.
const heldPerAnswer = 4

// stream takes a streamed answer: each event to the codec and, with those that
// came with it, to Emit.
func (r *call) stream(ctx context.Context, w *watch, body io.Reader, binary bool) {
	src := liveReader{body, r, w}
	events := eventsOf(src, binary)
	st := r.e.codec.Stream(r.asked)
	defer func() { r.sum = st.Sum() }()
	var one [1][]byte
	for {
		ev, err := events.Next()
		if r.deaf {
			return
		}
		if err == nil && ev.Partial && !complete(ev.Data) {
			err = io.ErrUnexpectedEOF
		}
		if ctx.Err() != nil && err == nil {
			err = ctx.Err()
		}
		if err == io.EOF && ctx.Err() == nil {
			if step, ok := st.End(); ok {
				r.finish(w, src, st, step.Chunks)
				return
			}
		}
		if err != nil {
			r.cut(ctx, err)
			return
		}
		step, f := st.Event(ev.Name, ev.Data)
		if f != nil {
			r.fail(f)
			return
		}
		if step.Content && r.out.TTFT == 0 {
			r.out.TTFT = max(time.Since(r.start), 1)
		}
		if sum := st.Sum(); max(sum.Text, sum.Held/heldPerAnswer) > r.e.cfg.MaxAnswer {
			r.tooLarge()
			return
		}
		if !step.Converted {
			step.Chunks = append(one[:0], ev.Data)
		}
		if step.Last {
			r.finish(w, src, st, step.Chunks)
			return
		}
		r.emitAll(step.Chunks)
	}
}

// liveReader hands on what came before it waits for more, and notes every read
// as a sign of life.
type liveReader struct {
	src io.Reader
	r   *call
	w   *watch
}

// Read implements io.Reader.
func (l liveReader) Read(p []byte) (int, error) {
	if len(l.r.ready) > 0 && !l.r.handOn(false) {
		return 0, errDeaf
	}
	n, err := l.src.Read(p)
	l.w.alive()
	return n, err
}

// errDeaf: nobody takes the events any more.
var errDeaf = errors.New("the events are not taken")

// eventReader is a stream of either kind.
type eventReader interface{ Next() (sse.Event, error) }

// eventsOf reads server-sent events, or the messages of AWS's event stream.
func eventsOf(src io.Reader, binary bool) eventReader {
	if binary {
		return messageReader{eventstream.NewReader(src, sse.MaxEvent)}
	}
	return sse.NewReader(src, sse.MaxEvent)
}

// messageReader gives messages as events. An exception has a mark before its
// name.
type messageReader struct{ *eventstream.Reader }

// Next implements eventReader.
func (r messageReader) Next() (sse.Event, error) {
	m, err := r.Reader.Next()
	if m.Type != "event" {
		m.Name = adapter.ExceptionMark + m.Name
	}
	if len(m.Payload) == 0 {
		m.Payload = []byte("{}")
	}
	return sse.Event{Name: m.Name, Data: m.Payload}, err
}

// emitAll has events handed on.
func (r *call) emitAll(events [][]byte) {
	for _, ev := range events {
		r.emit(ev)
	}
}

// finish hands out the last events once the answer is known to fit.
func (r *call) finish(w *watch, src io.Reader, st adapter.Stream, events [][]byte) {
	answer := st.Answer()
	if len(answer) > r.e.cfg.MaxAnswer {
		r.tooLarge()
		return
	}
	if r.emitAll(events); !r.handOn(true) {
		return
	}
	r.out.Status, r.out.Body = wire.Succeeded, answer
	w.allow(drainTime, errIdle)
	_, _ = io.CopyN(io.Discard, src, drainLimit) // any end will do
}

// cut tells why a stream ended before its finish marker.
func (r *call) cut(ctx context.Context, err error) {
	if errors.Is(err, eventstream.ErrCorrupt) {
		r.fail(adapter.Fail(wire.CodeStreamGarbled, "the provider sent a stream message with a wrong checksum or header"))
		return
	}
	if errors.Is(err, sse.ErrTooLong) || errors.Is(err, eventstream.ErrTooLong) {
		r.fail(adapter.Fail(wire.CodeStreamGarbled, "the provider sent a stream event of more than %d bytes", sse.MaxEvent))
		return
	}
	r.broken(ctx, err, wire.CodeStreamTruncated)
}

// complete reports whether an event that the stream ended in is whole all the
// same: some providers leave out the last line ending.
func complete(data []byte) bool {
	return bytes.Equal(data, []byte("[DONE]")) || json.Valid(data)
}

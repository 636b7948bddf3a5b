package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// relay carries a job's chunks into one stream of events.
type relay struct {
	c     *call
	out   *events
	held  []byte // the attempt's opening chunk, until another follows
	begun bool   // a chunk was sent: no other attempt may follow (I3)
	done  bool   // the answer is whole
	deaf  bool   // the client takes no more
	fault *wire.Error
}

// stream answers with the chunks as they come.
func (c *call) stream(ctx context.Context) *wire.Error {
	r := &relay{c: c, out: c.g.newEvents(c)}
	err := r.run(ctx)
	if ctx.Err() == nil && !r.begun && r.fault == nil && (err == nil || sdk.CodeOf(err) == wire.CodeStreamTruncated) {
		err = r.whole(ctx)
	}
	if err != nil && r.fault == nil {
		r.fault = faultOf(reason(ctx, err))
	}
	return r.close(ctx)
}

// run relays until the answer is whole, or cannot be any more.
func (r *relay) run(ctx context.Context) error {
	for chunk, err := range r.c.job.Chunks(ctx) {
		if err != nil {
			return err
		}
		if !r.take(ctx, &chunk) {
			break
		}
		if !chunk.More && !r.out.send() {
			r.deaf = true
			break
		}
	}
	return nil
}

// take relays one chunk; false ends the stream.
func (r *relay) take(ctx context.Context, chunk *sdk.Chunk) bool {
	if chunk.Restarted {
		if r.begun {
			r.fault = wire.Errorf(wire.CodeInterrupted, "", "the answer broke off and another attempt began: ask again")
			return false
		}
		r.held = nil
	}
	if f := brokenOff(chunk); f != nil {
		if r.begun {
			r.fault = f
		}
		return !r.begun // nothing was sent: another attempt may follow, or the job's own error
	}
	if r.c.dispensable(chunk.Data) || r.hold(chunk) {
		return true
	}
	if !r.begun && !r.begin(ctx) {
		return false
	}
	r.done = chunk.End
	r.out.event(chunk.Data)
	return !r.done
}

// begin sends what was held back; false: the job is not the client's.
func (r *relay) begin(ctx context.Context) bool {
	if r.c.req.named {
		if r.fault = r.c.conflict(ctx); r.fault != nil {
			return false
		}
	}
	r.begun = true
	r.c.g.metrics.firstChunk(r.c.endpoint, time.Since(r.c.start))
	if r.held != nil {
		r.out.event(r.held)
	}
	return true
}

// hold keeps back an attempt's opening chunk if it says nothing yet, so that
// an attempt that breaks off right there can still be replaced.
func (r *relay) hold(chunk *sdk.Chunk) bool {
	if r.begun || chunk.Index != 0 || chunk.End || r.c.endpoint != wire.ChatCompletions || !silent(chunk.Data) {
		return false
	}
	r.held = chunk.Data
	return true
}

// silent reports whether a chunk of a chat answer only opens it.
func silent(data []byte) bool {
	if jsonscan.Kind(data) != '{' {
		return false
	}
	choices := jsonscan.NewArray(jsonscan.Get(data, "choices"))
	for c, ok := choices.Next(); ok; c, ok = choices.Next() {
		delta := jsonscan.NewObject(jsonscan.Get(c, "delta"))
		for m, ok := delta.Next(); ok; m, ok = delta.Next() {
			if v := string(m.Value); string(m.Key) != "role" && v != "null" && v != `""` {
				return false
			}
		}
		if !jsonscan.Null(jsonscan.Get(c, "finish_reason")) {
			return false
		}
	}
	return true
}

// whole sends the finished answer of a job without chunks: they are not kept
// any more, or the provider does not stream.
func (r *relay) whole(ctx context.Context) error {
	res, err := r.c.job.Wait(ctx)
	if err != nil {
		return err
	}
	if r.c.other(&res.Record.Entry.Meta) {
		return r.c.taken()
	}
	if res.Err != nil {
		return res.Err
	}
	list := wholeAsEvents(r.c.endpoint, res.Body, r.c.req.usage)
	if list == nil {
		return wire.Errorf(wire.CodeStreamTruncated, "", "the job's chunks are not kept any more: its answer is in the job's record")
	}
	r.begun, r.done = true, true
	for _, data := range list {
		r.out.event(data)
	}
	return nil
}

// close ends the stream. An error that it returns is still to be told.
func (r *relay) close(ctx context.Context) *wire.Error {
	c := r.c
	if r.done && !r.deaf {
		c.outcome = outcome(wire.Succeeded)
		if c.wantsTrailers() {
			r.out.flushNow()
			c.trail(ctx)
		}
		r.out.close(nil)
		return nil
	}
	began := r.out.close(r.fault)
	switch {
	case ctx.Err() != nil:
		c.lost(ctx, nil)
	case r.deaf:
		c.outcome = gone
		c.abandon(ctx)
	default:
		if r.begun { // nobody will read what another attempt answers
			c.abandon(ctx)
		}
		if r.fault != nil && r.fault.Code != wire.CodeIDConflict {
			c.outcome = outcome(endOf(r.fault.Code))
		}
	}
	if began {
		return nil
	}
	return r.fault
}

// endOf is the terminal status that goes with a code.
func endOf(code wire.Code) wire.Status {
	switch code {
	case wire.CodeCancelled:
		return wire.Cancelled
	case wire.CodeDeadline:
		return wire.Expired
	}
	return wire.Failed
}

// trailTimeout bounds the wait for the record that follows the last chunk.
const trailTimeout = 5 * time.Second

// wantsTrailers reports whether the client says that it takes trailers.
func (c *call) wantsTrailers() bool {
	return strings.Contains(strings.ToLower(c.r.Header.Get("Te")), "trailers")
}

// trail sends pool and cost, which are known only at the end, as trailers.
func (c *call) trail(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, trailTimeout)
	defer cancel()
	res, err := c.job.Wait(ctx)
	if err != nil {
		return // the answer is whole without them
	}
	for name, v := range settled(res) {
		c.w.Header()[http.TrailerPrefix+name] = []string{v}
	}
}

// brokenOff is the error that an attempt's last chunk says it ended with.
func brokenOff(chunk *sdk.Chunk) *wire.Error {
	if !chunk.End || !bytes.HasPrefix(chunk.Data, []byte(`{"error":`)) {
		return nil
	}
	var o struct {
		Error struct {
			Message string
			Param   string
			Code    wire.Code
		}
	}
	if json.Unmarshal(chunk.Data, &o) != nil || o.Error.Code == "" {
		return wire.Errorf(wire.CodeStreamTruncated, "", "the answer broke off")
	}
	return &wire.Error{Code: o.Error.Code, Param: o.Error.Param, Message: o.Error.Message}
}

// dispensable reports whether data is the usage chunk that Sluice asked for
// and the client did not.
func (c *call) dispensable(data []byte) bool {
	if c.req.usage || c.endpoint != wire.ChatCompletions && c.endpoint != wire.Completions {
		return false
	}
	// Inside a JSON string the quotes would be escaped.
	if !bytes.Contains(data, []byte(`"usage"`)) || bytes.Contains(data, []byte(`"usage":null`)) {
		return false
	}
	choices := jsonscan.NewArray(jsonscan.Get(data, "choices"))
	_, some := choices.Next()
	return !some && jsonscan.Kind(jsonscan.Get(data, "usage")) == '{'
}

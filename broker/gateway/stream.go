package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

// relay carries a job's chunks into one stream of events.
type relay struct {
	c     *call
	out   *events
	held  []byte // the attempt's opening chunk, until another follows
	begun bool   // a chunk was sent: no other attempt may follow (I3)
	done  bool   // the answer is whole
	fault *wire.Error
}

// stream answers with the chunks as they come.
func (c *call) stream(ctx context.Context) *wire.Error {
	out := c.g.newEvents(c)
	r := &relay{c: c, out: out}
	err := r.run(ctx)
	if err == nil && !r.done && r.fault == nil {
		err = r.whole(ctx)
	}
	if r.fault == nil && err != nil {
		r.fault = faultOf(reason(ctx, err))
	}
	if r.done {
		out.close(nil)
		return nil
	}
	began := out.close(r.fault)
	if ctx.Err() != nil || r.begun {
		c.abandon(ctx)
	}
	if began {
		return nil
	}
	return r.fault
}

// errGone says that the client takes no more bytes.
var errGone = errors.New("the client has gone")

// run relays until the answer is whole, or cannot be.
func (r *relay) run(ctx context.Context) error {
	for chunk, err := range r.c.job.Chunks(ctx) {
		if err != nil {
			return err
		}
		if !r.take(ctx, &chunk) {
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
			return false
		}
		return true // nothing was sent: another attempt may follow, or the job's own error
	}
	if r.c.dispensable(chunk.Data) {
		return true
	}
	if r.hold(chunk) {
		return true
	}
	if !r.begun && r.c.req.named {
		if r.fault = r.c.conflict(ctx); r.fault != nil {
			return false
		}
	}
	r.begun = true
	if r.held != nil {
		r.out.event(r.held)
		r.held = nil
	}
	r.done = chunk.End
	if !r.out.event(chunk.Data) {
		r.fault = faultOf(errGone)
		return false
	}
	return !r.done
}

// hold keeps back an attempt's opening chunk if it says nothing yet, so that
// an attempt that breaks off right there can still be replaced.
func (r *relay) hold(chunk *sdk.Chunk) bool {
	if r.begun || chunk.Index != 0 || chunk.End || r.c.endpoint != wire.ChatCompletions || chunk.Text() != "" {
		return false
	}
	r.held = chunk.Data
	return true
}

// whole ends a stream for which there were no chunks.
func (r *relay) whole(context.Context) error {
	return wire.Errorf(wire.CodeStreamTruncated, "", "the job's chunks are not kept any more: its answer is in the job's record")
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
	var o struct {
		Choices []json.RawMessage
		Usage   json.RawMessage
	}
	return json.Unmarshal(data, &o) == nil && len(o.Choices) == 0 && len(o.Usage) > 0 && o.Usage[0] == '{'
}

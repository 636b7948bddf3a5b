package adapter

import (
	"strings"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// converseStream turns a stream of Converse into one of chat completions. The
// last event is metadata, which has the usage and comes after messageStop.
type converseStream struct {
	w        *chatWriter
	blocks   []*converseBlock
	stopped  bool
	tally    converseTally
	held     int
	thoughts int
}

// converseBlock is a content block that is open.
type converseBlock struct {
	index     int64
	tool      bool
	call      int    // its index
	streamed  bool   // its input came in pieces
	thinking  []byte // inner
	signature []byte // inner
	redacted  []byte // inner
}

// Event implements Stream.
func (s *converseStream) Event(name string, data []byte) (Step, *Failure) {
	if !sound(data) {
		return Step{}, garbled(data)
	}
	if kind, ok := strings.CutPrefix(name, ExceptionMark); ok {
		code := bedrockCodes[strings.ToLower(kind)]
		if code == "" {
			code = wire.CodeProviderError
		}
		return Step{}, exception(kind, data, code, "the provider broke the stream off with an exception")
	}
	step := Step{Converted: true}
	before := s.w.whole.text
	switch name {
	case "messageStart":
		s.w.begin(0, "null")
	case "contentBlockStart":
		s.start(s.block(data), jsonscan.Get(data, "start"))
	case "contentBlockDelta":
		s.delta(s.block(data), jsonscan.Get(data, "delta"))
	case "contentBlockStop":
		s.close(s.block(data))
	case "messageStop":
		if f := s.stop(jsonscan.String(jsonscan.Get(data, "stopReason"))); f != nil {
			return Step{}, f
		}
	case "metadata":
		s.tally.add(jsonscan.Get(data, "usage"))
		if s.stopped {
			s.w.end(s.tally.usage(), s.tally.reported)
			step.Last = true
		}
	}
	step.Content = s.w.whole.text > before
	step.Chunks = s.w.take()
	return step, nil
}

// block is the open block of an event, made if it is not there.
func (s *converseStream) block(data []byte) *converseBlock {
	index := jsonscan.Int(jsonscan.Get(data, "contentBlockIndex"))
	for _, b := range s.blocks {
		if b.index == index {
			return b
		}
	}
	if len(s.blocks) >= maxKnown { // one after the other is what there is
		s.blocks = s.blocks[1:]
	}
	b := &converseBlock{index: index}
	s.blocks = append(s.blocks, b)
	return b
}

func (s *converseStream) start(b *converseBlock, start []byte) {
	if use := jsonscan.Get(start, "toolUse"); jsonscan.Kind(use) == '{' {
		b.tool = true
		b.call = s.w.call(0, jsonscan.String(jsonscan.Get(use, "toolUseId")), jsonscan.String(jsonscan.Get(use, "name")), "")
	}
}

func (s *converseStream) delta(b *converseBlock, delta []byte) {
	o := jsonscan.NewObject(delta)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		switch string(m.Key) {
		case "text":
			s.w.text(0, jsonscan.Inner(m.Value))
		case "toolUse":
			if input := jsonscan.Inner(jsonscan.Get(m.Value, "input")); b.tool && len(input) > 0 {
				b.streamed = true
				s.w.arguments(0, b.call, input)
			}
		case "reasoningContent":
			s.thought(b, m.Value)
		}
	}
}

// thought takes the members of a piece of reasoning.
func (s *converseStream) thought(b *converseBlock, piece []byte) {
	s.held += len(piece)
	o := jsonscan.NewObject(piece)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		inner := jsonscan.Inner(m.Value)
		switch string(m.Key) {
		case "text":
			b.thinking = append(b.thinking, inner...)
			s.w.reasoning(0, inner)
		case "signature":
			b.signature = append(b.signature, inner...)
		case "redactedContent":
			b.redacted = append(b.redacted, inner...)
		}
	}
}

// close ends a block. A signed thought goes into thinking_blocks as Anthropic
// has it, to be sent back in the next turn.
func (s *converseStream) close(b *converseBlock) {
	if b.tool && !b.streamed {
		s.w.arguments(0, b.call, []byte("{}"))
	}
	if len(b.signature) > 0 || len(b.redacted) > 0 {
		out := appendInt([]byte(`[{"index":`), int64(s.thoughts))
		if len(b.redacted) > 0 {
			out = append(append(out, `,"type":"redacted_thinking","data":"`...), b.redacted...)
		} else {
			out = append(append(out, `,"type":"thinking","thinking":"`...), b.thinking...)
			out = append(append(out, `","signature":"`...), b.signature...)
		}
		s.w.raw(0, "thinking_blocks", append(out, `"}]`...))
		s.thoughts++
	}
	for i := range s.blocks {
		if s.blocks[i] == b {
			s.blocks = append(s.blocks[:i], s.blocks[i+1:]...)
			break
		}
	}
}

// message writes the content of a whole message.
func (s *converseStream) message(content []byte) {
	s.w.begin(0, "null")
	a := jsonscan.NewArray(content)
	for raw, ok := a.Next(); ok; raw, ok = a.Next() {
		b := &converseBlock{}
		o := jsonscan.NewObject(raw)
		for m, ok := o.Next(); ok; m, ok = o.Next() {
			switch string(m.Key) {
			case "text":
				s.w.text(0, jsonscan.Inner(m.Value))
			case "toolUse":
				s.start(b, raw)
				if input := jsonscan.Get(m.Value, "input"); jsonscan.Kind(input) == '{' {
					b.streamed = true
					s.w.arguments(0, b.call, quoted(string(input)))
				}
			case "reasoningContent":
				s.thought(b, m.Value)
				s.thought(b, jsonscan.Get(m.Value, "reasoningText"))
			}
		}
		s.close(b)
	}
}

// converseReasons are the finish reasons that are not "stop".
var converseReasons = map[string]string{
	"max_tokens": "length", "model_context_window_exceeded": "length", "tool_use": "tool_calls",
	"guardrail_intervened": "content_filter", "content_filtered": "content_filter",
}

// stop says why the answer ended, once.
func (s *converseStream) stop(reason string) *Failure {
	switch {
	case reason == "malformed_model_output" || reason == "malformed_tool_use":
		return Fail(wire.CodeProviderError, "the provider broke off its answer (%s)", reason)
	case s.stopped:
		return nil
	}
	s.stopped = true
	name := converseReasons[reason]
	if name == "" {
		name = "stop"
	}
	s.w.finish(0, name)
	return nil
}

// End implements Stream: a stream that ended after messageStop lacks only the
// usage.
func (s *converseStream) End() (Step, bool) {
	if !s.stopped {
		return Step{}, false
	}
	s.w.end(s.tally.usage(), s.tally.reported)
	return Step{Last: true, Converted: true, Chunks: s.w.take()}, true
}

// Sum implements Stream.
func (s *converseStream) Sum() Answer {
	return Answer{Usage: s.tally.usage(), Reported: s.tally.reported, Text: s.w.whole.text, Held: s.w.whole.held + s.held}
}

// Answer implements Stream.
func (s *converseStream) Answer() []byte { return s.w.whole.Answer() }

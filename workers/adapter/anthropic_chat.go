package adapter

import (
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// messageChat turns a stream of the Messages API into one of chat completions.
type messageChat struct {
	w        *chatWriter
	begun    bool
	finished bool
	tally    messageTally
	counted  bool
	thoughts int // thinking blocks so far

	// of the block that is open: the API streams one after the other
	kind      string
	call      int    // its index, of a tool's use
	input     []byte // given at its start
	streamed  bool   // its input came in pieces
	thinking  []byte // inner
	signature []byte // inner
}

// Event implements Stream.
func (s *messageChat) Event(name string, data []byte) (Step, *Failure) {
	e, f := readMessageEvent(name, data)
	if f != nil {
		return Step{}, f
	}
	step := Step{Converted: true}
	before := s.w.whole.text
	switch string(e.kind) {
	case "message_start":
		m := e.get("message")
		s.begun = true
		s.w.named(jsonscan.String(jsonscan.Get(m, "id")), jsonscan.String(jsonscan.Get(m, "model")))
		s.tally.add(jsonscan.Get(m, "usage"))
		s.w.begin(0, "null")
	case "content_block_start":
		s.start(e.get("content_block"))
	case "content_block_delta":
		s.delta(e.get("delta"))
	case "content_block_stop":
		s.stop()
	case "message_delta":
		usage := e.get("usage")
		s.tally.add(usage)
		s.counted = s.counted || jsonscan.Kind(usage) == '{'
		s.finish(jsonscan.String(jsonscan.Get(e.get("delta"), "stop_reason")))
	case "message_stop":
		if !s.begun {
			return Step{}, noMessage()
		}
		s.finish("end_turn") // unless a reason was given before
		s.w.end(s.tally.usage(), s.counted)
		step.Last = true
	}
	step.Content = s.w.whole.text > before
	step.Chunks = s.w.take()
	return step, nil
}

// message writes a whole message.
func (s *messageChat) message(m message) {
	s.tally = m.tally
	s.w.named(jsonscan.String(m.id), jsonscan.String(m.model))
	s.w.begin(0, "null")
	a := jsonscan.NewArray(m.content)
	for b, ok := a.Next(); ok; b, ok = a.Next() {
		s.start(b)
		s.stop()
	}
	s.finish(jsonscan.String(m.stop))
	s.finish("end_turn")
	s.w.end(m.tally.usage(), m.tally.reported)
}

func (s *messageChat) start(block []byte) {
	s.kind = jsonscan.String(jsonscan.Get(block, "type"))
	s.input, s.streamed, s.thinking, s.signature = nil, false, nil, nil
	switch s.kind {
	case "text":
		s.w.text(0, jsonscan.Inner(jsonscan.Get(block, "text")))
	case "tool_use":
		s.call = s.w.call(0, jsonscan.String(jsonscan.Get(block, "id")), jsonscan.String(jsonscan.Get(block, "name")), "")
		s.input = jsonscan.Get(block, "input")
	case "thinking", "redacted_thinking":
		s.delta(block)
	}
}

// delta takes the members of a delta, or of a whole thinking block.
func (s *messageChat) delta(delta []byte) {
	o := jsonscan.NewObject(delta)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		inner := jsonscan.Inner(m.Value)
		switch string(m.Key) {
		case "text":
			s.w.text(0, inner)
		case "thinking":
			s.thinking = append(s.thinking, inner...)
			s.w.reasoning(0, inner)
		case "signature", "data":
			s.signature = append(s.signature, inner...)
		case "partial_json":
			if s.kind == "tool_use" && len(inner) > 0 {
				s.streamed = true
				s.w.arguments(0, s.call, inner)
			}
		}
	}
}

// stop closes the open block. A signed thought goes into thinking_blocks as
// it is, since Anthropic wants it back in the next turn.
func (s *messageChat) stop() {
	switch s.kind {
	case "tool_use":
		if !s.streamed {
			input := s.input
			if jsonscan.Kind(input) != '{' {
				input = []byte("{}")
			}
			s.w.arguments(0, s.call, quoted(string(input)))
		}
	case "thinking", "redacted_thinking":
		if len(s.signature) > 0 {
			s.w.raw(0, "thinking_blocks", s.thought())
			s.thoughts++
		}
	}
	s.kind = ""
}

// thought is the open block as an element of thinking_blocks.
func (s *messageChat) thought() []byte {
	b := appendInt([]byte(`[{"index":`), int64(s.thoughts))
	if s.kind == "redacted_thinking" {
		b = append(b, `,"type":"redacted_thinking","data":"`...)
	} else {
		b = append(append(b, `,"type":"thinking","thinking":"`...), s.thinking...)
		b = append(b, `","signature":"`...)
	}
	return append(append(b, s.signature...), `"}]`...)
}

// messageReasons are the finish reasons that are not "stop".
var messageReasons = map[string]string{
	"max_tokens": "length", "model_context_window_exceeded": "length", "tool_use": "tool_calls", "refusal": "content_filter",
}

// finish says why the answer ended, once.
func (s *messageChat) finish(reason string) {
	if reason == "" || s.finished {
		return
	}
	s.finished = true
	name := messageReasons[reason]
	if name == "" {
		name = "stop"
	}
	s.w.finish(0, name)
}

// End implements Stream: only the last event ends it.
func (s *messageChat) End() (Step, bool) { return Step{}, false }

// Sum implements Stream.
func (s *messageChat) Sum() Answer {
	return Answer{Usage: s.tally.usage(), Reported: s.counted, Text: s.w.whole.text, Held: s.w.whole.held + len(s.thinking) + len(s.signature) + len(s.input)}
}

// Answer implements Stream.
func (s *messageChat) Answer() []byte { return s.w.whole.Answer() }

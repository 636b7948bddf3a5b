package adapter

import (
	"strconv"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// geminiStream turns answers of generateContent, which a stream has many of,
// into chunks of a chat completion. The API has no last event: the stream is
// complete when every candidate in it has a finish reason.
type geminiStream struct {
	w       *chatWriter
	id      string   // of the request: names calls
	reasons []string // by candidate: its finish reason
	calls   int      // so far, of all candidates
	tally   geminiTally
}

// Event implements Stream.
func (s *geminiStream) Event(_ string, data []byte) (Step, *Failure) {
	if !sound(data) {
		return Step{}, garbled(data)
	}
	step := Step{Converted: true}
	before := s.w.whole.text
	var candidates, feedback []byte
	o := jsonscan.NewObject(data)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		switch string(m.Key) {
		case "error":
			return Step{}, readFault(data).inBody()
		case "candidates":
			candidates = m.Value
		case "promptFeedback":
			feedback = m.Value
		case "usageMetadata":
			s.tally.add(m.Value)
		case "modelVersion":
			s.w.named("", jsonscan.String(m.Value))
		case "responseId":
			s.w.named(jsonscan.String(m.Value), "")
		case "createTime":
			s.w.at(jsonscan.String(m.Value))
		}
	}
	if reason := machine(jsonscan.String(jsonscan.Get(feedback, "blockReason"))); reason != "" && len(s.reasons) == 0 {
		return Step{}, Fail(wire.CodeContentFilter, "the provider refused the prompt (%s): its policy refuses this content", reason)
	}
	a := jsonscan.NewArray(candidates)
	for c, ok := a.Next(); ok; c, ok = a.Next() {
		if f := s.candidate(c); f != nil {
			return Step{}, f
		}
	}
	step.Content = s.w.whole.text > before
	step.Chunks = s.w.take()
	return step, nil
}

func (s *geminiStream) candidate(c []byte) *Failure {
	index := jsonscan.Int(jsonscan.Get(c, "index"))
	if index >= maxChoices {
		return Fail(wire.CodeStreamGarbled, "the provider sent a stream with more than %d choices", maxChoices)
	}
	n := int(index)
	for len(s.reasons) <= n {
		s.reasons = append(s.reasons, "")
	}
	s.w.begin(n, "null")
	parts := jsonscan.NewArray(jsonscan.Get(jsonscan.Get(c, "content"), "parts"))
	for p, ok := parts.Next(); ok; p, ok = parts.Next() {
		s.part(n, p)
	}
	reason := machine(jsonscan.String(jsonscan.Get(c, "finishReason")))
	if geminiBroken[reason] {
		return Fail(wire.CodeProviderError, "the provider broke off its answer (%s)", reason)
	}
	if reason != "" && s.reasons[n] == "" {
		s.reasons[n] = reason
	}
	return nil
}

func (s *geminiStream) part(n int, part []byte) {
	var text, call, signature []byte
	thought := false
	o := jsonscan.NewObject(part)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		switch string(m.Key) {
		case "text":
			text = jsonscan.Inner(m.Value)
		case "thought":
			thought = string(m.Value) == "true"
		case "functionCall":
			call = m.Value
		case "thoughtSignature":
			signature = jsonscan.Inner(m.Value)
		}
	}
	switch {
	case jsonscan.Kind(call) == '{':
		s.call(n, call, signature)
	case thought:
		s.w.reasoning(n, text)
	default:
		s.w.text(n, text)
	}
}

// call writes a call, which the API always gives whole. Most of its models
// give no ID with it.
func (s *geminiStream) call(n int, call, signature []byte) {
	id := jsonscan.String(jsonscan.Get(call, "id"))
	if id == "" {
		id = "call_" + s.id + "-" + strconv.Itoa(s.calls)
	}
	s.calls++
	extra := ""
	if len(signature) > 0 {
		extra = `,"extra_content":{"google":{"thought_signature":"` + string(signature) + `"}}`
	}
	index := s.w.call(n, id, jsonscan.String(jsonscan.Get(call, "name")), extra)
	args := jsonscan.Get(call, "args")
	if jsonscan.Kind(args) != '{' {
		args = []byte("{}")
	}
	s.w.arguments(n, index, quoted(string(args)))
}

// geminiBroken are the finish reasons of an answer that is none.
var geminiBroken = map[string]bool{
	"MALFORMED_FUNCTION_CALL": true, "UNEXPECTED_TOOL_CALL": true, "TOO_MANY_TOOL_CALLS": true, "MALFORMED_RESPONSE": true,
	"MISSING_THOUGHT_SIGNATURE": true, "OTHER": true,
}

// geminiReasons are the finish reasons that are not "stop".
var geminiReasons = map[string]string{
	"MAX_TOKENS": "length", "SAFETY": "content_filter", "RECITATION": "content_filter", "LANGUAGE": "content_filter",
	"BLOCKLIST": "content_filter", "PROHIBITED_CONTENT": "content_filter", "SPII": "content_filter",
	"IMAGE_SAFETY": "content_filter", "IMAGE_PROHIBITED_CONTENT": "content_filter", "IMAGE_RECITATION": "content_filter",
}

// complete reports whether every candidate has a finish reason.
func (s *geminiStream) complete() bool {
	for _, r := range s.reasons {
		if r == "" {
			return false
		}
	}
	return len(s.reasons) > 0
}

// End implements Stream: the finish reasons are given out here, since the
// stream does not say which of its events is the last.
func (s *geminiStream) End() (Step, bool) {
	if !s.complete() {
		return Step{}, false
	}
	for n, r := range s.reasons {
		reason := geminiReasons[r]
		switch {
		case reason != "":
		case s.w.calls[n] > 0:
			reason = "tool_calls"
		default:
			reason = "stop"
		}
		s.w.finish(n, reason)
	}
	s.w.end(s.tally.usage(), s.tally.reported)
	return Step{Last: true, Converted: true, Chunks: s.w.take()}, true
}

// Sum implements Stream. The usage counts as reported when the answer is
// complete: before that it may lack the last tokens.
func (s *geminiStream) Sum() Answer {
	return Answer{
		Usage: s.tally.usage(), Reported: s.tally.reported && s.complete(),
		Text: s.w.whole.text, Held: s.w.whole.held,
	}
}

// Answer implements Stream.
func (s *geminiStream) Answer() []byte { return s.w.whole.Answer() }

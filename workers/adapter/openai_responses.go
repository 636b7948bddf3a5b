package adapter

import (
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// responsesStream follows a stream of the responses endpoint. Its last event
// holds the whole answer, so nothing is assembled.
type responsesStream struct {
	answer []byte
	tally  tally
	text   int
}

// Event implements Stream.
func (s *responsesStream) Event(name string, data []byte) (Step, *Failure) {
	if !sound(data) {
		return Step{}, garbled(data)
	}
	if kind := jsonscan.String(jsonscan.Get(data, "type")); kind != "" {
		name = kind
	}
	switch name {
	case "response.completed", "response.incomplete":
		return s.finish(data)
	case "response.failed":
		response := jsonscan.Get(data, "response")
		s.tally.add(jsonscan.Get(response, "usage"))
		return Step{}, readFault(response).inBody()
	case "error":
		return Step{}, readFault(data).inBody()
	case "":
		if !jsonscan.Null(jsonscan.Get(data, "error")) {
			return Step{}, readFault(data).inBody()
		}
	}
	delta := jsonscan.Get(data, "delta")
	n := jsonscan.TextLen(jsonscan.Inner(delta))
	s.text += n
	return Step{Content: n > 0}, nil
}

func (s *responsesStream) finish(data []byte) (Step, *Failure) {
	response := jsonscan.Get(data, "response")
	if jsonscan.Kind(response) != '{' {
		return Step{}, Fail(wire.CodeStreamGarbled, "the provider ended the stream with an event that holds no response")
	}
	s.answer = response
	s.tally.add(jsonscan.Get(response, "usage"))
	return Step{Last: true}, nil
}

// End implements Stream: only the last event ends it.
func (s *responsesStream) End() (Step, bool) { return Step{}, false }

// Sum implements Stream.
func (s *responsesStream) Sum() Answer {
	return Answer{Usage: s.tally.usage(), Reported: s.tally.reported, Text: s.text}
}

// Answer implements Stream.
func (s *responsesStream) Answer() []byte { return s.answer }

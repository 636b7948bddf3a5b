package adapter

import (
	"bytes"
	"slices"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// doneMarker ends a stream of chat completions or completions.
const doneMarker = "[DONE]"

// choiceStream assembles a stream of chat completions, or of completions.
type choiceStream struct {
	chat    bool
	head    []member // members of the answer beside choices and usage
	choices []*choice
	usage   []byte
	tally   tally
	text    int
	held    int
}

// maxChoices is the most choices that an answer may have: OpenAI's own limit.
const maxChoices = 128

type member struct {
	key   string
	value []byte
}

type choice struct {
	index   int64
	message node // chat: the merged deltas
	text    []byte
	logs    node
	finish  []byte
	rest    []member
}

// garbled is the failure for an event that cannot be decoded (I3).
func garbled(data []byte) *Failure {
	return Fail(wire.CodeStreamGarbled, "the provider sent a stream event of %d bytes that is no JSON object", len(data))
}

// Event implements Stream.
func (s *choiceStream) Event(_ string, data []byte) (Step, *Failure) {
	if string(data) == doneMarker {
		if len(s.choices) == 0 {
			return Step{}, Fail(wire.CodeStreamTruncated, "the provider ended the stream without any choice in it")
		}
		return Step{Last: true}, nil
	}
	if !sound(data) {
		return Step{}, garbled(data)
	}
	var step Step
	o := jsonscan.NewObject(data)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		switch string(m.Key) {
		case "error":
			if !jsonscan.Null(m.Value) {
				return Step{}, readFault(data).inBody()
			}
		case "object":
			if string(m.Value) == `"error"` { // vLLM before 0.9
				return Step{}, readFault(data).inBody()
			}
		case "usage":
			if !jsonscan.Null(m.Value) {
				if s.tally.add(m.Value) || s.usage == nil {
					s.usage = m.Value // the highest is the answer's
				}
			}
		case "choices":
			step.Content = s.addChoices(m.Value)
		default:
			s.head = s.keep(s.head, string(m.Key), m.Value)
		}
	}
	if len(s.choices) > maxChoices {
		return step, Fail(wire.CodeStreamGarbled, "the provider sent a stream with more than %d choices", maxChoices)
	}
	return step, nil
}

// keep sets a member to its newest value other than null.
func (s *choiceStream) keep(list []member, key string, value []byte) []member {
	for i := range list[:min(len(list), maxKnown)] {
		if list[i].key == key {
			if !jsonscan.Null(value) && !bytes.Equal(list[i].value, value) {
				list[i].value = value
			}
			return list
		}
	}
	s.held += len(key) + len(value)
	return append(list, member{key, value})
}

func (s *choiceStream) addChoices(raw []byte) (content bool) {
	a := jsonscan.NewArray(raw)
	for v, ok := a.Next(); ok && len(s.choices) <= maxChoices; v, ok = a.Next() {
		if jsonscan.Kind(v) == '{' && s.addChoice(s.choice(jsonscan.Int(jsonscan.Get(v, "index"))), v) {
			content = true
		}
	}
	return content
}

func (s *choiceStream) choice(index int64) *choice {
	for _, c := range s.choices {
		if c.index == index {
			return c
		}
	}
	c := &choice{index: index}
	s.held += 256
	s.choices = append(s.choices, c)
	return c
}

func (s *choiceStream) addChoice(c *choice, raw []byte) (content bool) {
	before := s.text
	o := jsonscan.NewObject(raw)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		switch string(m.Key) {
		case "index":
		case "delta":
			s.text += textBytes(m.Value)
			s.held += len(m.Value)
			c.message.merge(m.Value)
		case "text":
			inner := jsonscan.Inner(m.Value)
			s.text += jsonscan.TextLen(inner)
			s.held += len(inner)
			c.text = append(c.text, inner...)
		case "logprobs":
			s.held += len(m.Value)
			c.logs.merge(m.Value)
		case "finish_reason":
			if !jsonscan.Null(m.Value) {
				c.finish = m.Value
			}
		default:
			c.rest = s.keep(c.rest, string(m.Key), m.Value)
		}
	}
	return s.text > before
}

// End implements Stream: only the marker ends it.
func (s *choiceStream) End() (Step, bool) { return Step{}, false }

// Sum implements Stream.
func (s *choiceStream) Sum() Answer {
	return Answer{Usage: s.tally.usage(), Reported: s.tally.reported, Text: s.text, Held: s.held}
}

// Answer implements Stream.
func (s *choiceStream) Answer() []byte {
	out := make([]byte, 0, 512+s.text+s.text/4)
	out = append(out, '{')
	object := "text_completion"
	if s.chat {
		object = "chat.completion"
	}
	for _, m := range s.head {
		out = append(appendKey(out, m.key), m.value...)
		if m.key == "id" {
			out = appendString(appendKey(out, "object"), object)
			object = ""
		}
	}
	if object != "" {
		out = appendString(appendKey(out, "object"), object)
	}
	out = append(appendKey(out, "choices"), '[')
	slices.SortStableFunc(s.choices, func(a, b *choice) int { return int(a.index - b.index) })
	for i, c := range s.choices {
		if i > 0 {
			out = append(out, ',')
		}
		out = c.append(out, s.chat)
	}
	out = append(out, ']')
	if s.usage != nil {
		out = append(appendKey(out, "usage"), s.usage...)
	}
	return append(out, '}')
}

func (c *choice) append(out []byte, chat bool) []byte {
	out = appendInt(append(out, `{"index":`...), c.index)
	if chat {
		out = c.appendMessage(append(out, `,"message":`...))
	} else {
		out = append(append(append(out, `,"text":"`...), c.text...), '"')
	}
	out = c.logs.append(append(out, `,"logprobs":`...))
	out = append(out, `,"finish_reason":`...)
	if c.finish == nil {
		out = append(out, "null"...)
	} else {
		out = append(out, c.finish...)
	}
	for _, m := range c.rest {
		out = append(appendKey(out, m.key), m.value...)
	}
	return append(out, '}')
}

// appendMessage writes the message with the members that every message has.
func (c *choice) appendMessage(out []byte) []byte {
	c.message.kind = '{'
	if r := c.message.field("role"); r.kind != '"' {
		*r = node{kind: '"', text: []byte("assistant")}
	}
	c.message.field("content")
	return c.message.append(out)
}

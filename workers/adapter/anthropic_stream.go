package adapter

import (
	"bytes"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// messageEvent is what both streams of the Messages API look at first.
type messageEvent struct {
	kind, body []byte // body: the whole event
	index      int64
}

// readMessageEvent reads an event; an error in it is a failure.
func readMessageEvent(name string, data []byte) (messageEvent, *Failure) {
	if !sound(data) {
		return messageEvent{}, garbled(data)
	}
	e := messageEvent{kind: jsonscan.Inner(jsonscan.Get(data, "type")), body: data}
	if len(e.kind) == 0 {
		e.kind = []byte(name)
	}
	if string(e.kind) == "error" {
		return e, readFault(data).inBody()
	}
	e.index = jsonscan.Int(e.get("index"))
	return e, nil
}

func (e messageEvent) get(key string) []byte { return jsonscan.Get(e.body, key) }

// noMessage is the failure for a stream that ends without having begun.
func noMessage() *Failure {
	return Fail(wire.CodeStreamTruncated, "the provider ended the stream without any message in it")
}

// messageStream assembles a stream of the Messages API that passes through.
type messageStream struct {
	head    node // the message, without its content
	begun   bool
	blocks  []*messageBlock
	tally   messageTally
	counted bool // the tally has the final count of the output
	text    int
	held    int
}

// messageBlock is a content block in the making.
type messageBlock struct {
	index int64
	node  node
	input []byte // of a tool's use: the inner parts of its JSON, joined
}

// Event implements Stream.
func (s *messageStream) Event(name string, data []byte) (Step, *Failure) {
	e, f := readMessageEvent(name, data)
	if f != nil {
		return Step{}, f
	}
	s.held += len(data)
	switch string(e.kind) {
	case "message_start":
		m := e.get("message")
		s.head.merge(m)
		s.begun = s.head.kind == '{'
		s.tally.add(jsonscan.Get(m, "usage"))
	case "content_block_start":
		b := s.block(e.index)
		raw := e.get("content_block")
		b.node.merge(raw)
		return s.content(raw), nil
	case "content_block_delta":
		raw := e.get("delta")
		s.block(e.index).delta(raw)
		return s.content(raw), nil
	case "message_delta":
		s.delta(e)
	case "message_stop":
		if !s.begun {
			return Step{}, noMessage()
		}
		return Step{Last: true}, nil
	}
	return Step{}, nil
}

func (s *messageStream) content(raw []byte) Step {
	n := messageText(raw)
	s.text += n
	return Step{Content: n > 0}
}

// messageText is how much generated text a block or a delta brings.
func messageText(raw []byte) (n int) {
	o := jsonscan.NewObject(raw)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		switch string(m.Key) {
		case "text", "thinking", "partial_json", "name":
			n += jsonscan.TextLen(jsonscan.Inner(m.Value))
		}
	}
	return n
}

// block is the block with an index, made if it is not there.
func (s *messageStream) block(index int64) *messageBlock {
	for _, b := range s.blocks[max(0, len(s.blocks)-maxKnown):] {
		if b.index == index {
			return b
		}
	}
	b := &messageBlock{index: index}
	s.blocks = append(s.blocks, b)
	return b
}

func (b *messageBlock) delta(raw []byte) {
	b.node.kind = '{'
	o := jsonscan.NewObject(raw)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		switch string(m.Key) {
		case "type":
		case "partial_json":
			b.input = append(b.input, jsonscan.Inner(m.Value)...)
		case "citation":
			list := b.node.field("citations")
			list.kind = '['
			list.item(-1).merge(m.Value)
		default:
			b.node.mergeField(m, 1)
		}
	}
}

func (s *messageStream) delta(e messageEvent) {
	s.head.kind = '{'
	o := jsonscan.NewObject(e.get("delta"))
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		*s.head.field(string(m.Key)) = node{kind: '0', text: bytes.Clone(m.Value)}
	}
	usage := e.get("usage")
	s.tally.add(usage)
	s.counted = s.counted || jsonscan.Kind(usage) == '{'
	into := s.head.field("usage")
	into.kind = '{'
	u := jsonscan.NewObject(usage)
	for m, ok := u.Next(); ok; m, ok = u.Next() {
		if !jsonscan.Null(m.Value) {
			*into.field(string(m.Key)) = node{kind: '0', text: bytes.Clone(m.Value)}
		}
	}
}

// End implements Stream: only the last event ends it.
func (s *messageStream) End() (Step, bool) { return Step{}, false }

// Sum implements Stream.
func (s *messageStream) Sum() Answer {
	return Answer{Usage: s.tally.usage(), Reported: s.counted, Text: s.text, Held: s.held}
}

// Answer implements Stream.
func (s *messageStream) Answer() []byte {
	list := []byte{'['}
	for i, b := range s.blocks {
		if i > 0 {
			list = append(list, ',')
		}
		list = b.append(list)
	}
	*s.head.field("content") = node{kind: '0', text: append(list, ']')}
	return s.head.append(make([]byte, 0, 512+2*s.text))
}

func (b *messageBlock) append(out []byte) []byte {
	if len(b.input) > 0 {
		*b.node.field("input") = node{kind: '0', text: inputOf(b.input)}
	}
	b.node.kind = '{'
	return b.node.append(out)
}

// inputOf is the JSON that the pieces of a tool's input make, or the string of
// it if the answer was cut off inside.
func inputOf(inner []byte) []byte {
	quoted := append(append([]byte{'"'}, inner...), '"')
	if raw := []byte(jsonscan.String(quoted)); sound(raw) {
		return raw
	}
	return quoted
}

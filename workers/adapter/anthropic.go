package adapter

import (
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// anthropic is the codec for Anthropic's Messages API. The endpoint
// /v1/messages passes through as it is; chat completions are converted.
//
// What a conversion leaves out, as Anthropic's own OpenAI-compatible layer
// does: seed, strict, the names of schemas, reasoning_effort (the field thinking is
// passed on instead). A temperature above 1 becomes 1, the most there is.
type anthropic struct{}

// anthropicVersion is the version of the API that the codec speaks.
const anthropicVersion = "2023-06-01"

var (
	anthropicHeader       = append([]Field{{"Anthropic-Version", anthropicVersion}}, wholeHeader...)
	anthropicStreamHeader = append([]Field{{"Anthropic-Version", anthropicVersion}}, streamHeader...)
)

// Auth implements Codec.
func (anthropic) Auth(key string) Field { return Field{"X-Api-Key", key} }

// Encode implements Codec.
func (anthropic) Encode(r Request) (Encoded, *Failure) {
	e := Encoded{Method: "POST", Path: "/messages", Header: anthropicHeader, Stream: r.Stream}
	if r.Stream {
		e.Header = anthropicStreamHeader
	}
	switch r.Endpoint {
	case wire.Messages:
		body, ok := rewriteMessages(r)
		if !ok {
			return Encoded{}, Fail(wire.CodeInvalidJSON, "the body is not a JSON object: send the JSON request of %s", r.Endpoint)
		}
		e.Body = body
	default:
		c, f := readChat(r, anthropicLimits)
		if f != nil {
			return Encoded{}, f
		}
		m, f := c.anthropic(r)
		if f != nil {
			return Encoded{}, f
		}
		e.Body = marshal(m)
	}
	return e, nil
}

// rewriteMessages writes the upstream model first and the stream field last;
// everything between them stays as it is (I1).
func rewriteMessages(r Request) ([]byte, bool) {
	out := make([]byte, 0, len(r.Body)+len(r.Model)+32)
	out = appendString(append(out, `{"model":`...), r.Model)
	o := jsonscan.NewObject(r.Body)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		if key := string(m.Key); key != "model" && key != "stream" {
			out = append(append(out, ','), m.Span...)
		}
	}
	if r.Stream {
		out = append(out, `,"stream":true`...)
	}
	return append(out, '}'), o.OK()
}

// Decode implements Codec.
func (anthropic) Decode(r Request, body []byte) ([]byte, Answer, *Failure) {
	m, f := readMessage(body)
	a := m.answer()
	if f != nil || r.Endpoint == wire.Messages {
		return body, a, f
	}
	w := newChatWriter(r)
	s := messageChat{w: w}
	s.message(m)
	return w.whole.Answer(), a, nil
}

// Stream implements Codec.
func (anthropic) Stream(r Request) Stream {
	if r.Endpoint == wire.Messages {
		return &messageStream{}
	}
	return &messageChat{w: newChatWriter(r)}
}

// Classify implements Codec. The error object is a relative of OpenAI's.
func (anthropic) Classify(r Refusal) *Failure { return openAI{}.Classify(r) }

// message is a whole message, as ranges of its body.
type message struct {
	id, model, content, stop, usage []byte
	tally                           messageTally
}

// readMessage reads a whole answer.
func readMessage(body []byte) (message, *Failure) {
	var m message
	if !sound(body) {
		return m, Fail(wire.CodeProviderError,
			"the provider answered 200 with a body of %d bytes that is no JSON object: check the pool's base_url", len(body))
	}
	var kind, failed []byte
	o := jsonscan.NewObject(body)
	for f, ok := o.Next(); ok; f, ok = o.Next() {
		switch string(f.Key) {
		case "id":
			m.id = f.Value
		case "type":
			kind = f.Value
		case "model":
			m.model = f.Value
		case "content":
			m.content = f.Value
		case "stop_reason":
			m.stop = f.Value
		case "usage":
			m.usage = f.Value
		case "error":
			failed = f.Value
		}
	}
	m.tally.add(m.usage)
	switch {
	case string(kind) == `"error"` || !jsonscan.Null(failed):
		return m, readFault(body).inBody()
	case jsonscan.Kind(m.content) != '[':
		return m, Fail(wire.CodeProviderError,
			"the provider answered 200 without the field content: check that the pool's base_url speaks Anthropic's API")
	}
	return m, nil
}

func (m *message) answer() Answer {
	a := Answer{Usage: m.tally.usage(), Reported: m.tally.reported}
	if !a.Reported {
		a.Text = textBytes(m.content)
	}
	return a
}

// messageTally collects usage. Input and cached input are counted apart, and
// reasoning is part of the output. Counts in a stream are cumulative: the
// highest of each is kept.
type messageTally struct {
	reported                                       bool
	input, cacheRead, cacheWrite, output, thoughts int64
}

func (t *messageTally) add(usage []byte) {
	if jsonscan.Kind(usage) != '{' {
		return
	}
	o := jsonscan.NewObject(usage)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		switch string(m.Key) {
		case "input_tokens":
			keepMax(&t.input, m.Value)
		case "cache_read_input_tokens":
			keepMax(&t.cacheRead, m.Value)
		case "cache_creation_input_tokens":
			keepMax(&t.cacheWrite, m.Value)
		case "output_tokens":
			t.reported = true
			keepMax(&t.output, m.Value)
		case "output_tokens_details":
			keepMax(&t.thoughts, jsonscan.Get(m.Value, "thinking_tokens"))
		}
	}
}

func (t *messageTally) usage() wire.Usage {
	u := wire.Usage{Input: t.input, CacheRead: t.cacheRead, CacheWrite: t.cacheWrite}
	u.Reasoning = min(t.thoughts, t.output)
	u.Output = t.output - u.Reasoning
	return u
}

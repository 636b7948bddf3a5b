package adapter

import (
	"encoding/json"
	"strconv"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// openAI is the codec for OpenAI's API and everything compatible with it.
type openAI struct{}

// openAIPaths is where each endpoint lives below a base URL that ends in /v1.
var openAIPaths = map[wire.Endpoint]string{
	wire.ChatCompletions: "/chat/completions",
	wire.Completions:     "/completions",
	wire.Embeddings:      "/embeddings",
	wire.Responses:       "/responses",
}

var (
	wholeHeader  = []Field{{"Content-Type", "application/json"}, {"Accept", "application/json"}}
	streamHeader = []Field{{"Content-Type", "application/json"}, {"Accept", "text/event-stream"}}
)

// Auth implements Codec.
func (openAI) Auth(key string) Field { return Field{"Authorization", "Bearer " + key} }

// Encode implements Codec. It writes the upstream model and the stream fields
// first, then every other member as it stands (I1). The field background is
// taken out: waiting in the background is what Sluice itself does.
func (openAI) Encode(r Request) (Encoded, *Failure) {
	path := openAIPaths[r.Endpoint]
	if path == "" {
		return Encoded{}, Fail(wire.CodeUnsupported, "the openai adapter has no %s: route it to a pool that has", r.Endpoint)
	}
	e := Encoded{Method: "POST", Path: path, Header: wholeHeader}
	if e.Stream = r.Stream && r.Endpoint != wire.Embeddings; e.Stream {
		e.Header = streamHeader
	}
	body, ok := rewrite(r, e.Stream)
	if !ok {
		return Encoded{}, Fail(wire.CodeInvalidJSON, "the body is not a JSON object: send the JSON request of %s", r.Endpoint)
	}
	e.Body = body
	return e, nil
}

func rewrite(r Request, stream bool) ([]byte, bool) {
	out := make([]byte, 0, len(r.Body)+len(r.Model)+80)
	out = append(out, `{"model":`...)
	out = appendString(out, r.Model)
	var options []byte
	o := jsonscan.NewObject(r.Body)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		switch string(m.Key) {
		case "model", "stream":
		case "stream_options":
			options = m.Value
		case "background":
			if r.Endpoint != wire.Responses {
				out = append(append(out, ','), m.Span...)
			}
		default:
			out = append(append(out, ','), m.Span...)
		}
	}
	if stream {
		out = append(out, `,"stream":true`...)
		out = appendStreamOptions(out, r.Endpoint, options)
	}
	return append(out, '}'), o.OK()
}

// appendStreamOptions asks for usage at the end of the stream, and keeps what
// else the client asked for. The responses endpoint reports usage anyway, and
// refuses the option.
func appendStreamOptions(out []byte, e wire.Endpoint, options []byte) []byte {
	if e == wire.Responses {
		if !jsonscan.Null(options) {
			out = append(append(out, `,"stream_options":`...), options...)
		}
		return out
	}
	out = append(out, `,"stream_options":{"include_usage":true`...)
	o := jsonscan.NewObject(options)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		if string(m.Key) != "include_usage" {
			out = append(append(out, ','), m.Span...)
		}
	}
	return append(out, '}')
}

// appendString appends s as a JSON string.
func appendString(out []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			b, _ := json.Marshal(s) // a string always marshals
			return append(out, b...)
		}
	}
	return append(append(append(out, '"'), s...), '"')
}

// appendInt appends n in decimal.
func appendInt(out []byte, n int64) []byte { return strconv.AppendInt(out, n, 10) }

// Stream implements Codec.
func (openAI) Stream(r Request) Stream {
	if r.Endpoint == wire.Responses {
		return &responsesStream{}
	}
	return &choiceStream{chat: r.Endpoint == wire.ChatCompletions}
}

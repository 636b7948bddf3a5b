package simulated

import (
	"context"
	"strings"
	"unicode"

	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// kind is an endpoint.
type kind int8

const (
	chat kind = iota
	completion
	embedding
	response
	message
	models
)

// call is one call to the provider. One goroutine uses it at a time.
type call struct {
	p    *Provider
	ctx  context.Context
	line Line
	done bool // line is written

	kind       kind
	stream     bool
	usage      bool  // the client asked for usage in the stream
	asked      int64 // max_tokens, 0: not said
	dimensions int64
	vectors    int // embeddings: number of inputs

	input, cached     int64
	output, reasoning int64
	length            bool // max_tokens cut the answer
	fault             Fault
	faultAt           int64 // the token that a Drop or Garble comes at
	rnd               rng
	id                uint64 // in the answer's id

	wish   wish
	tool   string   // the answer calls this tool; empty: none
	script []string // the answer's words, where they are no free text
	said   int      // words of the script that have been written
}

var kinds = map[string]kind{
	"/chat/completions": chat, "/completions": completion, "/embeddings": embedding, "/responses": response,
	"/messages": message, "/models": models,
}

// parse reads the request.
func (c *call) parse(path string, raw []byte) *refusal {
	k, ok := kinds[endpoint(path)]
	if !ok {
		return &refusal{status: 404, kind: "invalid_request_error", code: "unknown_url", message: "Unknown request URL."}
	}
	if c.kind = k; k == models {
		return nil
	}
	if !jsonscan.Valid(raw) || jsonscan.Kind(raw) != '{' {
		return invalid("", "The body is not a JSON object.")
	}
	o := jsonscan.NewObject(raw)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		c.field(string(m.Key), m.Value)
	}
	switch {
	case c.line.Model == "":
		return invalid("model", "You must provide a model parameter.")
	case !c.p.offers(c.line.Model):
		return &refusal{status: 404, kind: "invalid_request_error", code: "model_not_found", message: "The model does not exist."}
	case c.asked < 0:
		return invalid("max_tokens", "max_tokens is below its minimum.")
	}
	return nil
}

// endpoint is the path without what comes before the endpoint's own part.
func endpoint(path string) string {
	i := strings.LastIndexByte(path, '/')
	if i > 0 && path[i:] == "/completions" && strings.HasSuffix(path[:i], "/chat") {
		return "/chat/completions"
	}
	return path[max(i, 0):]
}

func invalid(param, message string) *refusal {
	return &refusal{status: 400, kind: "invalid_request_error", param: param, message: message}
}

func (c *call) field(key string, v []byte) {
	switch key {
	case "model":
		c.line.Model = jsonscan.String(v)
	case "stream":
		c.stream = string(v) == "true" && c.kind != embedding
		c.line.Stream = c.stream
	case "stream_options":
		c.usage = string(jsonscan.Get(v, "include_usage")) == "true"
	case "max_tokens", "max_completion_tokens", "max_output_tokens":
		if jsonscan.Kind(v) == '0' {
			if c.asked = jsonscan.Int(v); c.asked < 1 {
				c.asked = -1
			}
		}
	case "dimensions":
		if c.dimensions = jsonscan.Int(v); c.dimensions < 0 || c.dimensions > maxDimensions {
			c.dimensions = 0
		}
	case "messages":
		if c.kind == chat || c.kind == message {
			c.messages(v)
		}
	case "prompt":
		if c.kind == completion {
			c.input += plain(v)
		}
	case "instructions":
		if c.kind == response && jsonscan.Kind(v) == '"' {
			c.input += words(v) + perMessage
			c.wish.instructions = v
		}
	case "system":
		if c.kind == message {
			c.input += content(v) + perMessage
		}
	case "input":
		c.inputField(v)
	default:
		c.wish.field(key, v)
	}
}

// maxDimensions bounds a vector; one that is to have more has as many as
// nobody asked for.
const maxDimensions = 4096

// perMessage is what a message costs beside its words.
const perMessage = 3

func (c *call) inputField(v []byte) {
	switch c.kind {
	case embedding:
		c.input += plain(v)
		c.vectors = 1
		if a := jsonscan.NewArray(v); jsonscan.Kind(v) == '[' {
			first, ok := a.Next()
			if ok && jsonscan.Kind(first) != '0' {
				for ; ok; _, ok = a.Next() {
					c.vectors++
				}
				c.vectors--
			}
		}
	case response:
		if jsonscan.Kind(v) == '"' {
			c.input += words(v) + perMessage
			return
		}
		c.messages(v)
	}
}

func (c *call) messages(v []byte) {
	a := jsonscan.NewArray(v)
	for m, ok := a.Next(); ok; m, ok = a.Next() {
		text := jsonscan.Get(m, "content")
		c.input += content(text) + perMessage
		c.wish.told = string(jsonscan.Get(m, "role")) == `"tool"` || string(jsonscan.Get(m, "type")) == `"function_call_output"` ||
			c.kind == message && result(text)
	}
}

// result reports whether a message's content brings a tool's result.
func result(content []byte) bool {
	a := jsonscan.NewArray(content)
	for part, ok := a.Next(); ok; part, ok = a.Next() {
		if string(jsonscan.Get(part, "type")) == `"tool_result"` {
			return true
		}
	}
	return false
}

// content counts the words of a message's content: a string, or parts with a
// text.
func content(v []byte) int64 {
	if jsonscan.Kind(v) == '"' {
		return words(v)
	}
	var n int64
	a := jsonscan.NewArray(v)
	for part, ok := a.Next(); ok; part, ok = a.Next() {
		n += words(jsonscan.Get(part, "text"))
	}
	return n
}

// plain counts a string's words, and one for each number, through arrays.
func plain(v []byte) int64 {
	switch jsonscan.Kind(v) {
	case '"':
		return words(v)
	case '0':
		return 1
	}
	var n int64
	a := jsonscan.NewArray(v)
	for e, ok := a.Next(); ok; e, ok = a.Next() {
		n += plain(e)
	}
	return n
}

// words counts the words of a JSON string.
func words(v []byte) int64 {
	inner := jsonscan.Inner(v)
	ascii := true
	var n int64
	gap := true
	for _, b := range inner {
		if b == '\\' || b >= 0x80 {
			ascii = false
			break
		}
		if b == ' ' {
			gap = true
		} else if gap {
			gap = false
			n++
		}
	}
	if ascii {
		return n
	}
	return int64(len(strings.FieldsFunc(jsonscan.String(v), unicode.IsSpace)))
}

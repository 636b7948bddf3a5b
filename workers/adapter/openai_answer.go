package adapter

import (
	"unicode/utf8"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// sound reports whether raw is a JSON object in valid UTF-8.
func sound(raw []byte) bool {
	return jsonscan.Valid(raw) && utf8.Valid(raw) && jsonscan.Kind(trimLeft(raw)) == '{'
}

func trimLeft(raw []byte) []byte {
	for len(raw) > 0 && (raw[0] == ' ' || raw[0] == '\n' || raw[0] == '\t' || raw[0] == '\r') {
		raw = raw[1:]
	}
	return raw
}

// Decode implements Codec.
func (openAI) Decode(r Request, body []byte) ([]byte, Answer, *Failure) {
	a, f := readAnswer(r.Endpoint, body)
	return body, a, f
}

func readAnswer(e wire.Endpoint, body []byte) (Answer, *Failure) {
	if !sound(body) {
		return Answer{}, Fail(wire.CodeProviderError,
			"the provider answered 200 with a body of %d bytes that is no JSON object: check the pool's base_url", len(body))
	}
	var usage, failed, content, status []byte
	want := contentField[e]
	o := jsonscan.NewObject(body)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		switch key := string(m.Key); key {
		case "usage":
			usage = m.Value
		case "error":
			failed = m.Value
		case "status":
			status = m.Value
		case want:
			content = m.Value
		}
	}
	a := answerOf(usage, e, content)
	if !jsonscan.Null(failed) {
		return a, readFault(body).inBody()
	}
	if jsonscan.Kind(content) != '[' {
		return a, Fail(wire.CodeProviderError,
			"the provider answered 200 without the field %s: check that the pool's base_url speaks OpenAI's API", want)
	}
	if e == wire.Responses {
		return a, responseStatus(jsonscan.String(status))
	}
	return a, nil
}

// contentField is the member that holds the answer itself.
var contentField = map[wire.Endpoint]string{
	wire.ChatCompletions: "choices",
	wire.Completions:     "choices",
	wire.Embeddings:      "data",
	wire.Responses:       "output",
}

func answerOf(usage []byte, e wire.Endpoint, content []byte) Answer {
	var t tally
	t.add(usage)
	a := Answer{Usage: t.usage(), Reported: t.reported}
	if !a.Reported && e != wire.Embeddings {
		a.Text = textBytes(content)
	}
	return a
}

// responseStatus is what a response's status means for the attempt.
func responseStatus(status string) *Failure {
	switch status {
	case "failed", "cancelled", "queued", "in_progress":
		return Fail(wire.CodeProviderError, "the provider answered 200 with a response whose status is %s", status)
	}
	return nil
}

// texts are the members of an answer that hold generated text.
var texts = map[string]bool{
	"content": true, "text": true, "refusal": true, "arguments": true, "name": true, "input": true,
	"reasoning_content": true, "reasoning": true,
}

// textBytes sums the generated text anywhere inside raw, down to maxDepth.
func textBytes(raw []byte) int { return textAt(raw, 0) }

func textAt(raw []byte, depth int) int {
	n := 0
	if depth >= maxDepth {
		return 0
	}
	switch jsonscan.Kind(raw) {
	case '[':
		a := jsonscan.NewArray(raw)
		for v, ok := a.Next(); ok; v, ok = a.Next() {
			n += textAt(v, depth+1)
		}
	case '{':
		o := jsonscan.NewObject(raw)
		for m, ok := o.Next(); ok; m, ok = o.Next() {
			switch {
			case jsonscan.Kind(m.Value) != '"':
				if string(m.Key) != "logprobs" {
					n += textAt(m.Value, depth+1)
				}
			case texts[string(m.Key)]:
				n += jsonscan.TextLen(jsonscan.Inner(m.Value))
			}
		}
	}
	return n
}

// tally collects the usage that a provider reports, in OpenAI's two spellings
// and a few relatives'. Reports in a stream are cumulative: the highest
// count of each kind is kept.
type tally struct {
	reported                         bool
	input, output, total             int64
	cacheRead, cacheWrite, reasoning int64
}

// add takes one report and reports whether it was not below an earlier one.
func (t *tally) add(usage []byte) bool {
	if jsonscan.Kind(usage) != '{' {
		return false
	}
	before := *t
	o := jsonscan.NewObject(usage)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		switch string(m.Key) {
		case "prompt_tokens", "input_tokens":
			t.reported = true
			keepMax(&t.input, m.Value)
		case "completion_tokens", "output_tokens":
			t.reported = true
			keepMax(&t.output, m.Value)
		case "total_tokens":
			keepMax(&t.total, m.Value)
		case "prompt_cache_hit_tokens": // DeepSeek
			keepMax(&t.cacheRead, m.Value)
		case "prompt_tokens_details", "input_tokens_details":
			keepMax(&t.cacheRead, jsonscan.Get(m.Value, "cached_tokens"))
			keepMax(&t.cacheWrite, jsonscan.Get(m.Value, "cache_write_tokens"))
		case "completion_tokens_details", "output_tokens_details":
			keepMax(&t.reasoning, jsonscan.Get(m.Value, "reasoning_tokens"))
		}
	}
	return *t != before || !before.reported
}

func keepMax(to *int64, raw []byte) { *to = max(*to, jsonscan.Int(raw)) }

// usage splits the counts into disjoint buckets (I2). Cached input is part of
// the input. Reasoning is part of the output, except where the total says that
// the provider counts it beside (xAI, Gemini): then what the total has above
// input and output is reasoning.
func (t *tally) usage() wire.Usage {
	u := wire.Usage{CacheRead: min(t.cacheRead, t.input)}
	u.CacheWrite = min(t.cacheWrite, t.input-u.CacheRead)
	u.Input = t.input - u.CacheRead - u.CacheWrite
	if beside := t.total - t.input - t.output; beside > 0 {
		u.Output, u.Reasoning = t.output, beside
		return u
	}
	u.Reasoning = min(t.reasoning, t.output)
	u.Output = t.output - u.Reasoning
	return u
}

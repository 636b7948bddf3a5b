package wire

import (
	"slices"
	"strconv"

	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// CapTokens is a request that asks for at most n output tokens: bounds that it
// has are lowered, and where it has none one is added. A chat request then gets
// max_completion_tokens if modern (OpenAI's own models refuse the older word),
// else max_tokens, which everything compatible knows. The body must be a JSON
// object and is not written to; an endpoint without output gives it back.
func CapTokens(body []byte, e Endpoint, n int64, modern bool) []byte {
	field := "max_tokens"
	switch {
	case e == Embeddings:
		return body
	case e == Responses:
		field = "max_output_tokens"
	case e == ChatCompletions && modern:
		field = "max_completion_tokens"
	}
	out := append(make([]byte, 0, len(body)+40), '{')
	bounded := false
	o := jsonscan.NewObject(body)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		bound := slices.Contains(maxFields[:], string(m.Key))
		if bound && (jsonscan.Null(m.Value) || !bounds(e, string(m.Key))) {
			continue // so that no field passes for a bound that the endpoint does not know
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		if !bound {
			out = append(out, m.Span...)
			continue
		}
		bounded = true
		out = append(append(append(out, '"'), m.Key...), '"', ':')
		out = strconv.AppendInt(out, min(jsonscan.Int(m.Value), n), 10)
	}
	if !o.OK() {
		return body
	}
	if !bounded {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, '"'), field...), '"', ':')
		out = strconv.AppendInt(out, n, 10)
	}
	return append(out, '}')
}

// bounds reports whether a field bounds the endpoint's output.
func bounds(e Endpoint, field string) bool {
	switch e {
	case Responses:
		return field == "max_output_tokens"
	case ChatCompletions:
		return field != "max_output_tokens"
	}
	return field == "max_tokens"
}

package adapter

import (
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// chatWriter makes the chunks of a streamed chat completion out of what
// another API streams, and the whole answer out of the chunks: so the two
// cannot disagree. Strings in "inner" parameters are the escaped inner part of
// a JSON string.
type chatWriter struct {
	id, model string
	created   int64
	begun     []bool // by choice: its role has been said
	calls     []int  // by choice: how many calls it has
	out       [][]byte
	whole     choiceStream
}

func newChatWriter(r Request) *chatWriter {
	w := &chatWriter{id: "chatcmpl-" + r.ID, model: r.Model, created: r.Now.Unix()}
	if r.Now.IsZero() {
		w.created = 0
	}
	w.whole.chat = true
	return w
}

// named takes the provider's own name for the answer and the model, unless
// there is none.
func (w *chatWriter) named(id, model string) {
	if id != "" {
		w.id = id
	}
	if model != "" {
		w.model = model
	}
}

// at takes the provider's own time of the answer, in RFC 3339.
func (w *chatWriter) at(created string) {
	if t, err := time.Parse(time.RFC3339, created); err == nil && t.Unix() > 0 {
		w.created = t.Unix()
	}
}

// take is the chunks made since the last take.
func (w *chatWriter) take() [][]byte {
	out := w.out
	w.out = nil
	return out
}

// add gives a chunk to the reader and to the whole answer.
func (w *chatWriter) add(chunk []byte) {
	w.out = append(w.out, chunk)
	_, _ = w.whole.Event("", chunk) // our own chunk is sound, and a failure of too many choices shows at the end
}

// open writes a chunk up to its choices.
func (w *chatWriter) open(size int) []byte {
	b := make([]byte, 0, 160+len(w.id)+len(w.model)+size)
	b = appendString(append(b, `{"id":`...), w.id)
	b = append(b, `,"object":"chat.completion.chunk","created":`...)
	b = appendInt(b, w.created)
	b = appendString(append(b, `,"model":`...), w.model)
	return append(b, `,"choices":[`...)
}

// choice writes a chunk up to the inner part of its delta.
func (w *chatWriter) choice(n, size int) []byte {
	for len(w.begun) <= n {
		w.begun, w.calls = append(w.begun, false), append(w.calls, 0)
	}
	b := append(w.open(size), `{"index":`...)
	return append(appendInt(b, int64(n)), `,"delta":{`...)
}

const unfinished = `},"logprobs":null,"finish_reason":null}]}`

// begin says the role of a choice, once, before anything else.
func (w *chatWriter) begin(n int, content string) {
	if n < len(w.begun) && w.begun[n] {
		return
	}
	b := w.choice(n, 32)
	w.begun[n] = true
	w.add(append(append(append(b, `"role":"assistant","content":`...), content...), unfinished...))
}

// piece adds text to a member of the message.
func (w *chatWriter) piece(n int, member string, inner []byte) {
	if len(inner) == 0 {
		return
	}
	w.begin(n, map[bool]string{true: `""`, false: "null"}[member == "content"])
	b := append(w.choice(n, len(inner)+len(member)), '"')
	b = append(append(append(b, member...), `":"`...), inner...)
	w.add(append(append(b, '"'), unfinished...))
}

// text adds text to the answer.
func (w *chatWriter) text(n int, inner []byte) { w.piece(n, "content", inner) }

// reasoning adds what the model thinks, in the member that DeepSeek and vLLM
// have for it.
func (w *chatWriter) reasoning(n int, inner []byte) { w.piece(n, "reasoning_content", inner) }

// raw adds a member, given as JSON, to the message.
func (w *chatWriter) raw(n int, member string, value []byte) {
	w.begin(n, "null")
	b := append(w.choice(n, len(value)+len(member)), '"')
	b = append(append(append(b, member...), `":`...), value...)
	w.add(append(b, unfinished...))
}

// call begins a call and is its index; extra is a member of it, or nothing.
func (w *chatWriter) call(n int, id, name, extra string) int {
	w.begin(n, "null")
	index := w.calls[n]
	b := append(w.choice(n, len(id)+len(name)+len(extra)+96), `"tool_calls":[{"index":`...)
	w.calls[n]++
	b = appendInt(b, int64(index))
	b = appendString(append(b, `,"id":`...), id)
	b = append(b, `,"type":"function"`...)
	b = appendString(append(b, `,"function":{"name":`...), name)
	b = append(b, `,"arguments":""}`...)
	w.add(append(append(append(b, extra...), "}]"...), unfinished...))
	return index
}

// arguments adds to the arguments of a call.
func (w *chatWriter) arguments(n, index int, inner []byte) {
	if len(inner) == 0 {
		return
	}
	b := append(w.choice(n, len(inner)+64), `"tool_calls":[{"index":`...)
	b = append(appendInt(b, int64(index)), `,"function":{"arguments":"`...)
	w.add(append(append(append(b, inner...), `"}}]`...), unfinished...))
}

// finish says why a choice ended. The role comes before it in any case.
func (w *chatWriter) finish(n int, reason string) {
	w.begin(n, `""`)
	b := append(w.choice(n, len(reason)), `},"logprobs":null,"finish_reason":`...)
	w.add(append(appendString(b, reason), "}]}"...))
}

// end says what was used, if that is known, and that it is over.
func (w *chatWriter) end(u wire.Usage, reported bool) {
	if reported {
		w.add(append(appendUsage(append(w.open(256), `],"usage":`...), u), '}'))
	}
	w.out = append(w.out, []byte(doneMarker))
}

// appendUsage writes usage in OpenAI's shape, which sums what we keep apart.
func appendUsage(b []byte, u wire.Usage) []byte {
	in, out := u.Input+u.CacheRead+u.CacheWrite, u.Output+u.Reasoning
	b = appendInt(append(b, `{"prompt_tokens":`...), in)
	b = appendInt(append(b, `,"completion_tokens":`...), out)
	b = appendInt(append(b, `,"total_tokens":`...), in+out)
	b = appendInt(append(b, `,"prompt_tokens_details":{"cached_tokens":`...), u.CacheRead)
	b = appendInt(append(b, `,"cache_write_tokens":`...), u.CacheWrite)
	b = appendInt(append(b, `},"completion_tokens_details":{"reasoning_tokens":`...), u.Reasoning)
	return append(b, "}}"...)
}

// quoted is s as the inner part of a JSON string.
func quoted(s string) []byte { return jsonscan.Inner(appendString(nil, s)) }

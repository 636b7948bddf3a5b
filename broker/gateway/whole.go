package gateway

import (
	"encoding/json"

	"github.com/sluicehq/sluice/sdk/wire"
)

// object is a JSON object whose members are left as they are.
type object = map[string]json.RawMessage

// wholeAsEvents is a finished answer as the stream of events that it might
// have come in, with as few events as the endpoint's clients understand. It is
// for a job that has no chunks any more, or never had. nil: body is no answer.
func wholeAsEvents(e wire.Endpoint, body []byte, usage bool) [][]byte {
	var o object
	if json.Unmarshal(body, &o) != nil || o == nil {
		return nil
	}
	switch e {
	case wire.Responses:
		return wholeResponse(o)
	case wire.Messages:
		return wholeMessage(o)
	}
	return wholeChoices(o, e == wire.ChatCompletions, usage)
}

// wholeChoices is one chunk with everything, the usage chunk if the client
// asked for it, and the end.
func wholeChoices(o object, chat, usage bool) [][]byte {
	var choices []object
	if json.Unmarshal(o["choices"], &choices) != nil || len(choices) == 0 {
		return nil
	}
	count := o["usage"]
	delete(o, "usage")
	if chat {
		o["object"] = json.RawMessage(`"chat.completion.chunk"`)
		for _, c := range choices {
			if c == nil {
				return nil
			}
			c["delta"] = indexTools(c["message"])
			delete(c, "message")
		}
		o["choices"] = mustJSON(choices)
	}
	out := [][]byte{mustJSON(o)}
	if usage && len(count) > 0 {
		o["choices"], o["usage"] = json.RawMessage("[]"), count
		out = append(out, mustJSON(o))
	}
	return append(out, []byte("[DONE]"))
}

// indexTools gives the tool calls of a message the numbers that they have in
// a delta.
func indexTools(message json.RawMessage) json.RawMessage {
	var m object
	if json.Unmarshal(message, &m) != nil || m == nil {
		return json.RawMessage("{}")
	}
	var tools []object
	if json.Unmarshal(m["tool_calls"], &tools) == nil && len(tools) > 0 {
		for i, tool := range tools {
			if tool != nil {
				tool["index"] = mustJSON(i)
			}
		}
		m["tool_calls"] = mustJSON(tools)
	}
	return mustJSON(m)
}

func wholeResponse(o object) [][]byte {
	if len(o["output"]) == 0 {
		return nil
	}
	last := "response.completed"
	if string(o["status"]) == `"incomplete"` {
		last = "response.incomplete"
	}
	event := func(kind string, n int) []byte {
		return mustJSON(map[string]any{"type": kind, "sequence_number": n, "response": o})
	}
	end := event(last, 1)
	o["status"], o["output"], o["usage"] = json.RawMessage(`"in_progress"`), json.RawMessage("[]"), json.RawMessage("null")
	return [][]byte{event("response.created", 0), end}
}

func wholeMessage(o object) [][]byte {
	var blocks []object
	if json.Unmarshal(o["content"], &blocks) != nil {
		return nil
	}
	delta := object{"stop_reason": o["stop_reason"], "stop_sequence": o["stop_sequence"]}
	for k, v := range delta {
		if len(v) == 0 {
			delta[k] = json.RawMessage("null")
		}
	}
	count := o["usage"]
	o["content"], o["stop_reason"], o["stop_sequence"] = json.RawMessage("[]"), json.RawMessage("null"), json.RawMessage("null")
	out := [][]byte{mustJSON(map[string]any{"type": "message_start", "message": o})}
	for i, b := range blocks {
		start, deltas := splitBlock(b)
		out = append(out, mustJSON(map[string]any{"type": "content_block_start", "index": i, "content_block": start}))
		for _, d := range deltas {
			out = append(out, mustJSON(map[string]any{"type": "content_block_delta", "index": i, "delta": d}))
		}
		out = append(out, mustJSON(map[string]any{"type": "content_block_stop", "index": i}))
	}
	end := map[string]any{"type": "message_delta", "delta": delta}
	if len(count) > 0 {
		end["usage"] = count
	}
	return append(out, mustJSON(end), []byte(`{"type":"message_stop"}`))
}

// splitBlock parts a content block into what opens it and what fills it.
// A block of another kind opens whole.
func splitBlock(b object) (start object, deltas []object) {
	var kind string
	_ = json.Unmarshal(b["type"], &kind) // another type: no kind that is known
	fill := func(field, as, empty string) {
		v := b[field]
		if len(v) == 0 {
			return
		}
		if as == "input_json_delta" {
			v = mustJSON(string(v))
			deltas = append(deltas, object{"type": mustJSON(as), "partial_json": v})
		} else {
			deltas = append(deltas, object{"type": mustJSON(as), field: v})
		}
		b[field] = json.RawMessage(empty)
	}
	switch kind {
	case "text":
		fill("text", "text_delta", `""`)
	case "thinking":
		fill("thinking", "thinking_delta", `""`)
		fill("signature", "signature_delta", `""`)
	case "tool_use", "server_tool_use":
		fill("input", "input_json_delta", `{}`)
	}
	return b, deltas
}

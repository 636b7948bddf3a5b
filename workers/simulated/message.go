package simulated

import "strconv"

// This file writes Anthropic's Messages API.

// appendMessage is the whole answer.
func (c *call) appendMessage(out []byte) []byte {
	out = c.appendMessageHead(out)
	if c.tool != "" {
		out = append(append(c.appendToolUse(out), c.toolInput()...), '}')
	} else {
		out = c.appendText(append(out, `{"type":"text","citations":null,"text":"`...), c.output-c.reasoning)
		out = append(out, `"}`...)
	}
	out = append(append(out, `],"stop_reason":"`...), c.stopReason()...)
	out = append(out, `","stop_sequence":null,"usage":`...)
	return append(c.appendMessageUsage(out, c.output), '}')
}

// appendMessageHead writes up to the content's opening bracket.
func (c *call) appendMessageHead(out []byte) []byte {
	out = appendHex(append(out, `{"id":"msg_`...), c.id)
	out = appendJSON(append(out, `","type":"message","role":"assistant","model":`...), c.line.Model)
	return append(out, `,"content":[`...)
}

// appendToolUse writes a block that calls the tool, up to its input.
func (c *call) appendToolUse(out []byte) []byte {
	out = appendHex(append(out, `{"type":"tool_use","id":"toolu_`...), c.id)
	return append(appendJSON(append(out, `","name":`...), c.tool), `,"input":`...)
}

func (c *call) stopReason() string {
	switch {
	case c.length:
		return "max_tokens"
	case c.tool != "":
		return "tool_use"
	}
	return "end_turn"
}

func (c *call) appendMessageUsage(out []byte, output int64) []byte {
	out = strconv.AppendInt(append(out, `{"input_tokens":`...), c.input-c.cached, 10)
	out = strconv.AppendInt(append(out, `,"cache_creation_input_tokens":0,"cache_read_input_tokens":`...), c.cached, 10)
	out = strconv.AppendInt(append(out, `,"output_tokens":`...), output, 10)
	if c.reasoning > 0 && output > 0 {
		out = append(strconv.AppendInt(append(out, `,"output_tokens_details":{"thinking_tokens":`...), c.reasoning, 10), '}')
	}
	return append(out, '}')
}

// openMessage writes the events before the first word.
func (b *eventBody) openMessage() {
	c := b.c
	m := append(c.appendMessageHead(nil), `],"stop_reason":null,"stop_sequence":null,"usage":`...)
	b.named("message_start", `,"message":`, append(c.appendMessageUsage(m, 0), '}'))
	block := []byte(`{"type":"text","text":""}`)
	if c.tool != "" {
		block = append(c.appendToolUse(nil), `{}}`...)
	}
	b.named("content_block_start", `,"index":0,"content_block":`, block)
	b.named("ping", "", nil)
}

func (b *eventBody) messageWord(piece string) {
	delta := `{"type":"text_delta","text":"`
	if b.c.tool != "" {
		delta = `{"type":"input_json_delta","partial_json":"`
	}
	b.named("content_block_delta", `,"index":0,"delta":`, []byte(delta+piece+`"}`))
}

func (b *eventBody) closeMessage() {
	c := b.c
	b.named("content_block_stop", `,"index":0`, nil)
	end := []byte(`{"stop_reason":"` + c.stopReason() + `","stop_sequence":null},"usage":`)
	b.named("message_delta", `,"delta":`, c.appendMessageUsage(end, c.output))
	b.named("message_stop", "", nil)
}

// named writes an event whose data repeats its name.
func (b *eventBody) named(name, member string, value []byte) {
	b.buf = append(append(append(b.buf, "event: "...), name...), "\ndata: {\"type\":\""...)
	b.buf = append(append(append(append(b.buf, name...), '"'), member...), value...)
	b.buf = append(b.buf, "}\n\n"...)
}

// appendMessageError is an error in Anthropic's shape.
func appendMessageError(out []byte, r *refusal) []byte {
	kind := "api_error"
	switch r.status {
	case 400:
		kind = "invalid_request_error"
	case 401:
		kind = "authentication_error"
	case 404:
		kind = "not_found_error"
	case 429:
		kind = "rate_limit_error"
	}
	out = append(append(out, `{"type":"error","error":{"type":"`...), kind...)
	out = appendJSON(append(out, `","message":`...), r.message)
	return append(out, `}}`...)
}

package simulated

import (
	"io"
	"time"
)

// events is the answer as a stream of server-sent events.
func (c *call) events() io.ReadCloser {
	return &eventBody{c: c, total: c.output - c.reasoning, began: c.due(time.Now, 0)}
}

// eventBody makes events when they are read: at most those whose time has
// come, and at least one.
type eventBody struct {
	c     *call
	buf   []byte
	pos   int
	next  int64 // the event to make: 0 opens, 1 to total are words, total+1 ends
	total int64
	seq   int64 // responses: events so far
	text  []byte
	began time.Time // when the first token is due; zero: no latencies
	err   error
	over  bool
}

// Read implements io.Reader.
func (b *eventBody) Read(p []byte) (int, error) {
	if b.pos == len(b.buf) {
		if b.err != nil {
			b.end()
			return 0, b.err
		}
		b.buf, b.pos = b.buf[:0], 0
		if err := b.make(len(p)); err != nil {
			b.cut()
			return 0, err
		}
	}
	n := copy(p, b.buf[b.pos:])
	b.pos += n
	return n, nil
}

// make fills the buffer with at least one event, waiting for its time, and
// with more that are due until there are room bytes.
func (b *eventBody) make(room int) error {
	for first := true; b.err == nil && len(b.buf) < room; first = false {
		at := b.due()
		if !first && !at.IsZero() && time.Now().Before(at) {
			return nil
		}
		if err := wait(b.c.ctx, at); err != nil {
			return err
		}
		b.event()
	}
	return nil
}

// due is when the next event is to be made.
func (b *eventBody) due() time.Time {
	if b.began.IsZero() || b.next == 0 {
		return time.Time{}
	}
	cfg := &b.c.p.cfg
	return b.began.Add(cfg.after(b.c.reasoning+min(b.next, b.total)) - cfg.TimeToFirstToken)
}

// event makes one event, or ends the stream by a fault.
func (b *eventBody) event() {
	c := b.c
	words := b.next - 1
	switch {
	case b.next > 0 && c.fault == Drop && words == c.faultAt:
		b.finish(words, io.ErrUnexpectedEOF)
	case b.next > 0 && c.fault == Garble && words == c.faultAt:
		b.finish(words, io.EOF)
		b.buf = append(b.buf, "data: {\"id\":\"garbled\",\"choices\":[{\"delta\":{\"content\":\"wor\n\n"...)
	case b.next == 0:
		b.open()
	case b.next <= b.total:
		b.word()
	default:
		b.finish(b.total, io.EOF) // in the books before its last byte (I2)
		b.close()
	}
	b.next++
}

// finish ends the stream after words words, and writes the books.
func (b *eventBody) finish(words int64, err error) {
	b.c.spend(words + b.c.reasoning)
	b.c.write(b.c.outcome(), 200)
	b.err = err
}

func (b *eventBody) open() {
	c := b.c
	switch c.kind {
	case response:
		b.wrap("response.created", `"response":`, c.appendResponse(nil, "in_progress", nil))
		b.wrap("response.in_progress", `"response":`, c.appendResponse(nil, "in_progress", nil))
		if c.tool != "" {
			b.wrap("response.output_item.added", `"output_index":0,"item":`, c.appendToolItem(nil, "in_progress", nil))
			return
		}
		b.wrap("response.output_item.added", `"output_index":0,"item":`, []byte(`{"id":"msg_0","type":"message","status":"in_progress","role":"assistant","content":[]}`))
		b.wrap("response.content_part.added", `"item_id":"msg_0","output_index":0,"content_index":0,"part":`, []byte(`{"type":"output_text","annotations":[],"logprobs":[],"text":""}`))
	case message:
		b.openMessage()
	case chat:
		if c.tool != "" {
			b.chunk(string(c.appendTool([]byte(`{"role":"assistant","content":null,"refusal":null,`), `"index":0,`, nil))+"}", "null")
			return
		}
		b.chunk(`{"role":"assistant","content":"","refusal":null}`, "null")
	}
}

func (b *eventBody) word() {
	c := b.c
	w := c.word()
	space := " "
	if b.next == 1 {
		space = ""
	}
	switch c.kind {
	case response:
		b.text = append(append(b.text, space...), w...)
		if c.tool != "" {
			b.wrap("response.function_call_arguments.delta", `"item_id":"fc_0","output_index":0,"delta":`, []byte(`"`+space+w+`"`))
			return
		}
		b.wrap("response.output_text.delta", `"item_id":"msg_0","output_index":0,"content_index":0,"logprobs":[],"delta":`, []byte(`"`+space+w+`"`))
	case message:
		b.messageWord(space + w)
	case chat:
		if c.tool != "" {
			b.chunk(`{"tool_calls":[{"index":0,"function":{"arguments":"`+space+w+`"}}]}`, "null")
			return
		}
		b.chunk(`{"content":"`+space+w+`"}`, "null")
	default:
		b.chunk(space+w, "null")
	}
}

func (b *eventBody) close() {
	c := b.c
	finish := `"` + c.finish() + `"`
	switch c.kind {
	case message:
		b.closeMessage()
		return
	case response:
		text := append(append([]byte{'"'}, b.text...), '"')
		if c.tool != "" {
			b.wrap("response.function_call_arguments.done", `"item_id":"fc_0","output_index":0,"name":"`+quoted(c.tool)+`","arguments":`, text)
		} else {
			b.wrap("response.output_text.done", `"item_id":"msg_0","output_index":0,"content_index":0,"logprobs":[],"text":`, text)
			b.wrap("response.content_part.done", `"item_id":"msg_0","output_index":0,"content_index":0,"part":`,
				append(append([]byte(`{"type":"output_text","annotations":[],"logprobs":[],"text":`), text...), '}'))
		}
		b.wrap("response.output_item.done", `"output_index":0,"item":`, c.item("completed", b.text))
		name := "response.completed"
		if c.length {
			name = "response.incomplete"
		}
		b.wrap(name, `"response":`, c.appendResponse(nil, "completed", b.text))
		return
	case chat:
		b.chunk(`{}`, finish)
	default:
		b.chunk("", finish)
	}
	if c.usage {
		b.buf = c.appendHead(append(b.buf, "data: {"...), "chat.completion.chunk", "text_completion")
		b.buf = c.appendUsage(append(b.buf, `"choices":[],"usage":`...))
		b.buf = append(b.buf, "}\n\n"...)
	}
	b.buf = append(b.buf, "data: [DONE]\n\n"...)
}

// chunk writes a chunk of a chat completion with the delta, or of a completion
// with the text.
func (b *eventBody) chunk(piece, finish string) {
	c := b.c
	b.buf = c.appendHead(append(b.buf, "data: {"...), "chat.completion.chunk", "text_completion")
	if c.kind == chat {
		b.buf = append(append(b.buf, `"choices":[{"index":0,"delta":`...), piece...)
		b.buf = append(b.buf, `,"logprobs":null,"finish_reason":`...)
	} else {
		b.buf = append(append(b.buf, `"choices":[{"index":0,"text":"`...), piece...)
		b.buf = append(b.buf, `","logprobs":null,"finish_reason":`...)
	}
	b.buf = append(append(b.buf, finish...), `}]`...)
	if c.usage {
		b.buf = append(b.buf, `,"usage":null`...)
	}
	b.buf = append(b.buf, "}\n\n"...)
}

// wrap writes an event of the responses endpoint.
func (b *eventBody) wrap(name, member string, value []byte) {
	b.buf = append(append(b.buf, "event: "...), name...)
	b.buf = append(append(b.buf, "\ndata: {\"type\":\""...), name...)
	b.buf = append(b.buf, `","sequence_number":`...)
	b.buf = appendNumber(b.buf, b.seq)
	b.buf = append(append(append(b.buf, ','), member...), value...)
	b.buf = append(b.buf, "}\n\n"...)
	b.seq++
}

// cut books a call that the client gave up.
func (b *eventBody) cut() {
	if !b.over {
		made := min(max(b.next-1, 0), b.total)
		if made > 0 {
			made += b.c.reasoning
		}
		b.c.spend(made)
		b.c.write("cut", 200)
	}
	b.end()
}

// Close implements io.Closer.
func (b *eventBody) Close() error {
	b.cut()
	return nil
}

func (b *eventBody) end() {
	if !b.over {
		b.over = true
		b.c.p.leave()
	}
}

package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Text follows the job's answer until its end and returns the whole text: of
// the chunks if the job streams, else of the result. When a new attempt
// restarts the answer, what came before is forgotten; where chunks are no
// longer kept, the text is taken from the result. The error is what the job
// failed with, or that of [Handle.Chunks]; the text so far is beside it.
func (h *Handle) Text(ctx context.Context) (string, error) {
	var text strings.Builder
	seen := false
	for chunk, err := range h.Chunks(ctx) {
		if CodeOf(err) == wire.CodeStreamTruncated && ctx.Err() == nil {
			seen = false // the whole is in the result, or what really went wrong
			break
		}
		if err != nil {
			return text.String(), err
		}
		if chunk.Restarted {
			text.Reset()
		}
		seen = true
		text.WriteString(chunk.Text())
	}
	if seen {
		return text.String(), nil
	}
	r, err := h.Wait(ctx)
	if err != nil {
		return "", err
	}
	if r.Err != nil {
		return text.String(), r.Err
	}
	return r.Text(), nil
}

// Text is the piece of answer text in the chunk, for every streaming endpoint
// of the contract; "" for an event that carries none.
func (c *Chunk) Text() string {
	var e struct {
		Choices []struct {
			Index int
			Text  string
			Delta struct{ Content string }
		}
		Type  string
		Delta json.RawMessage
	}
	if json.Unmarshal(eventData(c.Data), &e) != nil {
		return ""
	}
	for _, choice := range e.Choices {
		if choice.Index == 0 {
			return choice.Delta.Content + choice.Text
		}
	}
	switch e.Type {
	case "response.output_text.delta": // of /v1/responses
		var s string
		_ = json.Unmarshal(e.Delta, &s) // not a string: no text
		return s
	case "content_block_delta": // of /v1/messages
		var d struct{ Type, Text string }
		_ = json.Unmarshal(e.Delta, &d) // another shape: no text
		return d.Text
	}
	return ""
}

// eventData takes the JSON out of an event that still has its SSE framing.
func eventData(b []byte) []byte {
	if len(b) > 0 && b[0] == '{' {
		return b
	}
	var data []byte
	for line := range bytes.Lines(b) {
		if d, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			data = append(data, bytes.TrimSpace(d)...)
		}
	}
	return data
}

// answerText is the text of a whole answer of any endpoint of the contract.
func answerText(body []byte) string {
	var a struct {
		Choices []struct {
			Message struct{ Content string }
			Text    string
		}
		Output []struct {
			Type    string
			Content []textBlock
		}
		Content []textBlock
	}
	if json.Unmarshal(body, &a) != nil {
		return ""
	}
	if len(a.Choices) > 0 {
		return a.Choices[0].Message.Content + a.Choices[0].Text
	}
	var text strings.Builder
	blocks := a.Content
	for _, o := range a.Output {
		if o.Type == "message" {
			blocks = append(blocks, o.Content...)
		}
	}
	for _, b := range blocks {
		if b.Type == "text" || b.Type == "output_text" {
			text.WriteString(b.Text)
		}
	}
	return text.String()
}

type textBlock struct{ Type, Text string }

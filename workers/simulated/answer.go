package simulated

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"
)

// created is the time in every answer: answers are the same on every run (I1).
const created = 1767225600

// whole answers without a stream, after the time that the tokens take.
func (c *call) whole(req *http.Request) (*http.Response, error) {
	begun := time.Now()
	if err := wait(c.ctx, c.due(time.Now, c.output)); err != nil {
		c.spend(c.made(time.Since(begun))) // it was at work, whoever listens (I3)
		c.write("cut", 0)
		return nil, err
	}
	body := c.body()
	length := int64(len(body))
	var broken error
	switch c.fault { // the answer was made all the same, and is charged
	case Drop:
		body, broken = body[:len(body)/2], io.ErrUnexpectedEOF
	case Garble:
		body, length = body[:len(body)/2], int64(len(body)/2)
	}
	c.spend(c.output)
	c.write(c.outcome(), 200)
	return respond(req, 200, "application/json", c.fixed(body, broken), length), nil
}

// due is when token n of the answer is made; the zero time means at once (I5).
func (c *call) due(now func() time.Time, n int64) time.Time {
	cfg := &c.p.cfg
	if cfg.TimeToFirstToken == 0 && cfg.TokensPerSecond == 0 || c.kind == models {
		return time.Time{}
	}
	return now().Add(cfg.after(n))
}

// after is the time from the start to token n.
func (c *Config) after(n int64) time.Duration {
	d := c.TimeToFirstToken
	if c.TokensPerSecond > 0 && n > 1 {
		d += time.Duration(float64(n-1) / c.TokensPerSecond * float64(time.Second))
	}
	return d
}

// made is how many tokens of its answer are made after so long.
func (c *call) made(d time.Duration) int64 {
	cfg := &c.p.cfg
	if d -= cfg.TimeToFirstToken; d < 0 {
		return 0
	}
	if cfg.TokensPerSecond == 0 {
		return c.output
	}
	return min(1+int64(d.Seconds()*cfg.TokensPerSecond), c.output)
}

// outcome is what the books say of an answer that was given as planned.
func (c *call) outcome() string {
	switch c.fault {
	case Drop:
		return "dropped"
	case Garble:
		return "garbled"
	}
	return "ok"
}

// body is the whole answer.
func (c *call) body() []byte {
	out := make([]byte, 0, 640+8*int(c.output)+8*c.vectors*int(c.dimensions))
	switch c.kind {
	case models:
		return c.appendModels(out)
	case embedding:
		return c.appendVectors(out)
	case response:
		return c.appendResponse(out, "completed", c.appendText(nil, c.output-c.reasoning))
	case message:
		return c.appendMessage(out)
	}
	out = c.appendHead(append(out, '{'), "chat.completion", "text_completion")
	switch {
	case c.kind == chat && c.tool != "":
		out = append(out, `"choices":[{"index":0,"message":{"role":"assistant","content":null,"refusal":null,`...)
		out = c.appendTool(out, "", c.appendText(nil, c.output))
		out = append(out, `},"logprobs":null,"finish_reason":"`...)
	case c.kind == chat:
		out = append(out, `"choices":[{"index":0,"message":{"role":"assistant","content":"`...)
		out = c.appendText(out, c.output-c.reasoning)
		out = append(out, `","refusal":null},"logprobs":null,"finish_reason":"`...)
	default:
		out = append(out, `"choices":[{"index":0,"text":"`...)
		out = c.appendText(out, c.output-c.reasoning)
		out = append(out, `","logprobs":null,"finish_reason":"`...)
	}
	out = append(append(out, c.finish()...), `"}],"usage":`...)
	return append(c.appendUsage(out), '}')
}

func (c *call) finish() string {
	switch {
	case c.length:
		return "length"
	case c.tool != "":
		return "tool_calls"
	}
	return "stop"
}

// appendHead writes the members that each answer and each chunk begins with.
func (c *call) appendHead(out []byte, chatObject, textObject string) []byte {
	object, prefix := chatObject, "chatcmpl-"
	if c.kind == completion {
		object, prefix = textObject, "cmpl-"
	}
	out = append(append(out, `"id":"`...), prefix...)
	out = appendHex(out, c.id)
	out = append(append(out, `","object":"`...), object...)
	out = strconv.AppendInt(append(out, `","created":`...), created, 10)
	out = appendJSON(append(out, `,"model":`...), c.line.Model)
	return append(out, `,"system_fingerprint":"fp_simulated",`...)
}

// appendText writes n words.
func (c *call) appendText(out []byte, n int64) []byte {
	for i := range n {
		if i > 0 {
			out = append(out, ' ')
		}
		out = append(out, c.word()...)
	}
	return out
}

func (c *call) appendUsage(out []byte) []byte {
	in, inDetails, outName, outDetails := `{"prompt_tokens":`, `,"prompt_tokens_details":{"cached_tokens":`,
		`,"completion_tokens":`, `},"completion_tokens_details":{"reasoning_tokens":`
	if c.kind == response {
		in, inDetails, outName, outDetails = `{"input_tokens":`, `,"input_tokens_details":{"cached_tokens":`,
			`,"output_tokens":`, `},"output_tokens_details":{"reasoning_tokens":`
	}
	out = strconv.AppendInt(append(out, in...), c.input, 10)
	if c.kind != embedding {
		out = strconv.AppendInt(append(out, outName...), c.output, 10)
	}
	out = strconv.AppendInt(append(out, `,"total_tokens":`...), c.input+c.output, 10)
	out = strconv.AppendInt(append(out, inDetails...), c.cached, 10)
	out = append(out, `,"cache_write_tokens":0`...)
	if c.kind != embedding {
		out = strconv.AppendInt(append(out, outDetails...), c.reasoning, 10)
	}
	return append(out, `}}`...)
}

// appendResponse writes a response object around its text.
func (c *call) appendResponse(out []byte, status string, text []byte) []byte {
	out = appendHex(append(out, `{"id":"resp_`...), c.id)
	out = strconv.AppendInt(append(out, `","object":"response","created_at":`...), created, 10)
	if status == "completed" && c.length {
		status = "incomplete"
	}
	out = append(append(append(out, `,"status":"`...), status...), `","error":null,"incomplete_details":`...)
	if status == "incomplete" {
		out = append(out, `{"reason":"max_output_tokens"}`...)
	} else {
		out = append(out, `null`...)
	}
	out = c.wish.echo(appendJSON(append(out, `,"model":`...), c.line.Model))
	if status == "in_progress" {
		return append(out, `,"output":[],"usage":null}`...)
	}
	out = append(append(out, `,"output":[`...), c.item(status, text)...)
	out = append(out, `],"usage":`...)
	return append(c.appendUsage(out), '}')
}

// item is a response's one output item.
func (c *call) item(status string, text []byte) []byte {
	if c.tool != "" {
		return c.appendToolItem(nil, status, text)
	}
	out := append([]byte(`{"id":"msg_0","type":"message","status":"`), status...)
	out = append(out, `","role":"assistant","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"`...)
	return append(append(out, text...), `"}]}`...)
}

// appendVectors writes small vectors; the same input and key give the same.
func (c *call) appendVectors(out []byte) []byte {
	n := c.dimensions
	if n == 0 {
		n = 8
	}
	out = append(out, `{"object":"list","data":[`...)
	for i := range c.vectors {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendInt(append(out, `{"object":"embedding","index":`...), int64(i), 10)
		out = append(c.appendVector(append(out, `,"embedding":`...), n), '}')
	}
	out = appendJSON(append(out, `],"model":`...), c.line.Model)
	return append(c.appendUsage(append(out, `,"usage":`...)), '}')
}

// appendVector writes one vector as numbers, or as the base64 of 32-bit floats.
func (c *call) appendVector(out []byte, n int64) []byte {
	var packed []byte
	separator := byte('[')
	for range n {
		v := float64(c.rnd.below(2001)-1000) / 1000
		if c.wish.base64 {
			packed = binary.LittleEndian.AppendUint32(packed, math.Float32bits(float32(v)))
			continue
		}
		out = strconv.AppendFloat(append(out, separator), v, 'f', -1, 64)
		separator = ','
	}
	if c.wish.base64 {
		return append(base64.StdEncoding.AppendEncode(append(out, '"'), packed), '"')
	}
	return append(out, ']')
}

func (c *call) appendModels(out []byte) []byte {
	out = append(out, `{"object":"list","data":[`...)
	for i, m := range c.p.cfg.Models {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendJSON(append(out, `{"id":`...), m)
		out = append(out, `,"object":"model","created":0,"owned_by":"simulated"}`...)
	}
	return append(out, `]}`...)
}

func appendHex(out []byte, v uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		out = append(out, digits[v>>shift&15])
	}
	return out
}

// appendJSON writes s as a JSON string.
func appendJSON(out []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if b := s[i]; b < ' ' || b >= 0x7f || b == '"' || b == '\\' {
			quoted, _ := json.Marshal(s) // a string always marshals
			return append(out, quoted...)
		}
	}
	return append(append(append(out, '"'), s...), '"')
}

func appendOptional(out []byte, s string) []byte {
	if s == "" {
		return append(out, "null"...)
	}
	return appendJSON(out, s)
}

// fixed is a body that is all there, and then ends with err, or io.EOF.
func (c *call) fixed(data []byte, err error) io.ReadCloser {
	return &fixedBody{c: c, data: data, err: err}
}

type fixedBody struct {
	c    *call
	data []byte
	err  error
	over bool
}

// Read implements io.Reader.
func (b *fixedBody) Read(p []byte) (int, error) {
	n := copy(p, b.data)
	b.data = b.data[n:]
	if len(b.data) > 0 {
		return n, nil
	}
	b.end()
	if b.err != nil {
		return n, b.err
	}
	return n, io.EOF
}

// Close implements io.Closer.
func (b *fixedBody) Close() error {
	b.end()
	return nil
}

func (b *fixedBody) end() {
	if !b.over {
		b.over = true
		b.c.p.leave()
	}
}

package batch

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// headerCommit says, beside a commit's lines, what follows from it.
const headerCommit = "Sluice-Commit"

// commit is the header of a commit: the sums are of the whole log so far.
type commit struct {
	Position uint64 `json:"p"` // ledger sequence up to which was folded
	Tally    Tally  `json:"t"`
	Lines    string `json:"n"` // the lines it has, as packLines packs them
}

// Bounds of a commit. Its header may have 64 KiB.
const (
	commitBytes = 512 << 10
	commitLines = 8192
)

// packLines makes one word of line numbers: differences as signed varints.
func packLines(lines []int64) string {
	b := make([]byte, 0, 2*len(lines))
	last := int64(0)
	for _, n := range lines {
		b = binary.AppendVarint(b, n-last)
		last = n
	}
	return base64.RawStdEncoding.EncodeToString(b)
}

// unpackLines calls each with the lines that packLines packed.
func unpackLines(s string, each func(int64)) error {
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		return fmt.Errorf("lines of a commit: %w", err)
	}
	last := int64(0)
	for len(b) > 0 {
		d, n := binary.Varint(b)
		if last += d; n <= 0 || last <= 0 {
			return fmt.Errorf("lines of a commit: a difference that is none")
		}
		each(last)
		b = b[n:]
	}
	return nil
}

// bitmap is a set of lines.
type bitmap []uint64

func (b *bitmap) add(line int64) {
	at := int(line / 64)
	for len(*b) <= at {
		*b = append(*b, make([]uint64, max(64, len(*b)))...)
	}
	(*b)[at] |= 1 << (line % 64)
}

func (b bitmap) has(line int64) bool {
	at := line / 64
	return at < int64(len(b)) && b[at]&(1<<(line%64)) != 0
}

// result is what became of a line.
type result struct {
	line   int64
	id     string // custom_id
	status wire.Status
	code   wire.Code
	http   int    // of the answer
	body   []byte // the answer, or OpenAI's error object
	spent  wire.NanoUSD
	costed bool // every attempt's cost is known
	usage  wire.Usage
}

// pending are results that are not committed yet.
type pending struct {
	out, errs []byte
	lines     []int64
	tally     Tally // with them
	position  uint64
}

// add renders a result and counts it.
func (p *pending) add(m *Manifest, r *result) {
	p.lines = append(p.lines, r.line)
	p.tally.count(r)
	if m.API == Anthropic {
		before := len(p.out)
		p.out = renderAnthropic(p.out, r)
		p.tally.Output += int64(len(p.out) - before)
		return
	}
	if r.status == wire.Succeeded {
		before := len(p.out)
		p.out = m.renderOpenAI(p.out, r)
		p.tally.Output += int64(len(p.out) - before)
		return
	}
	before := len(p.errs)
	p.errs = m.renderOpenAI(p.errs, r)
	p.tally.Errors += int64(len(p.errs) - before)
}

func (p *pending) full() bool {
	return len(p.out)+len(p.errs) >= commitBytes || len(p.lines) >= commitLines
}

// count adds a result to the sums.
func (t *Tally) count(r *result) {
	switch r.status {
	case wire.Succeeded:
		t.Succeeded++
	case wire.Cancelled:
		t.Cancelled++
	case wire.Expired:
		t.Expired++
	default:
		t.Failed++
		codes := make(map[wire.Code]int64, len(t.Codes)+1) // the old one may be on its way into a manifest
		for k, v := range t.Codes {
			codes[k] = v
		}
		codes[r.code]++
		t.Codes = codes
	}
	t.Spent += r.spent
	if !r.costed {
		t.Unknown++
	}
	u := &t.Usage
	u.Input += r.usage.Input
	u.CacheRead += r.usage.CacheRead
	u.CacheWrite += r.usage.CacheWrite
	u.Output += r.usage.Output
	u.Reasoning += r.usage.Reasoning
}

// renderOpenAI appends a line of an output or error file.
func (m *Manifest) renderOpenAI(b []byte, r *result) []byte {
	_, short, _ := cutPrefix(m.job(r.line))
	b = append(b, `{"id":"batch_req_`...)
	b = append(b, short...)
	b = append(b, `","custom_id":`...)
	b = appendJSON(b, r.id)
	if r.status == wire.Cancelled || r.status == wire.Expired {
		b = append(b, `,"response":null,"error":{"code":"batch_`...)
		b = append(b, r.status...)
		b = append(b, `","message":`...)
		b = appendJSON(b, unfinished[r.status])
		return append(b, "}}\n"...)
	}
	b = fmt.Appendf(b, `,"response":{"status_code":%d,"request_id":"%s","body":`, r.http, m.job(r.line))
	b = appendCompact(b, r.body)
	return append(b, "},\"error\":null}\n"...)
}

// unfinished is what is said of lines that did not run to an end.
var unfinished = map[wire.Status]string{
	wire.Cancelled: "This request was cancelled before it was finished.",
	wire.Expired:   "This request could not be executed before the completion window expired.",
}

// renderAnthropic appends a line of the results of a Message Batch.
func renderAnthropic(b []byte, r *result) []byte {
	b = append(b, `{"custom_id":`...)
	b = appendJSON(b, r.id)
	b = append(b, `,"result":{"type":"`...)
	switch r.status {
	case wire.Succeeded:
		b = append(b, `succeeded","message":`...)
		b = appendCompact(b, r.body)
	case wire.Cancelled:
		b = append(b, `canceled"`...)
	case wire.Expired:
		b = append(b, `expired"`...)
	default:
		b = append(b, `errored","error":{"type":"error","error":{"type":`...)
		b = appendJSON(b, wire.AnthropicType(r.http))
		b = append(b, `,"message":`...)
		b = appendJSON(b, jsonscan.String(jsonscan.Get(jsonscan.Get(r.body, "error"), "message")))
		b = append(b, "}}"...)
	}
	return append(b, "}}\n"...)
}

func appendJSON(b []byte, s string) []byte {
	q, err := json.Marshal(s)
	if err != nil { // cannot happen
		return append(b, `""`...)
	}
	return append(b, q...)
}

// appendCompact appends JSON on one line; what is no JSON becomes null.
func appendCompact(b, body []byte) []byte {
	if !jsonscan.Valid(body) {
		return append(b, "null"...)
	}
	if bytes.IndexByte(body, '\n') < 0 && bytes.IndexByte(body, '\r') < 0 {
		return append(b, bytes.TrimSpace(body)...)
	}
	var buf bytes.Buffer
	if json.Compact(&buf, body) != nil {
		return append(b, "null"...)
	}
	return append(b, buf.Bytes()...)
}

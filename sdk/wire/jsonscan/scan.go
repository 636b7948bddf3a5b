package jsonscan

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// Object walks the members of a JSON object. Make one with [NewObject].
type Object struct {
	buf   []byte
	pos   int
	first bool
	state state
}

type state int8

const (
	walking state = iota
	ended
	broken
)

// Member is one key and value of an object, as ranges of the input.
type Member struct {
	Key   []byte // without quotes and escapes
	Value []byte // as it stands
	Span  []byte // key, colon and value, as they stand
}

// NewObject starts a walk over raw. If raw is no object, Next ends at once
// and OK says false.
func NewObject(raw []byte) Object {
	o := Object{buf: raw, first: true}
	o.pos = space(raw, 0)
	if o.pos >= len(raw) || raw[o.pos] != '{' {
		o.state = broken
		return o
	}
	o.pos++
	return o
}

// Next is the next member; ok is false at the end or where the input breaks.
func (o *Object) Next() (m Member, ok bool) {
	if !o.enter('}') {
		return m, false
	}
	start := o.pos
	end := skipString(o.buf, start)
	if end < 0 {
		return o.fail()
	}
	m.Key = unescape(o.buf[start:end])
	p := space(o.buf, end)
	if m.Key == nil || p >= len(o.buf) || o.buf[p] != ':' {
		return o.fail()
	}
	p = space(o.buf, p+1)
	if end = skipValue(o.buf, p); end < 0 {
		return o.fail()
	}
	m.Value, m.Span = o.buf[p:end:end], o.buf[start:end:end]
	o.pos = end
	return m, true
}

// OK reports whether the walk came to the end of a whole object.
func (o *Object) OK() bool { return o.state == ended }

func (o *Object) fail() (Member, bool) {
	o.state = broken
	return Member{}, false
}

// enter goes to the next member or element, over the comma before it.
func (o *Object) enter(closing byte) bool {
	if o.state != walking {
		return false
	}
	p := space(o.buf, o.pos)
	if p >= len(o.buf) {
		o.state = broken
		return false
	}
	if o.buf[p] == closing {
		o.state = ended
		if space(o.buf, p+1) != len(o.buf) {
			o.state = broken
		}
		return false
	}
	if !o.first {
		if o.buf[p] != ',' {
			o.state = broken
			return false
		}
		p = space(o.buf, p+1)
	}
	o.first, o.pos = false, p
	return true
}

// Array walks the elements of a JSON array. Make one with [NewArray].
type Array struct{ o Object }

// NewArray starts a walk over raw. If raw is no array, Next ends at once.
func NewArray(raw []byte) Array {
	a := Array{Object{buf: raw, first: true}}
	a.o.pos = space(raw, 0)
	if a.o.pos >= len(raw) || raw[a.o.pos] != '[' {
		a.o.state = broken
		return a
	}
	a.o.pos++
	return a
}

// Next is the next element; ok is false at the end or where the input breaks.
func (a *Array) Next() (value []byte, ok bool) {
	if !a.o.enter(']') {
		return nil, false
	}
	end := skipValue(a.o.buf, a.o.pos)
	if end < 0 {
		a.o.state = broken
		return nil, false
	}
	value = a.o.buf[a.o.pos:end:end]
	a.o.pos = end
	return value, true
}

// OK reports whether the walk came to the end of a whole array.
func (a *Array) OK() bool { return a.o.state == ended }

// Get is the value of the last member named key, nil if there is none.
func Get(raw []byte, key string) []byte {
	var v []byte
	o := NewObject(raw)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		if string(m.Key) == key {
			v = m.Value
		}
	}
	return v
}

// Kind is the first byte of a value: '{', '[', '"', 't', 'f', 'n', or '0' for
// a number and 0 for nothing.
func Kind(raw []byte) byte {
	if len(raw) == 0 {
		return 0
	}
	if c := raw[0]; c == '-' || c >= '0' && c <= '9' {
		return '0'
	}
	return raw[0]
}

// Null reports whether raw is absent or null.
func Null(raw []byte) bool { return len(raw) == 0 || raw[0] == 'n' }

// Inner is what stands between the quotes of a string, escapes included.
func Inner(raw []byte) []byte {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return nil
	}
	return raw[1 : len(raw)-1]
}

// String decodes a string; anything else is "".
func String(raw []byte) string {
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	return string(unescape(raw))
}

// Int reads a number that is not negative, cutting fractions; anything else
// is 0.
func Int(raw []byte) int64 {
	if Kind(raw) != '0' {
		return 0
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(string(raw), 64)
		if err != nil && !math.IsInf(f, 0) {
			return 0
		}
		n = int64(min(max(f, 0), 1<<53))
	}
	return max(n, 0)
}

// TextLen is how many bytes of UTF-8 a string's inner part stands for, with
// every \u escape taken as three bytes.
func TextLen(inner []byte) int {
	n := len(inner)
	for {
		i := bytes.IndexByte(inner, '\\')
		if i < 0 || i+1 >= len(inner) {
			return n
		}
		if inner[i+1] == 'u' {
			n -= 2 // and one for the backslash
		}
		n--
		inner = inner[i+2:]
	}
}

func space(b []byte, p int) int {
	for p < len(b) && (b[p] == ' ' || b[p] == '\n' || b[p] == '\t' || b[p] == '\r') {
		p++
	}
	return p
}

// skipString is the position after the string that starts at p, or -1.
func skipString(b []byte, p int) int {
	if p >= len(b) || b[p] != '"' {
		return -1
	}
	for q := p + 1; ; {
		i := bytes.IndexByte(b[q:], '"')
		if i < 0 {
			return -1
		}
		q += i
		slashes := 0
		for b[q-1-slashes] == '\\' { // stops at the opening quote at the latest
			slashes++
		}
		q++
		if slashes%2 == 0 {
			return q
		}
	}
}

// skipValue is the position after the value that starts at p, or -1.
func skipValue(b []byte, p int) int {
	if p >= len(b) {
		return -1
	}
	switch b[p] {
	case '"':
		return skipString(b, p)
	case '{', '[':
		return skipNested(b, p)
	}
	q := p
	for q < len(b) {
		switch b[q] {
		case ',', '}', ']', ' ', '\n', '\t', '\r', '"', ':', '{', '[':
			if q == p {
				return -1
			}
			return q
		}
		q++
	}
	return q
}

func skipNested(b []byte, p int) int {
	depth := 0
	for p < len(b) {
		switch b[p] {
		case '"':
			if p = skipString(b, p); p < 0 {
				return -1
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return p + 1
			}
		}
		p++
	}
	return -1
}

// unescape is the text of a quoted string, nil if it is not one.
func unescape(quoted []byte) []byte {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return nil
	}
	return append([]byte{}, s...)
}

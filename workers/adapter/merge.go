package adapter

import (
	"bytes"

	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// node is a JSON value that grows by deltas: strings are joined, objects are
// merged by key, arrays by their elements' index (or appended to, if they have
// none), and anything else is replaced. Text stays in its escaped form, so
// that what comes out is byte for byte what came in.
type node struct {
	kind   byte   // as jsonscan.Kind says; 0: nothing yet
	text   []byte // of a string: its inner part; of a scalar: itself
	fields []named
	items  []item
}

type named struct {
	key  string
	node *node
}

type item struct {
	index int64 // -1: has none
	node  *node
}

// fixed are the members that a later delta replaces: names and markers, which
// some providers repeat in every chunk.
func fixed(key string) bool {
	switch key {
	case "role", "id", "type", "index", "object", "format", "signature", "call_id", "finish_reason", "stop_reason":
		return true
	}
	return false
}

// Bounds against a hostile provider: deeper values are replaced, not merged;
// in larger lists nothing is looked up any more, only appended. They keep the
// work per event linear.
const (
	maxDepth = 32
	maxKnown = 512
)

// merge adds one delta.
func (n *node) merge(raw []byte) { n.mergeAt(raw, 0) }

func (n *node) mergeAt(raw []byte, depth int) {
	kind := jsonscan.Kind(raw)
	switch {
	case depth >= maxDepth:
		*n = node{kind: '0', text: bytes.Clone(raw)}
		return
	case kind == 'n' && n.kind != 0:
		return
	case kind == '"' && n.kind == '"':
		n.text = append(n.text, jsonscan.Inner(raw)...)
		return
	case kind != n.kind || kind != '{' && kind != '[':
		*n = node{kind: kind}
	}
	switch kind {
	case '{':
		o := jsonscan.NewObject(raw)
		for m, ok := o.Next(); ok; m, ok = o.Next() {
			n.mergeField(m, depth)
		}
	case '[':
		n.mergeItems(raw, depth)
	case '"':
		n.text = bytes.Clone(jsonscan.Inner(raw))
	default:
		n.text = bytes.Clone(raw)
	}
}

func (n *node) mergeField(m jsonscan.Member, depth int) {
	f := n.field(string(m.Key))
	inner := jsonscan.Inner(m.Value)
	switch {
	case fixed(string(m.Key)) && !jsonscan.Null(m.Value):
		*f = node{}
	case string(m.Key) == "name" && f.kind == '"' && bytes.Equal(f.text, inner):
		return // repeated, not continued
	}
	f.mergeAt(m.Value, depth+1)
}

// field is the member named key, made if it is not there.
func (n *node) field(key string) *node {
	for i := range n.fields[:min(len(n.fields), maxKnown)] {
		if n.fields[i].key == key {
			return n.fields[i].node
		}
	}
	f := &node{}
	n.fields = append(n.fields, named{key, f})
	return f
}

func (n *node) mergeItems(raw []byte, depth int) {
	a := jsonscan.NewArray(raw)
	for v, ok := a.Next(); ok; v, ok = a.Next() {
		index := int64(-1)
		if i := jsonscan.Get(v, "index"); jsonscan.Kind(i) == '0' {
			index = jsonscan.Int(i)
		}
		n.item(index).mergeAt(v, depth+1)
	}
}

func (n *node) item(index int64) *node {
	if index >= 0 {
		for _, it := range n.items[:min(len(n.items), maxKnown)] {
			if it.index == index {
				return it.node
			}
		}
	}
	it := item{index, &node{}}
	n.items = append(n.items, it)
	return it.node
}

// append writes the value as JSON. Elements that were merged by index lose
// that member, as whole answers have none.
func (n *node) append(out []byte) []byte {
	switch n.kind {
	case 0:
		return append(out, "null"...)
	case '"':
		return append(append(append(out, '"'), n.text...), '"')
	case '{':
		return n.appendObject(out, "")
	case '[':
		out = append(out, '[')
		for i, it := range n.items {
			if i > 0 {
				out = append(out, ',')
			}
			if it.index >= 0 && it.node.kind == '{' {
				out = it.node.appendObject(out, "index")
			} else {
				out = it.node.append(out)
			}
		}
		return append(out, ']')
	}
	return append(out, n.text...)
}

func (n *node) appendObject(out []byte, without string) []byte {
	out = append(out, '{')
	for _, f := range n.fields {
		if f.key != without {
			out = appendKey(out, f.key)
			out = f.node.append(out)
		}
	}
	return append(out, '}')
}

// appendKey writes a comma, unless it opens the object, and the key.
func appendKey(out []byte, key string) []byte {
	if out[len(out)-1] != '{' {
		out = append(out, ',')
	}
	return append(appendString(out, key), ':')
}

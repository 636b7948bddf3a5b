package simulated

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// maxSchemaDepth bounds what a schema that refers to itself becomes.
const maxSchemaDepth = 12

// maker writes a value that a JSON schema allows: every property that has a
// schema, one element per array unless more are asked for, words for strings.
// The keywords that it heeds are type, properties, items, enum, const, anyOf,
// oneOf, allOf, $ref, minItems, minimum and maximum; a schema that is none
// allows anything.
type maker struct {
	rnd  *rng
	root map[string]json.RawMessage
	out  []byte
}

// fromSchema is such a value, with single blanks between its words.
func fromSchema(schema []byte, rnd *rng) string {
	m := maker{rnd: rnd}
	_ = json.Unmarshal(schema, &m.root) // no object: anything is allowed
	m.value(m.root, 0)
	return string(m.out)
}

func (m *maker) value(s map[string]json.RawMessage, depth int) {
	var list []json.RawMessage
	switch {
	case depth > maxSchemaDepth:
		m.put("null")
	case len(s["const"]) > 0:
		m.compact(s["const"])
	case json.Unmarshal(s["enum"], &list) == nil && len(list) > 0:
		m.compact(list[m.rnd.below(int64(len(list)))])
	case len(s["$ref"]) > 0:
		m.value(m.resolve(s["$ref"]), depth+1)
	case first(s, "anyOf", "oneOf", "allOf") != nil:
		m.value(first(s, "anyOf", "oneOf", "allOf"), depth+1)
	default:
		m.typed(s, depth)
	}
}

// first is the first schema of the first of the lists that has one.
func first(s map[string]json.RawMessage, names ...string) map[string]json.RawMessage {
	for _, name := range names {
		var list []map[string]json.RawMessage
		if json.Unmarshal(s[name], &list) == nil && len(list) > 0 && list[0] != nil {
			return list[0]
		}
	}
	return nil
}

// resolve follows a pointer into the schema itself.
func (m *maker) resolve(ref json.RawMessage) map[string]json.RawMessage {
	var path string
	_ = json.Unmarshal(ref, &path) // no string: the root
	at := m.root
	for step := range strings.SplitSeq(strings.TrimPrefix(strings.TrimPrefix(path, "#"), "/"), "/") {
		if step == "" {
			continue
		}
		var next map[string]json.RawMessage
		if json.Unmarshal(at[step], &next) != nil {
			return nil
		}
		at = next
	}
	return at
}

func (m *maker) typed(s map[string]json.RawMessage, depth int) {
	switch typeOf(s) {
	case "object":
		m.object(s["properties"], depth)
	case "array":
		n := max(number(s["minItems"], 1), 1)
		var items map[string]json.RawMessage
		_ = json.Unmarshal(s["items"], &items) // none: anything
		m.put("[")
		for i := range min(n, 64) {
			if i > 0 {
				m.put(", ")
			}
			m.value(items, depth+1)
		}
		m.put("]")
	case "integer", "number":
		low := number(s["minimum"], 0)
		m.put(strconv.FormatInt(low+m.rnd.below(min(max(number(s["maximum"], low+99)-low+1, 1), 100)), 10))
	case "boolean":
		m.put(strconv.FormatBool(m.rnd.next()&1 == 0))
	case "null":
		m.put("null")
	default:
		m.put(`"` + vocabulary[m.rnd.next()&63] + `"`)
	}
}

// typeOf is the schema's type, the first one of several.
func typeOf(s map[string]json.RawMessage) string {
	var one string
	var several []string
	switch {
	case json.Unmarshal(s["type"], &one) == nil && one != "":
		return one
	case json.Unmarshal(s["type"], &several) == nil && len(several) > 0:
		return several[0]
	case len(s["properties"]) > 0:
		return "object"
	case len(s["items"]) > 0:
		return "array"
	}
	return ""
}

// object writes the properties in the order of the schema.
func (m *maker) object(properties json.RawMessage, depth int) {
	m.put("{")
	d := json.NewDecoder(bytes.NewReader(properties))
	_, _ = d.Token() // the opening brace
	for i := 0; d.More(); i++ {
		name, err := d.Token()
		var s map[string]json.RawMessage
		key, ok := name.(string)
		if err != nil || !ok || d.Decode(&s) != nil {
			break
		}
		if i > 0 {
			m.put(", ")
		}
		m.out = append(appendJSON(m.out, key), ": "...)
		m.value(s, depth+1)
	}
	m.put("}")
}

func (m *maker) put(s string) { m.out = append(m.out, s...) }

func (m *maker) compact(raw json.RawMessage) {
	var b bytes.Buffer
	if json.Compact(&b, raw) == nil {
		m.out = append(m.out, b.Bytes()...)
	}
}

// number reads a whole number of a schema.
func number(raw json.RawMessage, none int64) int64 {
	var f float64
	if json.Unmarshal(raw, &f) != nil || f < -1e9 || f > 1e9 {
		return none
	}
	return int64(f)
}

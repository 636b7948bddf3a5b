package simulated

import (
	"encoding/json"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// wish is what a request says of tools and of the form of its answer.
type wish struct {
	tools  []byte // the list
	choice []byte // tool_choice
	schema []byte // of the answer's text
	told   bool   // the last message brings a tool's result
	base64 bool   // of embeddings

	instructions, metadata, temperature, topP, parallel []byte // a response repeats them
}

// field reads a field, in the words of each endpoint.
func (w *wish) field(key string, v []byte) {
	switch key {
	case "tools":
		w.tools = v
	case "tool_choice":
		w.choice = v
	case "encoding_format":
		w.base64 = string(v) == `"base64"`
	case "metadata":
		w.metadata = v
	case "temperature":
		w.temperature = v
	case "top_p":
		w.topP = v
	case "parallel_tool_calls":
		w.parallel = v
	case "response_format":
		w.form(v, jsonscan.Get(jsonscan.Get(v, "json_schema"), "schema"))
	case "text", "output_config":
		f := jsonscan.Get(v, "format")
		w.form(f, jsonscan.Get(f, "schema"))
	}
}

func (w *wish) form(format, schema []byte) {
	switch jsonscan.String(jsonscan.Get(format, "type")) {
	case "json_schema":
		w.schema = schema
	case "json_object":
		w.schema = []byte(`{"type":"object","properties":{"answer":{"type":"string"}}}`)
	}
}

// tool is the tool that the answer calls: the one that is asked for, else the
// first, as long as no result of one has come back.
func (w *wish) tool() (name string, schema []byte) {
	mode, want := w.mode()
	if mode == "none" || w.told && mode == "auto" {
		return "", nil
	}
	a := jsonscan.NewArray(w.tools)
	for t, ok := a.Next(); ok; t, ok = a.Next() {
		f := t
		if inner := jsonscan.Get(t, "function"); jsonscan.Kind(inner) == '{' {
			f = inner
		}
		n := jsonscan.String(jsonscan.Get(f, "name"))
		if n == "" || want != "" && n != want {
			continue
		}
		if schema = jsonscan.Get(f, "parameters"); schema == nil {
			schema = jsonscan.Get(f, "input_schema")
		}
		return n, schema
	}
	return "", nil
}

// mode is none, auto or must, and the name of the tool that must be called.
func (w *wish) mode() (mode, name string) {
	word := w.choice
	if jsonscan.Kind(w.choice) == '{' {
		word = jsonscan.Get(w.choice, "type")
		name = jsonscan.String(jsonscan.Get(w.choice, "name"))
		if f := jsonscan.Get(w.choice, "function"); f != nil {
			name = jsonscan.String(jsonscan.Get(f, "name"))
		}
	}
	switch jsonscan.String(word) {
	case "none":
		return "none", ""
	case "", "auto":
		return "auto", ""
	}
	return "must", name
}

// planStructure makes the words of a tool's call, or of an answer in JSON, in
// the place of those that the plan has.
func (c *call) planStructure() {
	name, schema := "", c.wish.schema
	if len(c.wish.tools) > 0 {
		if n, s := c.wish.tool(); n != "" {
			name, schema = n, s
			if schema == nil {
				schema = []byte(`{"type":"object"}`)
			}
		}
	}
	if schema == nil {
		return
	}
	rnd := rng(c.id)
	c.tool, c.script = name, strings.Split(fromSchema(schema, &rnd), " ")
	c.reasoning, c.length = 0, c.asked > 0 && c.asked < int64(len(c.script))
	if c.length {
		c.script = c.script[:c.asked]
	}
	c.output = int64(len(c.script))
}

// toolInput is the script as it was written, "{}" if it was cut off.
func (c *call) toolInput() string {
	if s := strings.Join(c.script, " "); json.Valid([]byte(s)) {
		return s
	}
	return "{}"
}

// appendTool writes the call of a tool as chat completions have it; index is
// what deltas have before it, arguments is inside of a JSON string.
func (c *call) appendTool(out []byte, index string, arguments []byte) []byte {
	out = append(append(out, `"tool_calls":[{`...), index...)
	out = appendHex(append(out, `"id":"call_`...), c.id)
	out = appendJSON(append(out, `","type":"function","function":{"name":`...), c.tool)
	out = append(append(out, `,"arguments":"`...), arguments...)
	return append(out, `"}}]`...)
}

// echo writes what a response repeats of its request.
func (w *wish) echo(out []byte) []byte {
	for _, f := range [...]struct {
		name  string
		v     []byte
		kinds string // of JSON that it may be
		none  string
	}{
		{"instructions", w.instructions, `"`, "null"}, {"metadata", w.metadata, "{", "{}"}, {"parallel_tool_calls", w.parallel, "tf", "true"},
		{"temperature", w.temperature, "0", "1"}, {"top_p", w.topP, "0", "1"}, {"tool_choice", w.choice, `"{`, `"auto"`}, {"tools", w.tools, "[", "[]"},
	} {
		if jsonscan.Null(f.v) || strings.IndexByte(f.kinds, jsonscan.Kind(f.v)) < 0 {
			f.v = []byte(f.none)
		}
		out = append(append(append(append(out, ',', '"'), f.name...), `":`...), f.v...)
	}
	return out
}

// appendToolItem writes the call of a tool as responses have it.
func (c *call) appendToolItem(out []byte, status string, arguments []byte) []byte {
	out = append(append(out, `{"id":"fc_0","type":"function_call","status":"`...), status...)
	out = appendHex(append(out, `","call_id":"call_`...), c.id)
	out = appendJSON(append(out, `","name":`...), c.tool)
	return append(append(append(out, `,"arguments":"`...), arguments...), `"}`...)
}

// quoted is s as the inside of a JSON string.
func quoted(s string) string {
	q := appendJSON(nil, s)
	return string(q[1 : len(q)-1])
}

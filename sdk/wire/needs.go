package wire

import "bytes"

// Needs is a set of things that a request asks of a model, beside text and
// streaming. The bits are those of the router's capabilities.
type Needs int

// What a body can ask for.
const (
	NeedTools      Needs = 1 << 1
	NeedVision     Needs = 1 << 2
	NeedAudio      Needs = 1 << 3
	NeedJSONSchema Needs = 1 << 4
	NeedThinking   Needs = 1 << 5
)

// needs looks at the fields' bytes and decodes nothing: inside of a string each
// quote is escaped, so a quoted word is a key or a value of its own.
func (f *bodyFields) needs() (n Needs) {
	if !empty(f.tools) {
		n |= NeedTools
	}
	if bytes.Contains(f.format, []byte(`"json_schema"`)) {
		n |= NeedJSONSchema
	}
	if !empty(f.thinking) && !bytes.Contains(f.thinking, []byte(`"disabled"`)) && !bytes.Contains(f.thinking, []byte(`"none"`)) {
		n |= NeedThinking
	}
	if !bytes.Contains(f.required, []byte(`"type"`)) { // of a part; the usual prompt is one string
		return n
	}
	for _, part := range [...]struct {
		word string
		need Needs
	}{{`"image_url"`, NeedVision}, {`"input_image"`, NeedVision}, {`"image"`, NeedVision}, {`"input_audio"`, NeedAudio}} {
		if bytes.Contains(f.required, []byte(part.word)) {
			n |= part.need
		}
	}
	return n
}

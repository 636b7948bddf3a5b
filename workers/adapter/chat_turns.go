package adapter

import (
	"encoding/json"
	"fmt"
	"strings"
)

// turn is one or more messages of the same side, one after the other: the
// other APIs want the sides to alternate, and tools' results as the user's.
type turn struct {
	user   bool
	blocks []block
}

// block is a piece of a turn. The kind says which fields it has.
type block struct {
	kind  blockKind
	text  string          // text
	cache json.RawMessage // text, media: where a cached prefix ends
	media media           // media
	call  chatCall        // call
	input json.RawMessage // call: the arguments, an object
	id    string          // result: of the call
	name  string          // result: of the function
	parts []block         // result: text and media
	raw   json.RawMessage // thinking: as the provider gave it
}

type blockKind int8

const (
	textBlock blockKind = iota
	mediaBlock
	callBlock
	resultBlock
	thinkingBlock
)

// media is an image, a recording or a document: its data, or where it is.
type media struct {
	mime string // empty with a url
	data string // base64
	url  string
	name string
}

// kind is the first part of the media type; an address is an image's.
func (m media) kind() string {
	if m.url != "" {
		return "image"
	}
	kind, _, _ := strings.Cut(m.mime, "/")
	return kind
}

// turns sorts the messages: what the system says, and the turns of the two
// sides. Empty text is left out, since other APIs refuse it.
func (c *chatRequest) turns(l chatLimits) (system []block, turns []turn, _ *Failure) {
	names := map[string]string{} // functions by the ID of a call
	for i, m := range c.Messages {
		at := fmt.Sprintf("messages[%d]", i)
		blocks, f := m.Content.blocks(at, l)
		if f != nil {
			return nil, nil, f
		}
		switch m.Role {
		case "system", "developer":
			for _, b := range blocks {
				if b.kind != textBlock {
					return nil, nil, wrong(at+".content", "a %s message may hold text only", m.Role)
				}
			}
			system = append(system, blocks...)
			continue
		case "user":
		case "assistant":
			if blocks, f = m.assistant(at, blocks, names); f != nil {
				return nil, nil, f
			}
		case "tool":
			if m.CallID == "" {
				return nil, nil, wrong(at+".tool_call_id", "a tool message must name the call that it answers")
			}
			blocks = []block{{kind: resultBlock, id: m.CallID, name: names[m.CallID], parts: blocks}}
		default:
			return nil, nil, lacks(l.api, "messages with this role").at(at + ".role")
		}
		turns = addTurn(turns, m.Role != "assistant", blocks)
	}
	if len(turns) == 0 {
		return nil, nil, lacks(l.api, "answers without a user's message (messages)").at("messages")
	}
	return system, turns, nil
}

func addTurn(turns []turn, user bool, blocks []block) []turn {
	if len(blocks) == 0 {
		return turns
	}
	if n := len(turns); n > 0 && turns[n-1].user == user {
		turns[n-1].blocks = append(turns[n-1].blocks, blocks...)
		return turns
	}
	return append(turns, turn{user, blocks})
}

// assistant is thinking, text, calls, in that order.
func (m chatMessage) assistant(at string, text []block, names map[string]string) ([]block, *Failure) {
	var blocks []block
	for _, raw := range m.Thinking {
		blocks = append(blocks, block{kind: thinkingBlock, raw: raw})
	}
	blocks = append(blocks, text...)
	if m.Refusal != "" {
		blocks = append(blocks, block{text: m.Refusal})
	}
	for j, c := range m.Calls {
		if c.Type != "" && c.Type != "function" || c.Function.Name == "" {
			return nil, wrong(at+".tool_calls", "tool call %d of message %s is no function with a name", j, at)
		}
		input := json.RawMessage(c.Function.Arguments)
		if strings.TrimSpace(c.Function.Arguments) == "" {
			input = json.RawMessage("{}")
		}
		if !sound(input) {
			return nil, wrong(at+".tool_calls", "the arguments of tool call %d of message %s are no JSON object", j, at)
		}
		names[c.ID] = c.Function.Name
		blocks = append(blocks, block{kind: callBlock, call: c, input: input})
	}
	return blocks, nil
}

func (c chatContent) blocks(at string, l chatLimits) ([]block, *Failure) {
	var out []block
	for _, p := range c {
		b := block{cache: p.CacheTTL}
		switch p.Type {
		case "text":
			b.text = p.Text
		case "refusal":
			b.text = p.Refusal
		case "image_url":
			m, ok := mediaOf(p.Image.URL)
			if !ok {
				return nil, wrong(at+".content", "an image_url of message %s is neither an address nor a data URL in base64", at)
			}
			b.kind, b.media = mediaBlock, m
		case "input_audio":
			if !l.audio {
				return nil, lacks(l.api, "audio (input_audio)").at(at + ".content")
			}
			b.kind, b.media = mediaBlock, media{mime: "audio/" + p.Audio.Format, data: p.Audio.Data}
		case "file":
			m, ok := mediaOf(p.File.Data)
			if !ok || m.url != "" || p.File.ID != "" {
				return nil, lacks(l.api, "files but those sent as a data URL in file_data").at(at + ".content")
			}
			m.name = p.File.Name
			b.kind, b.media = mediaBlock, m
		default:
			return nil, lacks(l.api, "content parts of this type").at(at + ".content")
		}
		if b.kind == mediaBlock || b.text != "" {
			out = append(out, b)
		}
	}
	return out, nil
}

// mediaOf reads an address or a data URL.
func mediaOf(url string) (media, bool) {
	rest, ok := strings.CutPrefix(url, "data:")
	if !ok {
		return media{url: url}, strings.Contains(url, "://")
	}
	head, data, ok := strings.Cut(rest, ",")
	mime, ok2 := strings.CutSuffix(head, ";base64")
	mime, _, _ = strings.Cut(mime, ";")
	return media{mime: strings.ToLower(mime), data: data}, ok && ok2 && strings.Contains(mime, "/")
}

// joined is the text of blocks, a blank line between them.
func joined(blocks []block) string {
	var texts []string
	for _, b := range blocks {
		texts = append(texts, b.text)
	}
	return strings.Join(texts, "\n\n")
}

package text

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// Prompt is the text of a request's body, of any endpoint: what each role says,
// line by line, with calls of tools. Images, audio and files are noted with
// their type and size. Definitions of tools, schemas and settings are left out.
// A body that is no JSON object has none.
func Prompt(body []byte) string {
	o, ok := decode(body)
	if !ok {
		return ""
	}
	var s script
	for _, key := range []string{"system", "instructions"} {
		s.say("system", content(o[key]))
	}
	for _, key := range []string{"messages", "input", "prompt"} {
		s.turns(o[key], "user")
	}
	return s.String()
}

// Answer is the text of an answer's body, likewise.
func Answer(body []byte) string {
	o, ok := decode(body)
	if !ok {
		return ""
	}
	var s script
	choices, _ := o["choices"].([]any)
	for _, c := range choices {
		c, _ := c.(map[string]any)
		if m, ok := c["message"].(map[string]any); ok {
			s.say("", message(m))
		} else {
			s.say("", content(c["text"]))
		}
	}
	s.turns(o["output"], "")
	s.say("", content(o["content"]))
	if list, ok := o["data"].([]any); ok && len(list) > 0 {
		s.say("", fmt.Sprintf("[%d embeddings]", len(list)))
	}
	return s.String()
}

func decode(body []byte) (map[string]any, bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var o map[string]any
	return o, d.Decode(&o) == nil
}

// script is lines of a conversation.
type script struct{ strings.Builder }

// say adds what somebody says; role "" has no name before it.
func (s *script) say(role, what string) {
	if what == "" {
		return
	}
	if s.Len() > 0 {
		s.WriteByte('\n')
	}
	if role != "" {
		s.WriteString(role + ": ")
	}
	s.WriteString(what)
}

// turns adds a list of messages, or a text of the role.
func (s *script) turns(v any, role string) {
	list, ok := v.([]any)
	if !ok {
		s.say(role, content(v))
		return
	}
	numbers := 0
	for _, turn := range list {
		switch turn := turn.(type) {
		case map[string]any:
			who := text(turn["role"])
			if who == "" {
				who = role
			}
			s.say(who, message(turn))
		case json.Number: // tokens
			numbers++
		default:
			s.say(role, content(turn))
		}
	}
	if numbers > 0 {
		s.say(role, fmt.Sprintf("[%d tokens]", numbers))
	}
}

// message is what one message says: text, and calls of tools.
func message(m map[string]any) string {
	if m["type"] != nil && m["content"] == nil {
		return part(m)
	}
	var parts []string
	for _, key := range []string{"reasoning_content", "reasoning"} {
		if t := text(m[key]); t != "" {
			parts = append(parts, "[thinking] "+t)
		}
	}
	if m["type"] == "reasoning" {
		parts = append(parts, "[thinking]")
	}
	parts = append(parts, content(m["content"]), text(m["refusal"]))
	calls, _ := m["tool_calls"].([]any)
	for _, c := range calls {
		c, _ := c.(map[string]any)
		for _, key := range []string{"function", "custom"} {
			if f, ok := c[key].(map[string]any); ok {
				parts = append(parts, call(f["name"], first(f["arguments"], f["input"])))
			}
		}
	}
	if f, ok := m["function_call"].(map[string]any); ok {
		parts = append(parts, call(f["name"], f["arguments"]))
	}
	if a, ok := m["audio"].(map[string]any); ok {
		parts = append(parts, media("audio", "", text(a["data"])), text(a["transcript"]))
	}
	return lines(parts)
}

// content is the text of a content: a text, a part, or a list of parts.
func content(v any) string {
	switch v := v.(type) {
	case string:
		return text(v)
	case map[string]any:
		return part(v)
	case []any:
		parts := make([]string, 0, len(v))
		for _, x := range v {
			parts = append(parts, content(x))
		}
		return lines(parts)
	}
	return ""
}

// part is one part of a content, in the words of any of the APIs.
func part(p map[string]any) string {
	kind, _ := p["type"].(string)
	switch kind {
	case "image_url", "input_image":
		return link("image", first(p["image_url"], p["file_id"]))
	case "image", "document":
		return source(kind, p)
	case "input_audio":
		a, _ := p["input_audio"].(map[string]any)
		return media("audio", text(a["format"]), text(a["data"]))
	case "file", "input_file":
		f, ok := p["file"].(map[string]any)
		if !ok {
			f = p
		}
		return lines([]string{text(f["filename"]), link("file", first(f["file_data"], f["file_url"], f["file_id"]))})
	case "tool_use", "server_tool_use":
		return call(p["name"], p["input"])
	case "function_call", "custom_tool_call":
		return call(p["name"], first(p["arguments"], p["input"]))
	case "thinking":
		return "[thinking] " + text(p["thinking"])
	case "redacted_thinking":
		return media("thinking", "", text(p["data"]))
	case "reasoning":
		return lines([]string{"[thinking]", content(p["summary"])})
	}
	return lines([]string{text(p["text"]), text(p["refusal"]), content(p["content"]), content(p["output"])})
}

// source is an image or a document as Anthropic's API has them.
func source(kind string, p map[string]any) string {
	s, _ := p["source"].(map[string]any)
	note := text(s["data"])
	switch s["type"] {
	case "base64":
		note = media(kind, text(s["media_type"]), note)
	case "url", "file":
		note = link(kind, first(s["url"], s["file_id"]))
	case "content":
		note = content(s["content"])
	}
	return lines([]string{text(p["title"]), note})
}

// link is a note of what is somewhere else, or in a data URL.
func link(kind string, v any) string {
	if o, ok := v.(map[string]any); ok {
		v = o["url"]
	}
	url, _ := v.(string)
	if head, data, ok := strings.Cut(url, ";base64,"); ok {
		return media(kind, strings.TrimPrefix(head, "data:"), data)
	}
	if strings.HasPrefix(url, "data:") || !strings.Contains(url, "://") && len(url) > 200 {
		return media(kind, "", url)
	}
	return "[" + strings.TrimSpace(kind+" "+url) + "]"
}

// media is a note of base64 that is left out.
func media(kind, format, data string) string {
	if data == "" {
		return ""
	}
	return fmt.Sprintf("[%s, %d bytes]", strings.TrimSpace(kind+" "+cut(format, 100)), len(strings.TrimRight(data, "="))*3/4)
}

func call(name, input any) string {
	said, ok := input.(string)
	if !ok && input != nil {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if e.Encode(input) == nil {
			said = strings.TrimSpace(b.String())
		}
	}
	return strings.TrimSpace("[call " + text(name) + "] " + text(said))
}

// dataURL is an image (or anything) within a text.
var dataURL = regexp.MustCompile(`data:([A-Za-z0-9.+\-]+/[A-Za-z0-9.+\-]+)?(?:;[A-Za-z0-9=.\-]+)*;base64,([A-Za-z0-9+/=_\-]+)`)

// text is a string without the data URLs in it.
func text(v any) string {
	s, _ := v.(string)
	if !strings.Contains(s, ";base64,") {
		return s
	}
	return dataURL.ReplaceAllStringFunc(s, func(url string) string {
		m := dataURL.FindStringSubmatch(url)
		return media("data", m[1], m[2])
	})
}

// first is the first value that is there.
func first(values ...any) any {
	for _, v := range values {
		if v != nil && v != "" {
			return v
		}
	}
	return nil
}

// lines joins what is not empty.
func lines(parts []string) string {
	var b strings.Builder
	for _, p := range parts {
		if p == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p)
	}
	return b.String()
}

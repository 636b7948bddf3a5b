package adapter

import (
	"encoding/json"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// bedrockLimits is what the Converse API lacks of OpenAI's chat.
var bedrockLimits = chatLimits{api: "Bedrock's Converse API"}

// object is a JSON object whose members depend on the case: the Converse API
// is full of unions.
type object map[string]any

// converseRequest is a request of Converse.
type converseRequest struct {
	System   []object       `json:"system,omitempty"`
	Messages []object       `json:"messages"`
	Config   converseConfig `json:"inferenceConfig,omitzero"`
	Tools    object         `json:"toolConfig,omitempty"`
	Output   object         `json:"outputConfig,omitempty"`
	More     object         `json:"additionalModelRequestFields,omitempty"`
}

type converseConfig struct {
	MaxTokens   int64    `json:"maxTokens,omitempty"`
	Temperature *float64 `json:"temperature,omitempty"`
	TopP        *float64 `json:"topP,omitempty"`
	Stop        []string `json:"stopSequences,omitempty"`
}

// bedrock is the request for Converse.
func (c *chatRequest) bedrock(r Request) (*converseRequest, *Failure) {
	out := &converseRequest{More: object{}, Config: converseConfig{c.MaxTokens, atMost(c.Temperature, 1), c.TopP, c.Stop}}
	if c.TopK != nil {
		out.More["top_k"] = *c.TopK
	}
	if len(c.Thinking) > 0 && c.Thinking[0] == '{' {
		out.More["thinking"] = c.Thinking
	}
	if c.Effort != "" && strings.Contains(r.Model, "openai.") {
		out.More["reasoning_effort"] = c.Effort
	}
	switch c.Format.Type {
	case "json_object":
		return nil, lacks(bedrockLimits.api, "JSON mode without a schema (response_format json_object)").at("response_format")
	case "json_schema":
		out.Output = object{"textFormat": object{"type": "json_schema", "structure": object{"jsonSchema": c.Format.schema()}}}
	}
	system, turns, f := c.turns(bedrockLimits)
	if f != nil {
		return nil, f
	}
	if out.Tools, f = c.converseTools(turns); f != nil {
		return nil, f
	}
	if out.System, f = converseBlocks(system); f != nil {
		return nil, f
	}
	for _, t := range turns {
		content, f := converseBlocks(t.blocks)
		if f != nil {
			return nil, f
		}
		out.Messages = append(out.Messages, object{"role": side(t.user, "assistant"), "content": content})
	}
	return out, nil
}

// schema is the schema as Converse wants it: in a string.
func (f chatFormat) schema() object {
	out := object{"schema": string(f.Schema.Schema)}
	if f.Schema.Name != "" {
		out["name"] = f.Schema.Name
	}
	if f.Schema.Description != "" {
		out["description"] = f.Schema.Description
	}
	return out
}

// converseTools are the tools and the choice. The API knows no choice of none:
// then the tools stay out, unless calls in the conversation need them.
func (c *chatRequest) converseTools(turns []turn) (object, *Failure) {
	if len(c.Tools) == 0 {
		return nil, nil
	}
	if c.Parallel != nil && !*c.Parallel {
		return nil, lacks(bedrockLimits.api, "way to forbid parallel calls (parallel_tool_calls)").at("parallel_tool_calls")
	}
	var list []object
	for _, t := range c.Tools {
		spec := object{"name": t.Function.Name, "inputSchema": object{"json": schemaOf(t.Function.Parameters)}}
		if t.Function.Description != "" {
			spec["description"] = t.Function.Description
		}
		list = append(list, object{"toolSpec": spec})
	}
	out := object{"tools": list}
	switch c.Choice.Mode {
	case "none":
		for _, t := range turns {
			for _, b := range t.blocks {
				if b.kind == callBlock || b.kind == resultBlock {
					return nil, lacks(bedrockLimits.api, "way to forbid calls (tool_choice none) after there were some").at("tool_choice")
				}
			}
		}
		return nil, nil
	case "auto":
		out["toolChoice"] = object{"auto": object{}}
	case "required":
		out["toolChoice"] = object{"any": object{}}
	case "function":
		out["toolChoice"] = object{"tool": object{"name": c.Choice.Name}}
	}
	return out, nil
}

func converseBlocks(blocks []block) ([]object, *Failure) {
	var out []object
	for _, b := range blocks {
		switch b.kind {
		case textBlock:
			out = append(out, object{"text": b.text})
		case mediaBlock:
			m, f := converseMedia(b.media)
			if f != nil {
				return nil, f
			}
			out = append(out, m)
		case callBlock:
			out = append(out, object{"toolUse": object{"toolUseId": b.call.ID, "name": b.call.Function.Name, "input": b.input}})
		case resultBlock:
			content, f := converseBlocks(b.parts)
			if f != nil {
				return nil, f
			}
			if content == nil {
				content = []object{{"text": " "}} // the API takes no empty result
			}
			out = append(out, object{"toolResult": object{"toolUseId": b.id, "content": content}})
		case thinkingBlock:
			out = append(out, object{"reasoningContent": converseThought(b.raw)})
		}
		if len(b.cache) > 0 && b.cache[0] == '{' {
			out = append(out, object{"cachePoint": object{"type": "default"}})
		}
	}
	return out, nil
}

// converseThought is an element of thinking_blocks as Converse has it.
func converseThought(raw json.RawMessage) object {
	if jsonscan.String(jsonscan.Get(raw, "type")) == "redacted_thinking" {
		return object{"redactedContent": jsonscan.String(jsonscan.Get(raw, "data"))}
	}
	text := object{"text": jsonscan.String(jsonscan.Get(raw, "thinking"))}
	if s := jsonscan.String(jsonscan.Get(raw, "signature")); s != "" {
		text["signature"] = s
	}
	return object{"reasoningText": text}
}

// The formats of media that Converse takes, by media type.
var (
	converseImages = map[string]string{"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
	converseFiles  = map[string]string{
		"application/pdf": "pdf", "text/csv": "csv", "text/html": "html", "text/plain": "txt", "text/markdown": "md",
		"application/msword": "doc", "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
		"application/vnd.ms-excel": "xls", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
	}
)

func converseMedia(m media) (object, *Failure) {
	source := object{"bytes": m.data}
	if m.url != "" {
		return nil, lacks(bedrockLimits.api, "way to fetch an image from its address: send it as a data URL (image_url)").at("messages")
	}
	if format := converseImages[m.mime]; format != "" {
		return object{"image": object{"format": format, "source": source}}, nil
	}
	if format := converseFiles[m.mime]; format != "" {
		return object{"document": object{"format": format, "name": documentName(m.name), "source": source}}, nil
	}
	return nil, lacks(bedrockLimits.api, "files of this type").at("messages")
}

// documentName keeps what the API allows in a name: letters, digits, single
// spaces, hyphens, parentheses and brackets.
func documentName(name string) string {
	name = strings.Map(func(c rune) rune {
		if c < 0x80 && strings.ContainsRune("-()[] abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", c) {
			return c
		}
		return ' '
	}, name)
	if name = strings.Join(strings.Fields(name), " "); name == "" {
		return "document"
	}
	return name[:min(len(name), 200)]
}

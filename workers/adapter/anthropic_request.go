package adapter

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// anthropicLimits is what Anthropic's API lacks of OpenAI's chat.
var anthropicLimits = chatLimits{api: "Anthropic's API"}

// messagesRequest is a request of the Messages API.
type messagesRequest struct {
	Model       string            `json:"model"`
	MaxTokens   int64             `json:"max_tokens"`
	System      []messageContent  `json:"system,omitempty"`
	Messages    []messageTurn     `json:"messages"`
	Stop        []string          `json:"stop_sequences,omitempty"`
	Temperature *float64          `json:"temperature,omitempty"`
	TopP        *float64          `json:"top_p,omitempty"`
	TopK        *int64            `json:"top_k,omitempty"`
	Tools       []messageTool     `json:"tools,omitempty"`
	Choice      map[string]any    `json:"tool_choice,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	Thinking    json.RawMessage   `json:"thinking,omitempty"`
	Output      map[string]any    `json:"output_config,omitempty"`
	Stream      bool              `json:"stream,omitempty"`
}

type messageTurn struct {
	Role    string            `json:"role"`
	Content []json.RawMessage `json:"content"`
}

// messageContent is a content block of any kind.
type messageContent struct {
	Type      string            `json:"type"`
	Text      string            `json:"text,omitempty"`
	Source    *messageSource    `json:"source,omitempty"`
	Title     string            `json:"title,omitempty"`
	ID        string            `json:"id,omitempty"`
	Name      string            `json:"name,omitempty"`
	Input     json.RawMessage   `json:"input,omitempty"`
	ToolUseID string            `json:"tool_use_id,omitempty"`
	Content   []json.RawMessage `json:"content,omitempty"`
	Cache     json.RawMessage   `json:"cache_control,omitempty"`
}

type messageSource struct {
	Type  string `json:"type"`
	Media string `json:"media_type,omitempty"`
	Data  string `json:"data,omitempty"`
	URL   string `json:"url,omitempty"`
}

type messageTool struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"input_schema"`
}

// defaultMaxTokens is what a request that says nothing may generate: the API
// wants a number, and the oldest models take no higher one.
func defaultMaxTokens(model string) int64 {
	for _, old := range [...]string{"claude-2", "claude-instant", "claude-3-opus", "claude-3-sonnet", "claude-3-haiku"} {
		if strings.Contains(model, old) {
			return 4096
		}
	}
	return 8192
}

// anthropic is the request for the Messages API.
func (c *chatRequest) anthropic(r Request) (*messagesRequest, *Failure) {
	m := &messagesRequest{
		Model: r.Model, MaxTokens: c.MaxTokens, Stop: c.Stop, Temperature: atMost(c.Temperature, 1), TopP: c.TopP, TopK: c.TopK,
		Thinking: c.Thinking, Stream: r.Stream,
	}
	if m.MaxTokens == 0 {
		m.MaxTokens = defaultMaxTokens(r.Model)
	}
	if c.User != "" {
		m.Metadata = map[string]string{"user_id": c.User}
	}
	switch c.Format.Type {
	case "json_object":
		return nil, lacks(anthropicLimits.api, "JSON mode without a schema (response_format json_object)").at("response_format")
	case "json_schema":
		m.Output = map[string]any{"format": map[string]any{"type": "json_schema", "schema": c.Format.Schema.Schema}}
	}
	for _, t := range c.Tools {
		m.Tools = append(m.Tools, messageTool{t.Function.Name, t.Function.Description, schemaOf(t.Function.Parameters)})
	}
	m.Choice = c.anthropicChoice()
	system, turns, f := c.turns(anthropicLimits)
	if f != nil {
		return nil, f
	}
	for _, b := range system {
		m.System = append(m.System, messageContent{Type: "text", Text: b.text, Cache: b.cache})
	}
	for _, t := range turns {
		content, f := anthropicBlocks(t.blocks)
		if f != nil {
			return nil, f
		}
		m.Messages = append(m.Messages, messageTurn{side(t.user, "assistant"), content})
	}
	return m, nil
}

// side is the role of a turn.
func side(user bool, other string) string {
	if user {
		return "user"
	}
	return other
}

// atMost is v, or the bound where it is above it.
func atMost(v *float64, bound float64) *float64 {
	if v != nil && *v > bound {
		return &bound
	}
	return v
}

// schemaOf is a function's parameters, or those of a function without any.
func schemaOf(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || raw[0] != '{' {
		return json.RawMessage(`{"type":"object","properties":{}}`)
	}
	return raw
}

func (c *chatRequest) anthropicChoice() map[string]any {
	if len(c.Tools) == 0 {
		return nil
	}
	choice := map[string]any{}
	switch c.Choice.Mode {
	case "none":
		return map[string]any{"type": "none"}
	case "required":
		choice["type"] = "any"
	case "function":
		choice["type"], choice["name"] = "tool", c.Choice.Name
	case "auto":
		choice["type"] = "auto"
	}
	if c.Parallel != nil && !*c.Parallel {
		if choice["type"] == nil {
			choice["type"] = "auto"
		}
		choice["disable_parallel_tool_use"] = true
	}
	if len(choice) == 0 {
		return nil
	}
	return choice
}

func anthropicBlocks(blocks []block) ([]json.RawMessage, *Failure) {
	out := make([]json.RawMessage, 0, len(blocks))
	for _, b := range blocks {
		m := messageContent{Cache: b.cache}
		switch b.kind {
		case textBlock:
			m.Type, m.Text = "text", b.text
		case mediaBlock:
			f := m.media(b.media)
			if f != nil {
				return nil, f
			}
		case callBlock:
			m.Type, m.ID, m.Name, m.Input = "tool_use", b.call.ID, b.call.Function.Name, b.input
		case resultBlock:
			content, f := anthropicBlocks(b.parts)
			if f != nil {
				return nil, f
			}
			m.Type, m.ToolUseID, m.Content = "tool_result", b.id, content
		case thinkingBlock:
			out = append(out, b.raw)
			continue
		}
		out = append(out, marshal(m))
	}
	return out, nil
}

// media makes an image or a document of the block.
func (m *messageContent) media(d media) *Failure {
	m.Type, m.Title = "image", d.name
	switch {
	case d.url != "":
		m.Source = &messageSource{Type: "url", URL: d.url}
	case d.kind() == "image":
		m.Title = ""
		m.Source = &messageSource{Type: "base64", Media: d.mime, Data: d.data}
	case d.mime == "application/pdf":
		m.Type, m.Source = "document", &messageSource{Type: "base64", Media: d.mime, Data: d.data}
	case d.mime == "text/plain":
		text, err := base64.StdEncoding.DecodeString(d.data)
		if err != nil {
			return wrong("messages", "a file in the messages is no valid base64")
		}
		m.Type, m.Source = "document", &messageSource{Type: "text", Media: d.mime, Data: string(text)}
	default:
		return lacks(anthropicLimits.api, "files of this type").at("messages")
	}
	return nil
}

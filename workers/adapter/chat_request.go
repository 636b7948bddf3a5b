package adapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire"
)

// chatRequest is a request in OpenAI's chat shape, as read for a provider that
// speaks another one.
type chatRequest struct {
	Messages    []chatMessage   `json:"messages"`
	MaxTokens   int64           `json:"max_tokens"`
	MaxNew      int64           `json:"max_completion_tokens"`
	N           int64           `json:"n"`
	Temperature *float64        `json:"temperature"`
	TopP        *float64        `json:"top_p"`
	TopK        *int64          `json:"top_k"`
	Frequency   float64         `json:"frequency_penalty"`
	Presence    float64         `json:"presence_penalty"`
	Seed        *int64          `json:"seed"`
	Stop        oneOrMore       `json:"stop"`
	LogProbs    bool            `json:"logprobs"`
	TopLogProbs int64           `json:"top_logprobs"`
	Tools       []chatTool      `json:"tools"`
	Choice      chatChoice      `json:"tool_choice"`
	Parallel    *bool           `json:"parallel_tool_calls"`
	Format      chatFormat      `json:"response_format"`
	Effort      string          `json:"reasoning_effort"`
	Thinking    json.RawMessage `json:"thinking"`
	Modalities  []string        `json:"modalities"`
	User        string          `json:"user"`
}

type chatMessage struct {
	Role     string            `json:"role"`
	Content  chatContent       `json:"content"`
	Refusal  string            `json:"refusal"`
	Calls    []chatCall        `json:"tool_calls"`
	CallID   string            `json:"tool_call_id"`
	Thinking []json.RawMessage `json:"thinking_blocks"`
}

// chatContent is a string or a list of parts.
type chatContent []chatPart

type chatPart struct {
	Type     string          `json:"type"`
	Text     string          `json:"text"`
	Refusal  string          `json:"refusal"`
	Image    chatImage       `json:"image_url"`
	Audio    chatAudio       `json:"input_audio"`
	File     chatFile        `json:"file"`
	CacheTTL json.RawMessage `json:"cache_control"` // Anthropic's own, which several gateways take here
}

type chatImage struct {
	URL string `json:"url"`
}

type chatAudio struct {
	Data   string `json:"data"`
	Format string `json:"format"`
}

type chatFile struct {
	Data string `json:"file_data"`
	ID   string `json:"file_id"`
	Name string `json:"filename"`
}

type chatCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
	Extra struct {
		Google struct {
			Signature string `json:"thought_signature"`
		} `json:"google"`
	} `json:"extra_content"`
}

type chatTool struct {
	Type     string `json:"type"`
	Function struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Parameters  json.RawMessage `json:"parameters"`
		Strict      *bool           `json:"strict"`
	} `json:"function"`
}

// chatChoice is auto, none, required, or function with a name.
type chatChoice struct{ Mode, Name string }

type chatFormat struct {
	Type   string `json:"type"`
	Schema struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Schema      json.RawMessage `json:"schema"`
	} `json:"json_schema"`
}

// oneOrMore is a string or a list of strings.
type oneOrMore []string

// UnmarshalJSON implements json.Unmarshaler.
func (s *oneOrMore) UnmarshalJSON(raw []byte) error {
	if raw[0] != '"' {
		return json.Unmarshal(raw, (*[]string)(s))
	}
	*s = make(oneOrMore, 1)
	return json.Unmarshal(raw, &(*s)[0])
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *chatContent) UnmarshalJSON(raw []byte) error {
	if raw[0] != '"' {
		return json.Unmarshal(raw, (*[]chatPart)(c))
	}
	*c = chatContent{{Type: "text"}}
	return json.Unmarshal(raw, &(*c)[0].Text)
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *chatChoice) UnmarshalJSON(raw []byte) error {
	if raw[0] == '"' {
		return json.Unmarshal(raw, &c.Mode)
	}
	var named struct {
		Type     string                `json:"type"`
		Function struct{ Name string } `json:"function"`
	}
	err := json.Unmarshal(raw, &named)
	c.Mode, c.Name = named.Type, named.Function.Name
	return err
}

// The fields of a chat request by what a conversion does with them. Those that
// are not in either list have no meaning for another API: the request is for
// somebody else.
var (
	// chatFields are converted, or refused by the adapter that lacks them.
	chatFields = set("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "temperature",
		"top_p", "top_k", "frequency_penalty", "presence_penalty", "seed", "stop", "logprobs", "top_logprobs", "tools", "tool_choice",
		"parallel_tool_calls", "response_format", "reasoning_effort", "thinking", "modalities", "user")
	// chatHints change nothing that the answer promises, so that leaving them
	// out is fair.
	chatHints = set("metadata", "store", "service_tier", "prediction", "prompt_cache_key", "prompt_cache_retention",
		"safety_identifier", "verbosity")
)

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// chatLimits is what an API lacks of OpenAI's chat.
type chatLimits struct {
	api       string // its name, for sentences
	choices   bool   // it gives several answers
	logProbs  bool
	penalties bool
	audio     bool
}

// readChat reads a chat request and refuses what the API has no counterpart
// for.
func readChat(r Request, l chatLimits) (*chatRequest, *Failure) {
	if r.Endpoint != wire.ChatCompletions {
		return nil, Fail(wire.CodeUnsupported, "%s has no %s: route the request to a pool that has", l.api, r.Endpoint)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(r.Body, &fields); err != nil || fields == nil {
		return nil, Fail(wire.CodeInvalidJSON, "the body is not a JSON object: send the JSON request of %s", r.Endpoint)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !chatFields[name] && !chatHints[name] && string(fields[name]) != "null" {
			return nil, lacks(l.api, "counterpart of the field "+fieldName(name)).at(fieldName(name))
		}
	}
	var c chatRequest
	if err := json.Unmarshal(r.Body, &c); err != nil {
		var typ *json.UnmarshalTypeError
		if errors.As(err, &typ) && machine(typ.Field) != "" {
			return nil, wrong(typ.Field, "the field %s must not be a %s", typ.Field, strings.Fields(typ.Value + " ")[0])
		}
		return nil, wrong("", "a field of the request has the wrong type: compare it with the reference of %s", r.Endpoint)
	}
	return &c, c.check(l)
}

// fieldName is a field's name if it may stand in an error.
func fieldName(name string) string {
	if n := machine(name); n != "" {
		return n
	}
	return "of that name"
}

func (c *chatRequest) check(l chatLimits) *Failure {
	if c.MaxNew > 0 {
		c.MaxTokens = c.MaxNew
	}
	switch {
	case len(c.Messages) == 0:
		return wrong("messages", "the field messages is empty")
	case c.N > 1 && !l.choices:
		return lacks(l.api, "way to give several answers (n)").at("n")
	case c.LogProbs && !l.logProbs:
		return lacks(l.api, "log probabilities (logprobs)").at("logprobs")
	case (c.Frequency != 0 || c.Presence != 0) && !l.penalties:
		return lacks(l.api, "penalties (frequency_penalty, presence_penalty)").at("frequency_penalty")
	case slices.Contains(c.Modalities, "audio"):
		return lacks(l.api, "answers in audio (modalities)").at("modalities")
	case c.MaxTokens < 0:
		return wrong("max_tokens", "the field max_tokens is below 0")
	}
	for _, t := range c.Tools {
		if t.Type != "function" || t.Function.Name == "" {
			return lacks(l.api, "tools but functions with a name (tools)").at("tools")
		}
	}
	switch c.Choice.Mode {
	case "", "auto", "none", "required":
	case "function":
		if c.Choice.Name == "" {
			return wrong("tool_choice", "the field tool_choice names no function")
		}
	default:
		return lacks(l.api, "counterpart of this tool_choice").at("tool_choice")
	}
	switch c.Format.Type {
	case "", "text", "json_object":
	case "json_schema":
		if len(c.Format.Schema.Schema) == 0 || c.Format.Schema.Schema[0] != '{' {
			return wrong("response_format", "the field response_format.json_schema.schema must be an object")
		}
	default:
		return lacks(l.api, "counterpart of this response_format").at("response_format")
	}
	return nil
}

// lacks is the failure for what an API has not: another pool may have it.
func lacks(api, what string) *Failure {
	return Fail(wire.CodeUnsupportedParam, "%s has no %s: route the request to a pool that has", api, what)
}

// wrong is the failure for a request that no API would take.
func wrong(param, format string, args ...any) *Failure {
	return Fail(wire.CodeInvalidRequest, format, args...).at(param)
}

func (f *Failure) at(param string) *Failure {
	f.Err.Param = machine(param)
	return f
}

// marshal is v as JSON, with no more escapes than needed.
func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil { // cannot happen: v holds strings, numbers, and JSON that was read before
		return []byte("null")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

package adapter

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// geminiLimits is what Gemini's API lacks of OpenAI's chat. Its log
// probabilities have another shape.
var geminiLimits = chatLimits{api: "Gemini's API", choices: true, penalties: true, audio: true}

// geminiRequest is a request of generateContent.
type geminiRequest struct {
	System   *geminiContent  `json:"systemInstruction,omitempty"`
	Contents []geminiContent `json:"contents"`
	Tools    []geminiTools   `json:"tools,omitempty"`
	Choice   map[string]any  `json:"toolConfig,omitempty"`
	Config   geminiConfig    `json:"generationConfig,omitzero"`
}

type geminiContent struct {
	Role  string       `json:"role,omitempty"`
	Parts []geminiPart `json:"parts"`
}

type geminiPart struct {
	Text      string          `json:"text,omitempty"`
	Inline    *geminiBlob     `json:"inlineData,omitempty"`
	File      *geminiFile     `json:"fileData,omitempty"`
	Call      *geminiCall     `json:"functionCall,omitempty"`
	Response  *geminiResponse `json:"functionResponse,omitempty"`
	Signature string          `json:"thoughtSignature,omitempty"`
}

type geminiBlob struct {
	MIME string `json:"mimeType"`
	Data string `json:"data"`
}

type geminiFile struct {
	URI string `json:"fileUri"`
}

type geminiCall struct {
	Name string          `json:"name"`
	Args json.RawMessage `json:"args"`
}

type geminiResponse struct {
	Name     string          `json:"name"`
	Response json.RawMessage `json:"response"`
}

type geminiTools struct {
	Functions []geminiFunction `json:"functionDeclarations"`
}

type geminiFunction struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"parametersJsonSchema,omitempty"`
}

type geminiConfig struct {
	Temperature *float64        `json:"temperature,omitempty"`
	TopP        *float64        `json:"topP,omitempty"`
	TopK        *int64          `json:"topK,omitempty"`
	MaxTokens   int64           `json:"maxOutputTokens,omitempty"`
	N           int64           `json:"candidateCount,omitempty"`
	Stop        []string        `json:"stopSequences,omitempty"`
	Seed        *int64          `json:"seed,omitempty"`
	Presence    float64         `json:"presencePenalty,omitempty"`
	Frequency   float64         `json:"frequencyPenalty,omitempty"`
	MIME        string          `json:"responseMimeType,omitempty"`
	Schema      json.RawMessage `json:"responseJsonSchema,omitempty"`
	Thinking    map[string]any  `json:"thinkingConfig,omitempty"`
}

// gemini is the request for generateContent.
func (c *chatRequest) gemini(r Request) (*geminiRequest, *Failure) {
	if c.Parallel != nil && !*c.Parallel && len(c.Tools) > 0 {
		return nil, lacks(geminiLimits.api, "way to forbid parallel calls (parallel_tool_calls)").at("parallel_tool_calls")
	}
	g := &geminiRequest{Choice: c.geminiChoice(), Config: geminiConfig{
		Temperature: c.Temperature, TopP: c.TopP, TopK: c.TopK, MaxTokens: c.MaxTokens, Stop: c.Stop, Seed: c.Seed,
		Presence: c.Presence, Frequency: c.Frequency, Thinking: c.geminiThinking(r.Model),
	}}
	if c.N > 1 {
		g.Config.N = c.N
	}
	switch c.Format.Type {
	case "json_object":
		g.Config.MIME = "application/json"
	case "json_schema":
		g.Config.MIME, g.Config.Schema = "application/json", c.Format.Schema.Schema
	}
	var functions []geminiFunction
	for _, t := range c.Tools {
		functions = append(functions, geminiFunction{t.Function.Name, t.Function.Description, t.Function.Parameters})
	}
	if functions != nil {
		g.Tools = []geminiTools{{functions}}
	}
	system, turns, f := c.turns(geminiLimits)
	if f != nil {
		return nil, f
	}
	if system != nil {
		g.System = &geminiContent{Parts: []geminiPart{{Text: joined(system)}}}
	}
	var before []block
	for _, t := range turns {
		inCallOrder(t.blocks, before)
		parts, f := geminiParts(t.blocks)
		if f != nil {
			return nil, f
		}
		if len(parts) > 0 {
			g.Contents = append(g.Contents, geminiContent{side(t.user, "model"), parts})
		}
		before = t.blocks
	}
	return g, nil
}

// inCallOrder sorts results as the calls of the turn before them: the API
// knows a result by its place, not by an ID.
func inCallOrder(results, calls []block) {
	place := map[string]int{}
	for i, b := range calls {
		if b.kind == callBlock {
			place[b.call.ID] = i
		}
	}
	slices.SortStableFunc(results, func(a, b block) int {
		if a.kind != resultBlock || b.kind != resultBlock {
			return 0
		}
		return place[a.id] - place[b.id]
	})
}

func (c *chatRequest) geminiChoice() map[string]any {
	config := map[string]any{}
	switch {
	case len(c.Tools) == 0 || c.Choice.Mode == "":
		return nil
	case c.Choice.Mode == "auto":
		config["mode"] = "AUTO"
	case c.Choice.Mode == "none":
		config["mode"] = "NONE"
	case c.Choice.Mode == "required":
		config["mode"] = "ANY"
	default:
		config["mode"], config["allowedFunctionNames"] = "ANY", []string{c.Choice.Name}
	}
	return map[string]any{"functionCallingConfig": config}
}

// geminiBudgets are thinking budgets by reasoning_effort, as Google's own
// OpenAI-compatible layer has them.
var geminiBudgets = map[string]int64{"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576}

// geminiThinking says how much to think: models up to 2.5 take a budget, later
// ones a level. Anthropic's field thinking is understood too.
func (c *chatRequest) geminiThinking(model string) map[string]any {
	if budget := jsonscan.Get(c.Thinking, "budget_tokens"); jsonscan.Kind(budget) == '0' {
		return map[string]any{"thinkingBudget": jsonscan.Int(budget), "includeThoughts": true}
	}
	budget, known := geminiBudgets[c.Effort]
	if !known {
		return nil
	}
	model = model[strings.LastIndexByte(model, '/')+1:]
	if strings.HasPrefix(model, "gemini-1") || strings.HasPrefix(model, "gemini-2") {
		return map[string]any{"thinkingBudget": budget}
	}
	switch c.Effort {
	case "medium", "high":
		return map[string]any{"thinkingLevel": c.Effort}
	case "xhigh":
		return map[string]any{"thinkingLevel": "high"}
	}
	return map[string]any{"thinkingLevel": "low"}
}

func geminiParts(blocks []block) ([]geminiPart, *Failure) {
	var out []geminiPart
	for _, b := range blocks {
		switch b.kind {
		case textBlock:
			out = append(out, geminiPart{Text: b.text})
		case mediaBlock:
			p, f := geminiMedia(b.media)
			if f != nil {
				return nil, f
			}
			out = append(out, p)
		case callBlock:
			out = append(out, geminiPart{
				Call:      &geminiCall{b.call.Function.Name, b.input},
				Signature: b.call.Extra.Google.Signature,
			})
		case resultBlock:
			if b.name == "" {
				return nil, wrong("messages", "a tool message answers a call that no message before it makes")
			}
			for _, p := range b.parts {
				if p.kind != textBlock {
					return nil, lacks(geminiLimits.api, "media in the results of tools").at("messages")
				}
			}
			out = append(out, geminiPart{Response: &geminiResponse{b.name, resultObject(joined(b.parts))}})
		}
	}
	return out, nil
}

// resultObject is a tool's result as an object: itself if it is one.
func resultObject(text string) json.RawMessage {
	if raw := []byte(text); sound(raw) {
		return raw
	}
	return marshal(map[string]string{"output": text})
}

func geminiMedia(m media) (geminiPart, *Failure) {
	if m.url == "" {
		return geminiPart{Inline: &geminiBlob{m.mime, m.data}}, nil
	}
	if strings.HasPrefix(m.url, "gs://") || strings.HasPrefix(m.url, "https://generativelanguage.googleapis.com/") {
		return geminiPart{File: &geminiFile{m.url}}, nil
	}
	return geminiPart{}, lacks(geminiLimits.api, "way to fetch an image from its address: send it as a data URL (image_url)").at("messages")
}

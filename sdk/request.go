package sdk

// ChatRequest is the common part of a chat completion request, for
// Job.Request. Whoever needs more fields sets Job.Body, or gives Job.Request
// the request type of a provider's library.
type ChatRequest struct {
	Model       string    `json:"model"` // the route, such as "chat"
	Messages    []Message `json:"messages"`
	MaxTokens   int       `json:"max_completion_tokens,omitempty"` // 0: the model's own bound
	Temperature *float64  `json:"temperature,omitempty"`           // nil: the model's own
	Stop        []string  `json:"stop,omitempty"`
	Seed        *int64    `json:"seed,omitempty"` // nil: none
}

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"` // system, user or assistant
	Content string `json:"content"`
}

// Prompt is the chat request that asks route one question as the user.
func Prompt(route, text string) ChatRequest {
	return ChatRequest{Model: route, Messages: []Message{{Role: "user", Content: text}}}
}

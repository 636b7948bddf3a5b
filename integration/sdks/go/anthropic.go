package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
)

type anthropicSuite struct {
	client anthropic.Client
	ctx    context.Context
}

func anthropicTests() []test {
	s := &anthropicSuite{ctx: context.Background(), client: anthropic.NewClient(option.WithBaseURL(url), option.WithAPIKey(key),
		option.WithMaxRetries(0), option.WithRequestTimeout(30*time.Second))}
	return []test{
		{"models", safely(s.models)}, {"messages", safely(s.messages)}, {"messages_stream", safely(s.messagesStream)}, {"tools", safely(s.tools)},
		{"tools_stream", safely(s.toolsStream)}, {"json_schema", safely(s.jsonSchema)}, {"error_401", safely(s.error401)},
		{"error_404", safely(s.error404)}, {"error_400", safely(s.error400)}, {"error_429", safely(s.error429)}, {"error_5xx", safely(s.error5xx)},
		{"error_in_stream", safely(s.errorInStream)}, {"timeout", safely(s.timeout)}, {"retries", safely(s.retries)},
		{"idempotency", safely(s.idempotency)}, {"message_batches", safely(s.messageBatches)},
	}
}

func message(model string) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{Model: model, MaxTokens: 64,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("How is the weather?"))}}
}

func messageTool() []anthropic.ToolUnionParam {
	return []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{Name: "weather",
		InputSchema: anthropic.ToolInputSchemaParam{Properties: schema["properties"]}}}}
}

func (s *anthropicSuite) models() error {
	var w want
	found := false
	for _, m := range must(s.client.Models.List(s.ctx, anthropic.ModelListParams{})).Data {
		found = found || m.ID == "chat"
	}
	w.that(found, "chat is not listed")
	w.that(must(s.client.Models.Get(s.ctx, "chat", anthropic.ModelGetParams{})).ID == "chat", "chat is not shown")
	return w.err()
}

func (s *anthropicSuite) messages() error {
	var w want
	var raw *http.Response
	p := message("chat")
	p.System = []anthropic.TextBlockParam{{Text: "Be kind."}}
	m := must(s.client.Messages.New(s.ctx, p, option.WithResponseInto(&raw)))
	w.that(m.StopReason == "end_turn" && words(m.Content[0].Text) == m.Usage.OutputTokens, "answer %s", m.RawJSON())
	w.that(raw.Header.Get("Request-Id") != "" && raw.Header.Get("Sluice-Pool") == "sim", "headers %v", raw.Header)
	return w.err()
}

// accumulate reads a whole stream.
func (s *anthropicSuite) accumulate(p anthropic.MessageNewParams) (anthropic.Message, error) {
	stream := s.client.Messages.NewStreaming(s.ctx, p)
	var m anthropic.Message
	for stream.Next() {
		if err := m.Accumulate(stream.Current()); err != nil {
			return m, err
		}
	}
	return m, stream.Err()
}

func (s *anthropicSuite) messagesStream() error {
	var w want
	m := must(s.accumulate(message("chat")))
	w.that(m.StopReason == "end_turn" && words(m.Content[0].Text) == m.Usage.OutputTokens && m.Usage.OutputTokens > 0, "answer %+v", m.Usage)
	return w.err()
}

func (s *anthropicSuite) tools() error {
	var w want
	p := message("chat")
	p.Tools = messageTool()
	m := must(s.client.Messages.New(s.ctx, p))
	use := m.Content[0].AsToolUse()
	w.that(m.StopReason == "tool_use" && use.Name == "weather", "answer %s", m.RawJSON())
	w.followsSchema(string(use.Input))
	p.Messages = append(p.Messages, m.ToParam(), anthropic.NewUserMessage(anthropic.NewToolResultBlock(use.ID, "rain", false)))
	w.that(must(s.client.Messages.New(s.ctx, p)).Content[0].Type == "text", "no answer to the result")
	return w.err()
}

func (s *anthropicSuite) toolsStream() error {
	var w want
	p := message("chat")
	p.Tools = messageTool()
	m := must(s.accumulate(p))
	w.followsSchema(string(m.Content[0].AsToolUse().Input))
	return w.err()
}

func (s *anthropicSuite) jsonSchema() error {
	var w want
	p := message("chat")
	p.OutputConfig.Format = anthropic.JSONOutputFormatParam{Schema: schema}
	w.followsSchema(must(s.client.Messages.New(s.ctx, p)).Content[0].Text)
	return w.err()
}

// refused checks that an error is the SDK's own.
func (w *want) refused(err error, status int, kind string) *anthropic.Error {
	var e *anthropic.Error
	if !errors.As(err, &e) {
		w.that(false, "%v is no *anthropic.Error", err)
		return &anthropic.Error{Response: &http.Response{Header: http.Header{}}}
	}
	w.that(e.StatusCode == status && strings.Contains(e.RawJSON(), kind), "%d %s, want %d %s", e.StatusCode, e.RawJSON(), status, kind)
	return e
}

func (s *anthropicSuite) error401() error {
	var w want
	_, err := s.client.Messages.New(s.ctx, message("chat"), option.WithAPIKey("wrong"))
	w.refused(err, 401, `"authentication_error"`)
	return w.err()
}

func (s *anthropicSuite) error404() error {
	var w want
	_, err := s.client.Messages.New(s.ctx, message("nothing"))
	w.refused(err, 404, `"not_found_error"`)
	return w.err()
}

func (s *anthropicSuite) error400() error {
	var w want
	p := message("chat")
	p.MaxTokens = -1
	_, err := s.client.Messages.New(s.ctx, p)
	w.refused(err, 400, `"invalid_request_error"`)
	return w.err()
}

func (s *anthropicSuite) error429() error {
	var w want
	var err error
	for range 2 {
		_, err = s.client.Messages.New(s.ctx, message("chat"), option.WithAPIKey(limitedKey))
	}
	w.that(w.refused(err, 429, `"rate_limit_error"`).Response.Header.Get("Retry-After") != "", "no Retry-After")
	return w.err()
}

func (s *anthropicSuite) error5xx() error {
	var w want
	_, err := s.client.Messages.New(s.ctx, message("bad"), option.WithHeader("Sluice-Deadline", "1s"))
	var e *anthropic.Error
	w.that(errors.As(err, &e) && e.StatusCode >= 502 && strings.Contains(e.RawJSON(), `"type":"error"`), "%v", err)
	return w.err()
}

func (s *anthropicSuite) errorInStream() error {
	var w want
	_, err := s.accumulate(message("torn"))
	w.that(err != nil && strings.Contains(err.Error(), "stream_truncated"), "a torn stream ends with %v", err)
	return w.err()
}

func (s *anthropicSuite) timeout() error {
	var w want
	ctx, cancel := context.WithTimeout(s.ctx, 300*time.Millisecond)
	defer cancel()
	_, err := s.client.Messages.New(ctx, message("slow"))
	w.that(errors.Is(err, context.DeadlineExceeded), "%v", err)
	return w.err()
}

func (s *anthropicSuite) retries() error {
	var w want
	made := 0
	c := &counter{}
	for ; made < 60 && c.calls == made; made++ {
		must(s.client.Messages.New(s.ctx, message("chat"), option.WithAPIKey(pacedKey), option.WithMaxRetries(3), option.WithMiddleware(c.middleware)))
	}
	w.that(c.calls > made, "no call was repeated")
	return w.err()
}

func (s *anthropicSuite) idempotency() error {
	var w want
	key := option.WithHeader("Idempotency-Key", "go-anthropic 1")
	first, second := must(s.client.Messages.New(s.ctx, message("chat"), key)), must(s.client.Messages.New(s.ctx, message("chat"), key))
	w.that(first.RawJSON() == second.RawJSON(), "%s and then %s", first.RawJSON(), second.RawJSON())
	p := message("chat")
	p.Temperature = anthropic.Float(0.5)
	_, err := s.client.Messages.New(s.ctx, p, key)
	w.refused(err, 409, `"type":"error"`)
	return w.err()
}

func (s *anthropicSuite) batch(models ...string) *anthropic.MessageBatch {
	var p anthropic.MessageBatchNewParams
	for i, model := range models {
		m := message(model)
		p.Requests = append(p.Requests, anthropic.MessageBatchNewParamsRequest{CustomID: fmt.Sprintf("c%d", i),
			Params: anthropic.MessageBatchNewParamsRequestParams{Model: m.Model, MaxTokens: m.MaxTokens, Messages: m.Messages}})
	}
	return must(s.client.Messages.Batches.New(s.ctx, p))
}

func (s *anthropicSuite) ended(b *anthropic.MessageBatch) *anthropic.MessageBatch {
	for b.ProcessingStatus != "ended" {
		time.Sleep(50 * time.Millisecond)
		b = must(s.client.Messages.Batches.Get(s.ctx, b.ID, anthropic.MessageBatchGetParams{}))
	}
	return b
}

func (s *anthropicSuite) messageBatches() error {
	var w want
	b := s.ended(s.batch("chat", "chat", "nothing"))
	w.that(b.RequestCounts.Succeeded == 2 && b.RequestCounts.Errored == 1, "%s", b.RawJSON())
	kinds := map[string]string{}
	results := s.client.Messages.Batches.ResultsStreaming(s.ctx, b.ID, anthropic.MessageBatchResultsParams{})
	for results.Next() {
		kinds[results.Current().CustomID] = results.Current().Result.Type
	}
	w.that(results.Err() == nil && kinds["c0"] == "succeeded" && kinds["c2"] == "errored" && len(kinds) == 3, "%v, %v", kinds, results.Err())
	stopped := s.ended(must(s.client.Messages.Batches.Cancel(s.ctx, s.batch("slow").ID, anthropic.MessageBatchCancelParams{})))
	w.that(stopped.RequestCounts.Canceled == 1, "%s", stopped.RawJSON())
	must(s.client.Messages.Batches.Delete(s.ctx, b.ID, anthropic.MessageBatchDeleteParams{}))
	_, err := s.client.Messages.Batches.Get(s.ctx, b.ID, anthropic.MessageBatchGetParams{})
	w.that(err != nil, "a deleted batch is there")
	return w.err()
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
)

type openaiSuite struct {
	client openai.Client
	ctx    context.Context
}

func openaiTests() []test {
	s := &openaiSuite{ctx: context.Background(), client: openai.NewClient(option.WithBaseURL(url+"/v1"), option.WithAPIKey(key),
		option.WithMaxRetries(0), option.WithRequestTimeout(30*time.Second))}
	return []test{
		{"models", safely(s.models)}, {"chat", safely(s.chat)}, {"chat_stream", safely(s.chatStream)}, {"tools", safely(s.tools)},
		{"tools_stream", safely(s.toolsStream)}, {"json_schema", safely(s.jsonSchema)}, {"embeddings", safely(s.embeddings)},
		{"completions", safely(s.completions)}, {"responses", safely(s.responses)}, {"responses_stream", safely(s.responsesStream)},
		{"responses_tools", safely(s.responsesTools)}, {"background", safely(s.background)}, {"background_cancel", safely(s.backgroundCancel)},
		{"background_resume", safely(s.backgroundResume)}, {"error_401", safely(s.error401)}, {"error_404", safely(s.error404)},
		{"error_400", safely(s.error400)}, {"error_429", safely(s.error429)}, {"error_5xx", safely(s.error5xx)},
		{"error_in_stream", safely(s.errorInStream)}, {"timeout", safely(s.timeout)}, {"retries", safely(s.retries)},
		{"idempotency", safely(s.idempotency)}, {"files", safely(s.files)}, {"batches", safely(s.batches)},
	}
}

func question(model string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("How is the weather?")}}
}

func chatTool() []openai.ChatCompletionToolUnionParam {
	return []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "weather", Parameters: schema})}
}

func (s *openaiSuite) models() error {
	var w want
	found := false
	for _, m := range must(s.client.Models.List(s.ctx)).Data {
		found = found || m.ID == "chat"
	}
	w.that(found, "chat is not listed")
	w.that(must(s.client.Models.Get(s.ctx, "chat")).ID == "chat", "chat is not shown")
	return w.err()
}

func (s *openaiSuite) chat() error {
	var w want
	var raw *http.Response
	a := must(s.client.Chat.Completions.New(s.ctx, question("chat"), option.WithResponseInto(&raw)))
	w.that(a.Choices[0].FinishReason == "stop" && words(a.Choices[0].Message.Content) == a.Usage.CompletionTokens, "answer %s", a.RawJSON())
	w.that(raw.Header.Get("Sluice-Pool") == "sim" && raw.Header.Get("Sluice-Cost-Nano-Usd") != "", "headers %v", raw.Header)
	return w.err()
}

func (s *openaiSuite) chatStream() error {
	var w want
	p := question("chat")
	p.StreamOptions.IncludeUsage = openai.Bool(true)
	stream := s.client.Chat.Completions.NewStreaming(s.ctx, p)
	var acc openai.ChatCompletionAccumulator
	for stream.Next() {
		w.that(acc.AddChunk(stream.Current()), "a chunk does not fit: %s", stream.Current().RawJSON())
	}
	w.that(stream.Err() == nil, "%v", stream.Err())
	w.that(acc.Choices[0].FinishReason == "stop" && acc.Usage.CompletionTokens == words(acc.Choices[0].Message.Content), "%+v", acc.Usage)
	return w.err()
}

func (s *openaiSuite) tools() error {
	var w want
	p := question("chat")
	p.Tools = chatTool()
	m := must(s.client.Chat.Completions.New(s.ctx, p)).Choices[0].Message
	w.followsSchema(m.ToolCalls[0].Function.Arguments)
	p.Messages = append(p.Messages, m.ToParam(), openai.ToolMessage("rain", m.ToolCalls[0].ID))
	w.that(must(s.client.Chat.Completions.New(s.ctx, p)).Choices[0].Message.Content != "", "no answer to the result")
	return w.err()
}

func (s *openaiSuite) toolsStream() error {
	var w want
	p := question("chat")
	p.Tools = chatTool()
	stream := s.client.Chat.Completions.NewStreaming(s.ctx, p)
	var acc openai.ChatCompletionAccumulator
	finished := false
	for stream.Next() {
		acc.AddChunk(stream.Current())
		if call, ok := acc.JustFinishedToolCall(); ok {
			finished = true
			w.followsSchema(call.Arguments)
		}
	}
	w.that(stream.Err() == nil && finished, "no whole call: %v", stream.Err())
	return w.err()
}

func (s *openaiSuite) jsonSchema() error {
	var w want
	p := question("chat")
	p.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
		Name: "weather", Strict: openai.Bool(true), Schema: schema}}
	w.followsSchema(must(s.client.Chat.Completions.New(s.ctx, p)).Choices[0].Message.Content)
	return w.err()
}

func (s *openaiSuite) embeddings() error {
	var w want
	a := must(s.client.Embeddings.New(s.ctx, openai.EmbeddingNewParams{Model: "chat", Dimensions: openai.Int(4),
		Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"one", "two words"}}}))
	w.that(len(a.Data) == 2 && len(a.Data[1].Embedding) == 4 && a.Usage.TotalTokens == 3, "answer %s", a.RawJSON())
	return w.err()
}

func (s *openaiSuite) completions() error {
	var w want
	p := openai.CompletionNewParams{Model: "chat", MaxTokens: openai.Int(5), Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("Once")}}
	w.that(words(must(s.client.Completions.New(s.ctx, p)).Choices[0].Text) == 5, "not five words")
	text := ""
	stream := s.client.Completions.NewStreaming(s.ctx, p)
	for stream.Next() {
		text += stream.Current().Choices[0].Text
	}
	w.that(stream.Err() == nil && words(text) == 5, "streamed %q, %v", text, stream.Err())
	return w.err()
}

func hello() responses.ResponseNewParams {
	return responses.ResponseNewParams{Model: "chat", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Hello")}}
}

func (s *openaiSuite) responses() error {
	var w want
	a := must(s.client.Responses.New(s.ctx, hello()))
	w.that(a.Status == "completed" && words(a.OutputText()) == a.Usage.OutputTokens, "answer %s", a.RawJSON())
	p := hello()
	p.Text.Format.OfJSONSchema = &responses.ResponseFormatTextJSONSchemaConfigParam{Name: "weather", Schema: schema}
	w.followsSchema(must(s.client.Responses.New(s.ctx, p)).OutputText())
	return w.err()
}

func (s *openaiSuite) responsesStream() error {
	var w want
	stream := s.client.Responses.NewStreaming(s.ctx, hello())
	text, final := "", ""
	for stream.Next() {
		switch e := stream.Current().AsAny().(type) {
		case responses.ResponseTextDeltaEvent:
			text += e.Delta
		case responses.ResponseCompletedEvent:
			final = e.Response.OutputText()
		}
	}
	w.that(stream.Err() == nil && text != "" && text == final, "streamed %q, whole %q, %v", text, final, stream.Err())
	return w.err()
}

func (s *openaiSuite) responsesTools() error {
	var w want
	p := hello()
	p.Tools = []responses.ToolUnionParam{{OfFunction: &responses.FunctionToolParam{Name: "weather", Parameters: schema, Strict: openai.Bool(true)}}}
	call := must(s.client.Responses.New(s.ctx, p)).Output[0].AsFunctionCall()
	w.followsSchema(call.Arguments)
	output := responses.ResponseInputItemParamOfFunctionCallOutput("rain")
	output.OfFunctionCallOutput.CallID = openai.String(call.CallID)
	p.Input = responses.ResponseNewParamsInputUnion{OfInputItemList: responses.ResponseInputParam{
		responses.ResponseInputItemParamOfMessage("Hello", responses.EasyInputMessageRoleUser),
		responses.ResponseInputItemParamOfFunctionCall(call.Arguments, call.CallID, call.Name),
		output,
	}}
	w.that(must(s.client.Responses.New(s.ctx, p)).OutputText() != "", "no answer to the result")
	return w.err()
}

func behind(model string) responses.ResponseNewParams {
	p := hello()
	p.Model, p.Background = model, openai.Bool(true)
	return p
}

func (s *openaiSuite) background() error {
	var w want
	r := must(s.client.Responses.New(s.ctx, behind("steady")))
	w.that(r.Status == "queued", "it begins as %s", r.Status)
	for r.Status == "queued" || r.Status == "in_progress" {
		time.Sleep(50 * time.Millisecond)
		r = must(s.client.Responses.Get(s.ctx, r.ID, responses.ResponseGetParams{}))
	}
	w.that(r.Status == "completed" && words(r.OutputText()) == 40, "%s", r.RawJSON())
	_, err := s.client.Responses.Get(s.ctx, "resp_nothing", responses.ResponseGetParams{})
	w.fails(err, 404, "")
	return w.err()
}

func (s *openaiSuite) backgroundCancel() error {
	var w want
	r := must(s.client.Responses.New(s.ctx, behind("slow")))
	w.that(must(s.client.Responses.Cancel(s.ctx, r.ID)).Status == "cancelled", "not cancelled")
	return w.err()
}

func (s *openaiSuite) backgroundResume() error {
	var w want
	id, text := "", ""
	var last int64
	stream := s.client.Responses.NewStreaming(s.ctx, behind("steady"))
	for words(text) < 7 && stream.Next() {
		e := stream.Current()
		if e.Type == "response.created" {
			id = e.Response.ID
		}
		last, text = e.SequenceNumber, text+e.Delta
	}
	w.that(stream.Err() == nil && stream.Close() == nil, "%v", stream.Err())
	rest := s.client.Responses.GetStreaming(s.ctx, id, responses.ResponseGetParams{StartingAfter: openai.Int(last)})
	for rest.Next() {
		e := rest.Current()
		w.that(e.SequenceNumber > last, "%d after %d", e.SequenceNumber, last)
		text += e.Delta
	}
	whole := must(s.client.Responses.Get(s.ctx, id, responses.ResponseGetParams{})).OutputText()
	w.that(rest.Err() == nil && whole == text, "%q is not %q: %v", text, whole, rest.Err())
	return w.err()
}

// fails checks that an error is the SDK's own.
func (w *want) fails(err error, status int, code string) *openai.Error {
	var e *openai.Error
	if !errors.As(err, &e) {
		w.that(false, "%v is no *openai.Error", err)
		return &openai.Error{Response: &http.Response{Header: http.Header{}}}
	}
	w.that(e.StatusCode == status && (code == "" || e.Code == code), "%d %s, want %d %s", e.StatusCode, e.RawJSON(), status, code)
	return e
}

func (s *openaiSuite) error401() error {
	var w want
	_, err := s.client.Models.List(s.ctx, option.WithAPIKey("wrong"))
	w.fails(err, 401, "invalid_api_key")
	return w.err()
}

func (s *openaiSuite) error404() error {
	var w want
	_, err := s.client.Chat.Completions.New(s.ctx, question("nothing"))
	e := w.fails(err, 404, "model_not_found")
	w.that(e.Param == "model" && e.Type == "invalid_request_error", "%s", e.RawJSON())
	_, err = s.client.Models.Get(s.ctx, "nothing")
	w.fails(err, 404, "model_not_found")
	_, err = s.client.Moderations.New(s.ctx, openai.ModerationNewParams{Input: openai.ModerationNewParamsInputUnion{OfString: openai.String("x")}})
	w.fails(err, 404, "unknown_url")
	return w.err()
}

func (s *openaiSuite) error400() error {
	var w want
	p := question("chat")
	p.MaxTokens = openai.Int(-1)
	_, err := s.client.Chat.Completions.New(s.ctx, p)
	w.that(w.fails(err, 400, "").Param == "max_tokens", "%v", err)
	p = question("chat")
	p.Messages = []openai.ChatCompletionMessageParamUnion{}
	stream := s.client.Chat.Completions.NewStreaming(s.ctx, p)
	w.that(!stream.Next() && w.fails(stream.Err(), 400, "").Param == "messages", "%v", stream.Err())
	return w.err()
}

func (s *openaiSuite) error429() error {
	var w want
	var err error
	for range 2 {
		_, err = s.client.Chat.Completions.New(s.ctx, question("chat"), option.WithAPIKey(limitedKey))
	}
	e := w.fails(err, 429, "rate_limit_exceeded")
	w.that(e.Response.Header.Get("Retry-After") != "", "headers %v", e.Response.Header)
	return w.err()
}

func (s *openaiSuite) error5xx() error {
	var w want
	// A pool that fails everybody does not fail a job by itself.
	_, err := s.client.Chat.Completions.New(s.ctx, question("bad"), option.WithHeader("Sluice-Deadline", "1s"))
	var e *openai.Error
	w.that(errors.As(err, &e) && e.StatusCode >= 502 && e.Type == "server_error", "%v", err)
	return w.err()
}

func (s *openaiSuite) errorInStream() error {
	var w want
	stream := s.client.Chat.Completions.NewStreaming(s.ctx, question("torn"))
	for stream.Next() {
	}
	w.that(stream.Err() != nil, "a torn stream ends well")
	return w.err()
}

func (s *openaiSuite) timeout() error {
	var w want
	ctx, cancel := context.WithTimeout(s.ctx, 300*time.Millisecond)
	defer cancel()
	_, err := s.client.Chat.Completions.New(ctx, question("slow"))
	w.that(errors.Is(err, context.DeadlineExceeded), "%v", err)
	return w.err()
}

// counter counts requests on their way out.
type counter struct{ calls int }

func (c *counter) middleware(r *http.Request, next func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	c.calls++
	return next(r)
}

func (s *openaiSuite) retries() error {
	var w want
	made := 0
	c := &counter{}
	for ; made < 60 && c.calls == made; made++ {
		must(s.client.Chat.Completions.New(s.ctx, question("chat"), option.WithAPIKey(pacedKey), option.WithMaxRetries(3), option.WithMiddleware(c.middleware)))
	}
	w.that(c.calls > made, "no call was repeated")
	return w.err()
}

func (s *openaiSuite) idempotency() error {
	var w want
	key := option.WithHeader("Idempotency-Key", "go-openai 1")
	first, second := must(s.client.Chat.Completions.New(s.ctx, question("chat"), key)), must(s.client.Chat.Completions.New(s.ctx, question("chat"), key))
	w.that(first.RawJSON() == second.RawJSON(), "%s and then %s", first.RawJSON(), second.RawJSON())
	p := question("chat")
	p.Temperature = param.NewOpt(0.5)
	_, err := s.client.Chat.Completions.New(s.ctx, p, key)
	w.fails(err, 409, "id_conflict")
	return w.err()
}

func (s *openaiSuite) upload(content string, purpose openai.FilePurpose) *openai.FileObject {
	return must(s.client.Files.New(s.ctx, openai.FileNewParams{File: openai.File(strings.NewReader(content), "in.jsonl", "application/jsonl"), Purpose: purpose}))
}

func (s *openaiSuite) content(id string) string {
	res := must(s.client.Files.Content(s.ctx, id))
	defer func() { _ = res.Body.Close() }()
	return string(must(io.ReadAll(res.Body)))
}

func (s *openaiSuite) files() error {
	var w want
	f := s.upload("{}\n", openai.FilePurposeBatch)
	w.that(f.Bytes == 3 && f.Filename == "in.jsonl" && f.ExpiresAt > f.CreatedAt, "%s", f.RawJSON())
	w.that(s.content(f.ID) == "{}\n", "its content is another")
	s.upload("x", openai.FilePurposeUserData)
	found := false
	for pages := s.client.Files.ListAutoPaging(s.ctx, openai.FileListParams{Purpose: openai.String("batch"), Limit: openai.Int(1)}); pages.Next(); {
		found = found || pages.Current().ID == f.ID
	}
	w.that(found, "it is not listed")
	w.that(must(s.client.Files.Delete(s.ctx, f.ID)).Deleted, "it is not deleted")
	_, err := s.client.Files.Get(s.ctx, f.ID)
	w.fails(err, 404, "file_not_found")
	return w.err()
}

func (s *openaiSuite) batch(model string, n int) *openai.Batch {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"custom_id":"c%d","method":"POST","url":"/v1/chat/completions","body":{"model":%q,"messages":[{"role":"user","content":"hi"}]}}`+"\n", i, model)
	}
	return must(s.client.Batches.New(s.ctx, openai.BatchNewParams{InputFileID: s.upload(b.String(), openai.FilePurposeBatch).ID,
		Endpoint: openai.BatchNewParamsEndpointV1ChatCompletions, CompletionWindow: openai.BatchNewParamsCompletionWindow24h}))
}

func (s *openaiSuite) ended(b *openai.Batch) *openai.Batch {
	for b.Status != "completed" && b.Status != "failed" && b.Status != "expired" && b.Status != "cancelled" {
		time.Sleep(50 * time.Millisecond)
		b = must(s.client.Batches.Get(s.ctx, b.ID))
	}
	return b
}

func (s *openaiSuite) batches() error {
	var w want
	b := s.ended(s.batch("chat", 30))
	w.that(b.Status == "completed" && b.RequestCounts.Total == 30 && b.RequestCounts.Completed == 30, "%s", b.RawJSON())
	w.that(strings.Count(s.content(b.OutputFileID), `"status_code":200`) == 30, "the results are others")
	failed := s.ended(s.batch("nothing", 2))
	w.that(failed.Status == "failed" && len(failed.Errors.Data) == 2 && failed.Errors.Data[1].Line == 2, "%s", failed.RawJSON())
	stopped := s.ended(must(s.client.Batches.Cancel(s.ctx, s.batch("slow", 3).ID)))
	w.that(stopped.Status == "cancelled", "%s", stopped.RawJSON())
	ids := map[string]bool{}
	for pages := s.client.Batches.ListAutoPaging(s.ctx, openai.BatchListParams{Limit: openai.Int(2)}); pages.Next(); {
		ids[pages.Current().ID] = true
	}
	w.that(ids[b.ID] && ids[failed.ID] && ids[stopped.ID], "listed are %v", ids)
	_, err := s.client.Batches.Get(s.ctx, "batch_no")
	w.fails(err, 404, "batch_not_found")
	return w.err()
}

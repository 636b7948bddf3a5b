package adapter

import (
	"net/url"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// gemini is the codec for Google's generateContent API, by default below a
// base URL that ends in /v1beta. Chat completions are converted.
//
// A signature that a model puts on a call comes back as
// extra_content.google.thought_signature, where Google's own OpenAI-compatible
// layer has it, and is taken from there in the next turn.
type gemini struct{}

// Auth implements Codec.
func (gemini) Auth(key string) Field { return Field{"X-Goog-Api-Key", key} }

// Encode implements Codec.
func (gemini) Encode(r Request) (Encoded, *Failure) {
	c, f := readChat(r, geminiLimits)
	if f != nil {
		return Encoded{}, f
	}
	g, f := c.gemini(r)
	if f != nil {
		return Encoded{}, f
	}
	e := Encoded{Method: "POST", Path: geminiModel(r.Model) + ":generateContent", Header: wholeHeader, Body: marshal(g), Stream: r.Stream}
	if r.Stream {
		e.Path, e.Header = geminiModel(r.Model)+":streamGenerateContent?alt=sse", streamHeader
	}
	return e, nil
}

// geminiModel is the path of a model: models/NAME unless the name says another
// collection.
func geminiModel(name string) string {
	if !strings.Contains(name, "/") {
		name = "models/" + name
	}
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return "/" + strings.Join(parts, "/")
}

// Decode implements Codec.
func (g gemini) Decode(r Request, body []byte) ([]byte, Answer, *Failure) {
	s := &geminiStream{w: newChatWriter(r), id: r.ID}
	if !sound(body) {
		return body, Answer{}, Fail(wire.CodeProviderError,
			"the provider answered 200 with a body of %d bytes that is no JSON object: check the pool's base_url", len(body))
	}
	_, f := s.Event("", body)
	if f != nil {
		return body, s.Sum(), f
	}
	if _, ok := s.End(); !ok {
		return body, s.Sum(), Fail(wire.CodeProviderError,
			"the provider answered 200 without a finished candidate: check that the pool's base_url speaks Gemini's API")
	}
	a := s.Sum()
	a.Held = 0
	if a.Reported {
		a.Text = 0
	}
	return s.Answer(), a, nil
}

// Stream implements Codec.
func (gemini) Stream(r Request) Stream { return &geminiStream{w: newChatWriter(r), id: r.ID} }

// Classify implements Codec: Google's status is the machine code, and the
// details may hold a more exact reason and how long to wait.
func (gemini) Classify(r Refusal) *Failure {
	f := openAI{}.Classify(r)
	body := trimLeft(r.Body)
	if jsonscan.Kind(body) == '[' {
		a := jsonscan.NewArray(body)
		body, _ = a.Next()
	}
	failed := jsonscan.Get(body, "error")
	reason := jsonscan.String(jsonscan.Get(failed, "status"))
	details := jsonscan.NewArray(jsonscan.Get(failed, "details"))
	for d, ok := details.Next(); ok; d, ok = details.Next() {
		switch name := jsonscan.String(jsonscan.Get(d, "@type")); name[strings.LastIndexByte(name, '/')+1:] {
		case "google.rpc.RetryInfo":
			if f.Verdict == RetryLater && f.RetryAfter == 0 {
				f.RetryAfter = reset(jsonscan.String(jsonscan.Get(d, "retryDelay")))
			}
		case "google.rpc.ErrorInfo":
			reason = jsonscan.String(jsonscan.Get(d, "reason"))
		}
	}
	if r.Status == 400 && geminiKeyFaults[reason] {
		return readFault(r.Body).failure(wire.CodeProviderAuth, RetryElsewhere, "the provider answered 400")
	}
	return f
}

// geminiKeyFaults are reasons of a status 400 that lie with the pool's key or
// account, not with the request.
var geminiKeyFaults = map[string]bool{"API_KEY_INVALID": true, "API_KEY_EXPIRED": true, "FAILED_PRECONDITION": true}

// geminiTally collects usage. The thoughts are counted beside the output, and
// the cached input inside of the input. Counts in a stream are cumulative.
type geminiTally struct {
	reported                                bool
	input, tools, cached, output, reasoning int64
}

func (t *geminiTally) add(usage []byte) {
	o := jsonscan.NewObject(usage)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		switch string(m.Key) {
		case "promptTokenCount":
			t.reported = true
			keepMax(&t.input, m.Value)
		case "toolUsePromptTokenCount":
			keepMax(&t.tools, m.Value)
		case "cachedContentTokenCount":
			keepMax(&t.cached, m.Value)
		case "candidatesTokenCount":
			keepMax(&t.output, m.Value)
		case "thoughtsTokenCount":
			keepMax(&t.reasoning, m.Value)
		}
	}
}

func (t *geminiTally) usage() wire.Usage {
	cached := min(t.cached, t.input)
	return wire.Usage{Input: t.input - cached + t.tools, CacheRead: cached, Output: t.output, Reasoning: t.reasoning}
}

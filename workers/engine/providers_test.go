package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
	"github.com/sluicehq/sluice/workers/eventstream"
	"github.com/sluicehq/sluice/workers/sse"
)

// shape is a provider as a test plays it: what it takes, and how it answers
// with the fixtures of the adapter's tests.
type shape struct {
	adapter, key, base     string
	whole, stream          string // what is asked for
	kind                   string // Content-Type of a stream
	header                 map[string]string
	refusal, refusalHeader string
	garble                 func([]byte) []byte
	cutUsage               bool // a stream that is cut has told of its input
}

var shapes = []shape{
	{
		adapter: "anthropic", key: "sk-ant", base: "/v1", whole: "/v1/messages", stream: "/v1/messages", kind: "text/event-stream; charset=utf-8",
		header:  map[string]string{"X-Api-Key": "sk-ant", "Anthropic-Version": "2023-06-01"},
		refusal: `{"type":"error","error":{"type":"rate_limit_error","message":"slow down sk-ant"}}`,
		garble:  func(b []byte) []byte { return bytes.Replace(b, []byte(`"text_delta"`), []byte(`"text_del`), 1) }, cutUsage: true,
	},
	{
		adapter: "gemini", key: "AIza", base: "/v1beta", whole: "/v1beta/models/up-1:0:generateContent",
		stream: "/v1beta/models/up-1:0:streamGenerateContent?alt=sse", kind: "text/event-stream",
		header:  map[string]string{"X-Goog-Api-Key": "AIza"},
		refusal: `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"slow down AIza"}}`,
		garble:  func(b []byte) []byte { return bytes.Replace(b, []byte(`"parts":[`), []byte(`"parts":`), 1) }, cutUsage: true,
	},
	{
		adapter: "bedrock", key: "AKIAX:top/secret:tok@eu-west-1", base: "", whole: "/model/up-1%3A0/converse", stream: "/model/up-1%3A0/converse-stream",
		kind:    "application/vnd.amazon.eventstream",
		header:  map[string]string{"X-Amz-Security-Token": "tok"},
		refusal: `{"message":"slow down top/secret"}`, refusalHeader: "ThrottlingException:http://internal.amazon.com/coral/",
		garble: func(b []byte) []byte { b = bytes.Clone(b); b[len(b)/2] ^= 1; return b },
	},
	{
		adapter: "bedrock", key: "ABSKQmVkcm9jaw==", base: "/proxy", whole: "/proxy/model/up-1%3A0/converse", stream: "/proxy/model/up-1%3A0/converse-stream",
		kind:    "application/vnd.amazon.eventstream",
		header:  map[string]string{"Authorization": "Bearer ABSKQmVkcm9jaw==", "X-Amz-Date": ""},
		refusal: `{"__type":"com.amazonaws.bedrock#ThrottlingException"}`,
		garble:  func(b []byte) []byte { b = bytes.Clone(b); b[20] ^= 1; return b },
	},
}

// fixture is a recorded answer, in the provider's framing.
func (s shape) fixture(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../adapter/testdata/" + s.adapter + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(name, ".sse") || s.adapter != "bedrock" {
		return b
	}
	var out []byte
	r := sse.NewReader(bytes.NewReader(b), 0)
	for ev, err := r.Next(); err == nil; ev, err = r.Next() {
		out = eventstream.Message{Type: "event", Name: ev.Name, Payload: ev.Data}.Append(out)
	}
	return out
}

// provider serves one answer and looks at the request.
func (s shape) provider(t *testing.T, stream bool, answer func(w http.ResponseWriter)) *engine.Endpoint {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want := s.whole
		if stream {
			want = s.stream
		}
		if r.URL.RequestURI() != want || r.Method != "POST" {
			t.Errorf("%s: %s %s, want %s", s.adapter, r.Method, r.URL.RequestURI(), want)
		}
		for name, v := range s.header {
			if got := r.Header.Get(name); got != v {
				t.Errorf("%s: %s is %q, want %q", s.adapter, name, got, v)
			}
		}
		if strings.Contains(s.key, ":") && !strings.HasPrefix(r.Header.Get("Authorization"),
			"AWS4-HMAC-SHA256 Credential=AKIAX/"+r.Header.Get("X-Amz-Date")[:8]+"/eu-west-1/bedrock/aws4_request, SignedHeaders=accept;content-type;host;x-amz-date;x-amz-security-token, Signature=") {
			t.Errorf("%s: signed %q", s.adapter, r.Header.Get("Authorization"))
		}
		if body, err := io.ReadAll(r.Body); err != nil || !json.Valid(body) || strings.Contains(string(body), "top/secret") {
			t.Errorf("%s: %v, body %s", s.adapter, err, body)
		}
		answer(w)
	}))
	t.Cleanup(srv.Close)
	e, err := engine.New(engine.Config{Pool: "p", Adapter: s.adapter, BaseURL: srv.URL + s.base, APIKey: s.key, ErrorDetail: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func (s shape) call() *engine.Call {
	c := chatCall(hello)
	c.Model = "up-1:0"
	return c
}

// chat is as much of an answer as the tests look at.
type chat struct {
	Object  string
	Created int64
	Choices []struct {
		Message struct {
			Content string
			Calls   []json.RawMessage `json:"tool_calls"`
		}
		Finish string `json:"finish_reason"`
	}
}

// TestProvidersWhole: a chat completion comes out of every provider's answer.
func TestProvidersWhole(t *testing.T) {
	for _, s := range shapes {
		for _, name := range []string{"text", "tools"} {
			e := s.provider(t, false, func(w http.ResponseWriter) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write(s.fixture(t, name+".native.json"))
			})
			o := e.Do(context.Background(), s.call())
			var got chat
			if err := json.Unmarshal(o.Body, &got); err != nil || o.Status != wire.Succeeded || got.Object != "chat.completion" || len(got.Choices) != 1 || got.Created == 0 {
				t.Fatalf("%s %s: %v, %+v, %s", s.adapter, name, err, o, o.Body)
			}
			if want := map[string]string{"text": "stop", "tools": "tool_calls"}[name]; got.Choices[0].Finish != want || (len(got.Choices[0].Message.Calls) > 0) != (name == "tools") {
				t.Errorf("%s %s: %s", s.adapter, name, o.Body)
			}
			if o.Source != wire.UsageFromProvider || o.Usage.Input == 0 || o.Usage.Output == 0 || (name == "text") != (o.Usage.CacheRead > 0) {
				t.Errorf("%s %s: usage %+v from %s", s.adapter, name, o.Usage, o.Source)
			}
		}
	}
}

// TestProvidersStream: the same in chunks, role first, usage last, [DONE].
func TestProvidersStream(t *testing.T) {
	for _, s := range shapes {
		e := s.provider(t, true, func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", s.kind)
			for b := s.fixture(t, "text.sse"); len(b) > 0; b = b[min(7, len(b)):] {
				_, _ = w.Write(b[:min(7, len(b))])
				w.(http.Flusher).Flush()
			}
		})
		h := &heard{}
		c := s.call()
		c.Emit = h.emit
		o := e.Do(context.Background(), c)
		h.check(t, s.adapter)
		if o.Status != wire.Succeeded || o.TTFT <= 0 || o.Source != wire.UsageFromProvider || o.Usage.CacheRead == 0 {
			t.Fatalf("%s: %+v, %v", s.adapter, o, o.Err)
		}
		n := len(h.events)
		if n < 4 || h.events[n-1] != "[DONE]" || !strings.Contains(h.events[n-2], `"usage":{`) || !strings.Contains(h.events[n-3], `"finish_reason":"stop"`) ||
			!strings.Contains(h.events[0], `"role":"assistant"`) {
			t.Errorf("%s: events %q", s.adapter, h.events)
		}
		var got chat
		if err := json.Unmarshal(o.Body, &got); err != nil || got.Object != "chat.completion" || got.Choices[0].Message.Content == "" {
			t.Errorf("%s: %v, %s", s.adapter, err, o.Body)
		}
	}
}

// TestProvidersRefuse: a limit is a limit everywhere, and no key gets out.
func TestProvidersRefuse(t *testing.T) {
	for _, s := range shapes {
		e := s.provider(t, true, func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Retry-After", "7")
			if s.refusalHeader != "" {
				w.Header().Set("X-Amzn-ErrorType", s.refusalHeader)
			}
			w.WriteHeader(429)
			_, _ = w.Write([]byte(s.refusal))
		})
		h := &heard{}
		c := s.call()
		c.Emit = h.emit
		o := e.Do(context.Background(), c)
		if o.Status != wire.Failed || o.Err.Code != wire.CodeRateLimited || o.Verdict != engine.RetryLater || o.RetryAfter.Seconds() != 7 || len(h.events) != 0 {
			t.Errorf("%s: %+v, %v", s.adapter, o, o.Err)
		}
		for _, part := range strings.FieldsFunc(s.key, func(c rune) bool { return c == ':' || c == '@' }) {
			if strings.Contains(o.Err.Message, part) {
				t.Errorf("%s: the key is in %s", s.adapter, o.Err.Message)
			}
		}
		if o.Usage != (wire.Usage{}) {
			t.Errorf("%s: what is refused is not billed: %+v", s.adapter, o.Usage)
		}
	}
}

// TestProvidersBreak: a stream that is cut or garbled is a failure with an
// estimate of what it cost, and its readers hear of it.
func TestProvidersBreak(t *testing.T) {
	for _, s := range shapes {
		for _, c := range []struct {
			name string
			code wire.Code
			make func([]byte) []byte
		}{
			{"cut", wire.CodeStreamTruncated, func(b []byte) []byte { return b[:len(b)*6/10] }},
			{"garbled", wire.CodeStreamGarbled, s.garble},
		} {
			e := s.provider(t, true, func(w http.ResponseWriter) {
				w.Header().Set("Content-Type", s.kind)
				_, _ = w.Write(c.make(s.fixture(t, "text.sse")))
			})
			h := &heard{}
			call := s.call()
			call.Emit = h.emit
			o := e.Do(context.Background(), call)
			h.check(t, s.adapter+" "+c.name)
			if o.Status != wire.Failed || o.Err.Code != c.code || o.Verdict != engine.RetryElsewhere || o.Source != wire.UsageEstimated || o.Usage.Input == 0 {
				t.Errorf("%s %s: %+v, %v", s.adapter, c.name, o, o.Err)
			}
			if n := len(h.events); n > 0 && !strings.Contains(h.events[n-1], string(c.code)) {
				t.Errorf("%s %s: last event %s", s.adapter, c.name, h.events[n-1])
			}
			if s.cutUsage && c.name == "cut" && o.Usage.CacheRead == 0 {
				t.Errorf("%s: what the provider had counted is lost: %+v", s.adapter, o.Usage)
			}
		}
	}
}

// TestBedrockException: an exception in the middle of a stream.
func TestBedrockException(t *testing.T) {
	s := shapes[2]
	for kind, want := range map[string]wire.Code{"throttlingException": wire.CodeRateLimited, "validationException": wire.CodeProviderRefused, "newException": wire.CodeProviderError} {
		e := s.provider(t, true, func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", s.kind)
			b := eventstream.Message{Type: "event", Name: "messageStart", Payload: []byte(`{"role":"assistant"}`)}.Append(nil)
			_, _ = w.Write(eventstream.Message{Type: "exception", Name: kind, Payload: []byte(`{"message":"because"}`)}.Append(b))
		})
		h := &heard{}
		c := s.call()
		c.Emit = h.emit
		o := e.Do(context.Background(), c)
		h.check(t, kind)
		if o.Err == nil || o.Err.Code != want || len(h.events) != 2 {
			t.Errorf("%s: %+v, %q", kind, o.Err, h.events)
		}
	}
}

// TestMessagesPassThrough: Anthropic's own endpoint, as it is.
func TestMessagesPassThrough(t *testing.T) {
	s := shapes[0]
	for _, stream := range []bool{false, true} {
		e := s.provider(t, stream, func(w http.ResponseWriter) {
			if stream {
				w.Header().Set("Content-Type", s.kind)
				_, _ = w.Write(s.fixture(t, "thinking.sse"))
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(s.fixture(t, "thinking.native.json"))
		})
		h := &heard{}
		c := s.call()
		c.Body = []byte(`{"model":"chat","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`)
		c.Meta.Endpoint = wire.Messages
		if stream {
			c.Emit = h.emit
		}
		o := e.Do(context.Background(), c)
		if o.Status != wire.Succeeded || o.Usage != (wire.Usage{Input: 40, Output: 10, Reasoning: 50}) || !strings.Contains(string(o.Body), `"type":"redacted_thinking"`) {
			t.Errorf("stream %v: %+v, %s", stream, o, o.Body)
		}
		if stream && (h.last != 1 || h.events[len(h.events)-1] != `{"type":"message_stop"}` || !strings.HasPrefix(h.events[0], `{"type":"message_start"`)) {
			t.Errorf("events %q", h.events)
		}
	}
}

// TestKeysOfBedrock: a key that cannot work is a fault of the configuration.
func TestKeysOfBedrock(t *testing.T) {
	aws := "https://bedrock-runtime.us-east-1.amazonaws.com"
	for _, c := range []struct{ key, base, want string }{
		{"AKIA:secret", aws, ""},
		{"AKIA:secret:token", aws, ""},
		{"AKIA:secret@eu-west-1", "http://127.0.0.1:1", ""},
		{"ABSKxyz", "http://127.0.0.1:1", ""},
		{"", aws, ""},
		{"AKIA:secret", "http://127.0.0.1:1", "no region"},
		{"AKIA:", aws, "ACCESS_KEY_ID:SECRET_ACCESS_KEY"},
		{":secret", aws, "ACCESS_KEY_ID:SECRET_ACCESS_KEY"},
		{"a:b:c:d", aws, "ACCESS_KEY_ID:SECRET_ACCESS_KEY"},
	} {
		_, err := engine.New(engine.Config{Pool: "p", Adapter: "bedrock", BaseURL: c.base, APIKey: c.key})
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s at %s: %v", c.key, c.base, err)
		}
	}
}

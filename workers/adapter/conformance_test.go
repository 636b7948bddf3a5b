package adapter

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

// requests has a request for every endpoint.
var requests = map[wire.Endpoint]string{
	wire.ChatCompletions: `{"model":"chat","messages":[{"role":"user","content":"hi"}],"max_tokens":5}`,
	wire.Completions:     `{"model":"chat","prompt":"hi","max_tokens":5}`,
	wire.Embeddings:      `{"model":"chat","input":"hi"}`,
	wire.Responses:       `{"model":"chat","input":"hi"}`,
	wire.Messages:        `{"model":"chat","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`,
}

// TestConformance is what holds for every adapter in the registry.
func TestConformance(t *testing.T) {
	if names := Names(); !slices.IsSorted(names) || !slices.Contains(names, "openai") || !slices.Contains(names, "simulated") {
		t.Errorf("adapters %q", names)
	}
	if _, ok := Lookup("nothing"); ok {
		t.Error("an adapter that is not there was found")
	}
	if Endpoints("nothing") != nil {
		t.Error("endpoints of an adapter that is not there")
	}
	for _, name := range Names() {
		c, _ := Lookup(name)
		t.Run(name, func(t *testing.T) {
			some := false
			for e, body := range requests {
				for _, stream := range []bool{false, true} {
					takes := conformEncode(t, c, Request{Endpoint: e, Body: []byte(body), Model: "up", Stream: stream})
					if takes != slices.Contains(Endpoints(name), e) {
						t.Errorf("%s: taken %v, listed among %s", e, takes, Endpoints(name))
					}
					some = some || takes
				}
			}
			if !some {
				t.Error("the adapter takes no endpoint at all")
			}
			conformAuth(t, c)
			conformClassify(t, c)
		})
	}
}

func conformEncode(t *testing.T, c Codec, r Request) bool {
	enc, f := c.Encode(r)
	if f != nil {
		if f.Err.Code != wire.CodeUnsupported || f.Verdict != RetryElsewhere {
			t.Errorf("%s: refused with %v, %s", r.Endpoint, f.Err, f.Verdict)
		}
		return false
	}
	if !json.Valid(enc.Body) || enc.Method == "" || enc.Path == "" || enc.Path[0] != '/' {
		t.Errorf("%s: %s %q %s", r.Endpoint, enc.Method, enc.Path, enc.Body)
	}
	if enc.Stream && !r.Stream {
		t.Errorf("%s: a stream that nobody asked for", r.Endpoint)
	}
	for _, nothing := range []string{``, `{}`, `null`, `{"a":`} {
		if _, _, f := c.Decode(r, []byte(nothing)); f == nil {
			t.Errorf("%s: %q passes as an answer", r.Endpoint, nothing)
		}
	}
	if enc.Stream {
		s := c.Stream(r)
		if a := s.Sum(); a != (Answer{}) {
			t.Errorf("%s: a stream begins with %+v", r.Endpoint, a)
		}
		if _, f := s.Event("", []byte(`{"broken`)); f == nil || f.Err.Code != wire.CodeStreamGarbled {
			t.Errorf("%s: a broken event: %+v", r.Endpoint, f)
		}
	}
	return true
}

func conformAuth(t *testing.T, c Codec) {
	if f := c.Auth("key"); f.Name == "" || f.Value == "" {
		t.Errorf("auth %+v", f)
	}
}

// conformClassify tries every status: a failure always has a code, a message
// and a known verdict, and the common ones mean the same everywhere.
func conformClassify(t *testing.T, c Codec) {
	for status := 300; status < 600; status++ {
		f := c.Classify(Refusal{Status: status})
		if f.Err == nil || f.Err.Code == "" || f.Err.Message == "" || f.Verdict < Final || f.Verdict > RetryLater {
			t.Errorf("%d: %+v", status, f)
		}
	}
	for status, want := range map[int]wire.Code{401: wire.CodeProviderAuth, 429: wire.CodeRateLimited, 500: wire.CodeProviderError} {
		if f := c.Classify(Refusal{Status: status}); f.Err.Code != want {
			t.Errorf("%d is %s, want %s", status, f.Err.Code, want)
		}
	}
}

func TestVerdicts(t *testing.T) {
	for v, want := range map[Verdict]string{Final: "final", RetryElsewhere: "retry_elsewhere", RetryLater: "retry_later", 9: "verdict(9)"} {
		if v.String() != want {
			t.Errorf("%d is %s, want %s", int(v), v, want)
		}
	}
}

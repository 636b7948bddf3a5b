package adapter

import (
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

// The simulated provider speaks each endpoint's own API: nothing is converted.
func TestSimulatedSpeaksBoth(t *testing.T) {
	c, _ := Lookup("simulated")
	for e, want := range map[wire.Endpoint]Codec{wire.Messages: anthropic{}, wire.ChatCompletions: openAI{}, wire.Responses: openAI{}} {
		for _, stream := range []bool{false, true} {
			r := Request{Endpoint: e, Body: []byte(requests[e]), Model: "up", Stream: stream}
			got, f := c.Encode(r)
			expected, _ := want.Encode(r)
			if f != nil || got.Path != expected.Path || string(got.Body) != string(expected.Body) || len(got.Header) != len(expected.Header) {
				t.Errorf("%s: %+v, want %+v (%v)", e, got, expected, f)
			}
		}
	}
	r := Request{Endpoint: wire.Messages, Body: []byte(requests[wire.Messages])}
	answer := []byte(`{"type":"message","content":[{"type":"text","text":"x"}],"usage":{"input_tokens":3,"output_tokens":2}}`)
	if _, a, f := c.Decode(r, answer); f != nil || a.Usage.Input != 3 || a.Usage.Output != 2 || !a.Reported {
		t.Errorf("answer %+v, %v", a, f)
	}
	if _, ok := c.Stream(r).(*messageStream); !ok {
		t.Error("a stream of messages is read as something else")
	}
	if _, ok := c.Stream(Request{Endpoint: wire.Responses}).(*responsesStream); !ok {
		t.Error("a stream of responses is read as something else")
	}
}

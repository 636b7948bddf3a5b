package adapter

import "github.com/sluicehq/sluice/sdk/wire"

// simulated is the codec for package simulated, which speaks two providers'
// APIs on one address: Anthropic's Messages, and OpenAI's for all else.
type simulated struct{ openAI }

func (simulated) of(r Request) Codec {
	if r.Endpoint == wire.Messages {
		return anthropic{}
	}
	return openAI{}
}

// Encode implements Codec.
func (s simulated) Encode(r Request) (Encoded, *Failure) { return s.of(r).Encode(r) }

// Decode implements Codec.
func (s simulated) Decode(r Request, body []byte) ([]byte, Answer, *Failure) {
	return s.of(r).Decode(r, body)
}

// Stream implements Codec.
func (s simulated) Stream(r Request) Stream { return s.of(r).Stream(r) }

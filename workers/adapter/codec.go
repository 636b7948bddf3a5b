package adapter

import (
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Codec speaks the API of one kind of provider. Its methods are pure and safe
// for use from many goroutines.
type Codec interface {
	// Auth is the header that carries the pool's key; it has no name where the
	// codec is a Signer and signs with the key.
	Auth(key string) Field
	// Encode turns a job's request into the provider's. A failure says that
	// this adapter cannot carry the request.
	Encode(r Request) (Encoded, *Failure)
	// Decode reads a whole answer to the request and gives it in the shape of
	// the request's endpoint: the provider's own bytes where it speaks that. A
	// body that says it failed, or is no answer, is a failure.
	Decode(r Request, body []byte) ([]byte, Answer, *Failure)
	// Stream starts to assemble a streamed answer to the request. It is only
	// called after an Encode that set Encoded.Stream.
	Stream(r Request) Stream
	// Classify says what an answer other than 2xx means.
	Classify(r Refusal) *Failure
}

// Request is what a codec encodes.
type Request struct {
	Endpoint wire.Endpoint
	Body     []byte // the job's body; never written to
	Model    string // the upstream model
	Stream   bool   // ask for a stream, if the endpoint has one

	// ID and Now name and date the answer of a provider that gives it no name
	// or date of its own.
	ID  string
	Now time.Time
}

// Encoded is the provider's request.
type Encoded struct {
	Method string
	Path   string // below the pool's base URL, escaped, perhaps with a query
	Header []Field
	Body   []byte
	Stream bool // the answer will be a stream
}

// Field is an HTTP header field.
type Field struct{ Name, Value string }

// Answer is what a whole answer says beside its body.
type Answer struct {
	Usage    wire.Usage
	Reported bool // Usage comes from the provider
	Text     int  // bytes of text in the answer, to estimate from otherwise
	Held     int  // of a stream: bytes that it keeps in memory, about
}

// Stream assembles a streamed answer. It is used by one goroutine and keeps
// the data that it is given.
type Stream interface {
	// Event takes the next event. After a failure, or a step with Last set,
	// it must not be called again.
	Event(name string, data []byte) (Step, *Failure)
	// End says that the provider has closed the stream cleanly. It reports
	// whether the finish marker was among the events, for providers that have
	// no last event; the step is then the last one.
	End() (Step, bool)
	// Answer is the whole answer in the shape of the endpoint, as if it had
	// not been streamed. Call it after the last event.
	Answer() []byte
	// Sum is what is known so far: the usage that the provider has reported,
	// and the bytes of text that came through.
	Sum() Answer
}

// ExceptionMark is before the name of an event that is an exception, in
// streams that tell the two apart by more than the name.
const ExceptionMark = "!"

// Step says what an event was.
type Step struct {
	Content bool // it brought a piece of the answer itself
	Last    bool // it was the finish marker

	// Converted says that Chunks, perhaps none, go out in the event's place.
	// The last step has at least one.
	Converted bool
	Chunks    [][]byte
}

// Refusal is an answer other than 2xx.
type Refusal struct {
	Status int
	Header interface{ Get(name string) string }
	Body   []byte // at most its first 64 KiB
	Now    time.Time
}

// UsageOf is the usage to bill: the provider's, or an estimate from the
// request's bytes and the text that came back. A provider that counts the
// input first and the output last, and was cut off between them, is believed
// about the input.
func UsageOf(a Answer, bodyBytes int) (wire.Usage, wire.UsageSource) {
	u := a.Usage
	if a.Reported {
		return u, wire.UsageFromProvider
	}
	if u.Input+u.CacheRead+u.CacheWrite > 0 {
		u.Output = max(u.Output, wire.EstimateTokens(a.Text)-u.Reasoning)
		return u, wire.UsageEstimated
	}
	return wire.Usage{Input: wire.EstimateTokens(bodyBytes), Output: wire.EstimateTokens(a.Text)}, wire.UsageEstimated
}

// Package adapter holds the codecs for the APIs of providers. A codec is a set
// of pure functions: it encodes a job's request for a provider, decodes the
// answer and the events of a stream, and classifies a failure, once, by status
// and machine code. It opens no connection, reads no clock, logs nothing; the
// engine (package workers/engine) does everything that takes time.
//
//	job body ──Encode──▶ method, path, headers, body ──▶ provider
//	Answer  ◀──Decode──  body of a 2xx answer        ◀──
//	Failure ◀─Classify─  status, headers, body       ◀──
//	Step    ◀──Event───  one server-sent event       ◀──
//
// A new provider is one file with a [Codec] and one line in registry.go; the
// conformance tests then cover it. A codec whose provider speaks OpenAI's API
// passes bodies on; the others (anthropic, gemini, bedrock) read a chat
// completion (chatRequest), and write the answer as the chunks of a stream
// (chatWriter), from which the whole answer is put together too.
//
// # Invariants
//
//	I1  Where an endpoint is the provider's own, Encode changes only the fields
//	    that it has to: every other field of the body goes out byte for byte, in
//	    its place. A conversion leaves out hints only; a field that the other
//	    API has no counterpart for is refused as unsupported.
//	I2  Usage buckets are disjoint, and their sum is what the provider counted.
//	I3  A stream is complete only when its finish marker was seen. An event
//	    that cannot be decoded is a failure, never skipped.
//	I4  A failure's message holds no text from the provider, since that may
//	    quote keys, prompts or answers: only status, machine codes, field names.
//	    The provider's own words are in Failure.Detail, for those who ask.
//	I5  Verdicts come from status and machine code, never from words.
package adapter

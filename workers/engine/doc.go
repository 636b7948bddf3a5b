// Package engine makes the calls to providers. It is the one place in Sluice
// that opens outbound HTTP connections to them; what the bytes mean is the
// codec's business (package workers/adapter).
//
//	Call ─▶ Encode ─▶ RoundTrip ─▶ 2xx ─▶ whole body ─▶ Decode ──▶ Outcome
//	                     │          └──▶ events ─▶ Event ─▶ Emit ─▶ Outcome
//	                     └─▶ refusal ─▶ Classify ──────────────────▶ Outcome
//
// An [Endpoint] is a pool's connection to its provider: New does no I/O, Do
// makes one attempt and never retries, Close lets go of idle connections. Do
// returns when the attempt is over, and leaves nothing running behind.
//
// # Invariants
//
//	I1  Do never panics and always returns an Outcome with a terminal Status.
//	I2  Emit gets every event of the provider in order, unchanged, before more
//	    is waited for, and exactly one call with last set, if it got any call at
//	    all and did not fail itself. After a failure the last event is the error
//	    object.
//	I3  A cancelled context, a deadline or a time-out ends the provider's call
//	    at once; what was streamed until then is in the usage.
//	I4  Memory per call is bounded by Config.MaxAnswer and sse.MaxEvent,
//	    whatever the provider sends.
//	I5  No error holds a key, a prompt, an answer or an address.
//	I6  A request is sent once: the transport never repeats it by itself after
//	    the provider may have seen it.
package engine

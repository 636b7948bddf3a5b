// Package tracing makes OpenTelemetry spans of a job's way, from the client's
// request to the provider's call, and exports them by OTLP. It is the only
// package that knows OpenTelemetry; the others hand it values.
//
//	client ─▶ request ─┬▶ queue      submission (or requeue) to the claim
//	          (SERVER) ├▶ decision   what the router chose
//	                   └▶ attempt ─▶ provider
//	                      (CLIENT, gen_ai.*; its ID is the traceparent there)
//
// A job that comes by NATS has its own traceparent as the parent of the lower
// three; without one, its first decision begins the trace. What is between the
// processes is the traceparent in the job's meta, nothing else.
//
// # Invariants
//
//	I1  Off, it costs a comparison with nil: no allocation, no clock.
//	I2  No prompt, no answer, no key and no text of an error is in a span.
//	I3  It never delays a job: spans wait in a bounded queue and are dropped
//	    when it is full.
//	I4  Whether a trace is sampled is decided once, where it begins.
package tracing

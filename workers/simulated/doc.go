// Package simulated is a provider without a model: it speaks OpenAI's API and
// Anthropic's Messages, takes as long as it is told to, fails as often as it is told to, and keeps
// books of what each call cost. It is an http.RoundTripper, so that a pool of
// the simulated adapter runs inside the process through the same engine and
// codec as a real one, and an http.Handler, for tests over real sockets.
//
// Endpoints: chat completions, completions, responses, messages (each whole or
// streamed), embeddings, models; and for batches, at half the price, OpenAI's
// files and batches and Anthropic's message batches (kept in memory: they die
// with the process). Fields that are read: model, messages, prompt,
// input, instructions, system, stream, stream_options, max_tokens and its
// siblings, dimensions, encoding_format, tools, tool_choice, response_format, text.format,
// output_config; all others are ignored. A request with tools gets a call of
// one, until the last message brings its result; one with a JSON schema gets
// an answer that follows it (schema.go says how far).
//
// # Tokens
//
// One token per word of every message's content, where words are separated by
// white space, and 3 more per message (of responses: per input item; a plain
// input string or instructions count as a message each). Prompts and inputs of
// the other two endpoints count their words only; a token given as a number
// counts as one. An answer has exactly as many words as it has output tokens
// outside reasoning. Config.CacheShare of the input is reported as cached,
// Config.ReasoningShare of the output as reasoning, both rounded down.
//
// # Configuration
//
// [Config] has: Seed, TimeToFirstToken, TokensPerSecond, ErrorShare, Faults,
// RetryAfter, MinTokens and MaxTokens (the range of an answer's length), Fill
// (answer with exactly the max_tokens asked for), CacheShare, ReasoningShare,
// Models, Prices, APIKey, MaxConcurrent, BatchMin, BatchMax, BatchWindow,
// BatchCancel, Books.
//
// # Invariants
//
//	I1  What a call does is a function of the seed, its Idempotency-Key (of its
//	    body, if it has none) and its body: same answer, same fault.
//	I2  A call's line is in the books before the last byte of its answer is
//	    handed out, and survives a kill of the process.
//	I3  A call has at most one line. A call that was cut (by the client, or by
//	    a fault) has a line with the tokens made until then; only a process
//	    that is killed leaves calls without one.
//	I4  Costs in the books are computed here, with arbitrary precision, from
//	    prices given here: they share no code with what they are to check.
//	I5  Without latencies there are no timers; batches move when they are
//	    looked at.
package simulated

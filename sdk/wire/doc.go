// Package wire is Sluice's public contract as Go values: subjects, headers,
// jobs, records, chunks, usage, money and error codes. It imports the standard
// library only, does no I/O, reads no clock, and is safe to use from anything.
//
// # Glossary
//
// One word per thing, in code, subjects, metrics and columns:
//
//	job        what a client submitted
//	attempt    one call to a provider for a job
//	provider   whoever runs models
//	adapter    the codec for a provider's API
//	pool       one provider endpoint with its key, models, prices and limits
//	route      a model name that clients ask for, with candidates and strategy
//	candidate  a (pool, upstream model) pair of a route
//	decision   what the router chose, and why
//	hold       money set aside before an attempt
//	cost       what an attempt cost, integer nano-dollars
//	tenant     who pays
//	class      interactive, standard or batch
//	chunk      a piece of a streamed answer
//	record     a step in a job's life; the terminal one is its result
//	ledger     the stream of all records
//	claim      the record that says: attempt n has started, by this worker
//	text       what was said in an attempt: prompt and answer, redacted
//	bundle     jobs that go to a provider's own batch API together
//
// # Invariants
//
//	I1  A tenant, job ID or pool name that passed its Valid function is one
//	    literal subject token: it can name nothing but itself.
//	I2  ParseJob never reads a header that only Sluice's own parts may set.
//	I3  Money is an integer everywhere; a cost that is not known is absent,
//	    never zero.
//	I4  Record.Encode and DecodeRecord are inverses.
package wire

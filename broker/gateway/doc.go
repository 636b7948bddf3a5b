// Package gateway is Sluice's HTTP front: OpenAI's and Anthropic's interfaces
// on the same durable path that every NATS client uses. It publishes jobs and
// reads records and chunks; what becomes of a job is decided elsewhere.
//
//	request ─▶ tenant ─▶ body ─▶ wire.ParseJob ─▶ publish ─▶ wait for the record
//	                                                     └─▶ relay chunks as events
//
// A request's connection is only a reader of its job. Headers of section 2 of
// the contract work as they do on NATS; Idempotency-Key is the job ID.
// A response in the background is a job that is told about later, from the
// ledger and the stored chunks, by any gateway.
// Sluice-Class chooses the class (interactive unless said), Sluice-Keep: true
// lets a job go on without its client.
//
// # Invariants
//
//	I1  The whole body is read before a job is published.
//	I2  What wire.ParseJob refuses is never published.
//	I3  One stream of events holds chunks of one attempt only.
//	I4  A job whose client has gone is cancelled, unless it asked otherwise.
//	I5  A slow client delays nobody but itself.
//	I6  Keys, prompts and answers reach no log and no error; keys are kept as
//	    salted hashes.
//	I7  A tenant's limits count requests at this door only, and refuse before
//	    anything is published.
//	I8  A session counts below /admin/v1 only, and no longer than its key. Only
//	    an administrator changes what is not a tenant's own job.
//	I9  A code has one status, type and word: the table in errors.go.
//	I10 A job counts for the key that its request was made with: nothing in the
//	    request says so.
package gateway

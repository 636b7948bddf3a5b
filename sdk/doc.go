// Package sdk is the Go client of Sluice, a broker for LLM inference. It
// speaks plain NATS: whatever it does, any NATS client can do too.
//
//	client, err := sdk.Dial(ctx, "", sdk.WithTenant("acme"))
//	job, err := client.Submit(ctx, sdk.Job{Request: sdk.Prompt("chat", "Why is the sky blue?")})
//	result, err := job.Wait(ctx)
//	fmt.Println(result.Text(), result.Cost)
//
// # What it owns
//
// A [Client] is a connection in the name of one tenant. A [Job] is what to do,
// a [Handle] names a job that exists, and a [Result] is how it ended. A Handle
// is only a name: it holds nothing open, and [Client.Attach] makes one for any
// job of the tenant, also one that another process submitted.
//
// # Errors
//
// A method fails with an [*Error] when Sluice or NATS refused something (its
// Code says why, see [CodeOf]) or with the context's error when the context
// ended first. A job that failed is not a failure of [Handle.Wait]: what
// happened to the job is in [Result.Err].
//
// # Concurrency
//
// Every method of Client and Handle may be called from any number of
// goroutines. Thousands of concurrent Waits share one connection, one
// goroutine and one channel of the client; each costs its own goroutine and a
// subscription to its job's subject, so a client hears of its own jobs only.
// An iterator that the package returns runs in the caller's goroutine, belongs
// to one goroutine at a time, and releases what it holds when the loop ends,
// by break as well.
//
// # Invariants
//
//	S1  A published record is only a hint, because a publish that the ledger
//	    refused may be heard too. What counts is what the ledger holds, or
//	    what it re-publishes, with its mark, as it has stored it.
//	S2  Nothing rests on hearing every message: every wait looks again after
//	    a reconnect and every few seconds.
//	S3  Within an attempt a reader gets every chunk once and in order, or an
//	    error; chunks of two attempts never mix without Restarted.
//	S4  Publishing again is safe: the SDK gives every job an ID before it is
//	    first sent, and the same ID is the same job.
//	S5  No goroutine outlives the call that started it; the client's own one
//	    ends in Close.
package sdk

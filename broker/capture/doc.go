// Package capture writes down what every decision of a router saw, small
// enough to keep all of it, and reads it again as a router.Capture, which
// decides the same, bit for bit.
//
//	loop ── Writer.Note ──▶ block ──▶ captures.<run>.<period> (stream) ──▶ Read
//	             │                                                          │
//	             └─ mark ──▶ the decision's record ── job, mark ────────────┘
//
// A router writes one stream of changes: a route with its pools when it is
// first used, the loads and measurements that are other than before, and for
// each decision what only it saw. What the job's own record has (the job, what
// it has behind it, what was decided) is not written twice. Changes build on
// each other within a period; the next period begins from nothing, so that a
// reader needs no more than one, and the loss of a block costs the rest of its
// period only.
//
// The package does no I/O, reads no clock and has no lock. A Writer belongs to
// one goroutine.
//
// # Invariants
//
//	I1  What is read is what was noted, bit for bit, or an error.
//	I2  A mark names one decision of one run, for ever.
//	I3  A period's blocks, in order and without a gap, are read without any
//	    other; blocks that come twice, or too early and again, change nothing.
//	I4  A Note costs what has changed since the last one, not what there is.
package capture

// Package sim is the protocol of a job's life in pure code: submission,
// routing, lifting, claim, call, end, requeue, recall, cancel and ingestion, as
// small atomic steps of several processes over streams that deliver at least
// once. A seed chooses which step comes next and which fault: processes die,
// pause and resume, acknowledgements get lost, messages come again while their
// first holder still works, or are forgotten until the reconciler finds them.
//
//	submit ─▶ JOBS ─▶ router ─▶ WORK ─▶ worker ─▶ provider
//	            ▲                          │ claim, end: compare-and-set
//	            └────── requeue ───────────┼─▶ LEDGER ─▶ ingester ─▶ rows
//	                              cancel ──┘
//
// What a refused write means is decided by the real table, [ledger.Judge] and [ledger.CatchUp]; the
// rest is the order of steps that workers/run, broker/dispatch, broker/control
// and analytics/ingest follow, without what is not protocol: sizes, prices,
// strategies. Thousands of seeds run in a minute, so orders are met here that
// a test on real servers meets once a year.
//
// After every step:
//
//	I1  A job has at most one terminal record, and nothing after it.
//	I2  A claim follows nothing or a wait, and counts one on; an attempt ends
//	    at most once.
//	I3  A provider is called only under a claim, and once for each.
//	I4  The rows are those of a prefix of the ledger, each once, in order.
//	I5  A record that no attempt runs under tells of the attempts so far, and
//	    what they cost.
//
// And when the faults stop and everything has come to rest:
//
//	I6  Every submission that was acknowledged has its terminal record, no
//	    queue holds anything, and every ended attempt is a row.
//	I7  What the rows say was paid is what the provider's books say, but for
//	    attempts that are marked as interrupted.
//
// Each guard that this rests on can be taken away, and then some seed fails.
package sim

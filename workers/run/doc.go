// Package run is the worker: it takes jobs from the pools' queues, makes one
// attempt for each at the pool's provider, and writes how it ended.
//
//	work message → claim → call, chunks → end → acknowledge
//	                 │                      └ waiting + requeue, or terminal
//	                 └ refused: ledger.Judge says why
//
// The lease on a work message is extended while the call runs, so a long
// answer is fine and a dead worker is noticed within one ack wait. The number
// of calls at once is the queue's MaxAckPending, kept by the server over all
// worker processes; a worker holds no slot while a job waits for its retry,
// because the job then waits in a schedule.
//
// A pool with [Bundling] goes by its provider's own batch API instead: jobs are
// gathered into bundles, which are sent, looked after and ended.
//
//	work messages → lines stored → claims in the bundle's name → acknowledge
//	bundle: closed → uploaded → begun → … ended → each line's end → forgotten
//
// The bundle, and not a process, has the claims: whoever owns it carries it on,
// and a worker that finds one whose owner is gone takes it over. All of its
// state is one key, changed by compare-and-set.
//
// # Invariants
//
//	I1  A provider is called only by the holder of a claim.
//	I2  Every claim is followed by exactly one end of that attempt: by its
//	    worker, or as `interrupted` by another one once its owner is gone.
//	I3  A worker whose end is refused because another record stands there
//	    touches nothing more: not the record, not the work message.
//	I4  A work message is acknowledged only after what follows from it is
//	    durable.
//	I5  One loop decides about acknowledgements: handle, or gather.
//	I6  That a provider may run a bundle is stored before it is asked to, so
//	    that the next owner looks for it there rather than send it again.
//	I7  A job is in a bundle if its line is not behind the bundle's last. A
//	    claim by a bundle that the job is not in is void, and costs nothing.
package run

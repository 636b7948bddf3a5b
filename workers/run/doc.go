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
// # Invariants
//
//	I1  A provider is called only by the holder of a claim.
//	I2  Every claim is followed by exactly one end of that attempt: by its
//	    worker, or as `interrupted` by another one once its owner is gone.
//	I3  A worker whose end is refused because another record stands there
//	    touches nothing more: not the record, not the work message.
//	I4  A work message is acknowledged only after what follows from it is
//	    durable.
//	I5  One loop decides about acknowledgements: handle.
package run

// Package control answers requests: a job's status, its cancellation, and the
// administrative questions behind the command line.
//
// Every process with the router role answers, as one queue group. A job is
// looked for where it can be, in the order it moves: the ledger, the backlog,
// the work queues, the ledger again.
//
// Cancel is one compare-and-set on the job's ledger subject:
//
//	no record, or waiting  → the terminal record `cancelled`; copies of the
//	                         job in any queue then find it finished
//	running                → a running record with reason `cancel`, and a call
//	                         to the workers; the one that runs the job stops
//	                         its provider call and writes the terminal record
//	terminal               → nothing: the answer says how it ended
//
// Replay sends what is stored of a job, its chunks or its records, from any
// place on, in bounded answers: it is how everyone reads what they did not
// hear live, since tenants have no consumers.
package control

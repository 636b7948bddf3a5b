// Package batch keeps files and runs batches: files of jobs, whose results
// become files. It knows nothing of HTTP; package gateway puts OpenAI's and
// Anthropic's interfaces in front of a Store, and a Service does the work.
//
//	upload ─▶ FILES (parts) ─▶ validate ─▶ submit ─▶ JOBS … LEDGER
//	                              │           ▲ window     │
//	  manifest (KV BATCHES) ◀─────┴───────────┼────────── fold ─▶ FILES (commits)
//	                                                              results, by line
//
// A line is a job of class batch with the ID <batch>-<line>, so a line that is
// submitted again is the same job (package ledger). The results of a batch are
// a log on one subject of FILES: each commit holds finished lines, which lines
// those are, and the ledger sequence up to which they were folded. Whoever owns
// the batch next reads the log's headers and goes on from there: the log is the
// only state, and there is one path of recovery.
//
// One process owns a batch at a time, by a lease; that saves work. What keeps
// each line's result single is that a commit is a compare-and-set on the log.
//
// At most Config.Window lines are on their way at a time, from their submission
// to the commit of their results. So a batch never lies in the jobs stream as a
// whole, batches take turns, cancelling one is quick, and memory does not depend
// on its size (but for a bit a line, and eight bytes a line while validating).
//
// # Invariants
//
//	I1  A line's result is in the log once, and only after its job's terminal
//	    record, or instead of a job that never was.
//	I2  A line that may have a job is among the first Window lines without a
//	    committed result.
//	I3  Status moves forward only: see Manifest.
//	I4  A file or batch is found only under its tenant.
//	I5  Nothing of a file's content reaches a log or an error of ours, but for
//	    line numbers.
package batch

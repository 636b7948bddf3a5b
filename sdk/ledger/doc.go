// Package ledger reads and writes the ledger: the stream with one subject per
// job whose last message is the job's state.
//
// Every write is a compare-and-set on the job's own subject, so of two writers
// that saw the same last record one wins and the other learns what won. Queue
// acknowledgements, message-ID windows and delivery counts decide nothing.
//
//	claim  expect the last record (or none)  → running, attempt n, by whom
//	end    expect my own claim               → waiting or a terminal record
//
// What to do when a write was refused is not decided here and there but in one
// pure function, [Judge].
//
// It is shared by broker and workers, which do not import each other. All
// types are safe for concurrent use.
//
// # Invariants
//
//	I1  At most one terminal record per subject, and nothing after it: every
//	    Append of ours expects a record that was not terminal.
//	I2  An Append whose acknowledgement was lost is settled by reading the
//	    subject's last message from the stream's leader: if it is ours, it
//	    worked.
//	I3  A Tail's followers hear every record once and in order, or learn from
//	    Prev that some may be missing, whoever wrote them and however the tail
//	    comes by them.
package ledger

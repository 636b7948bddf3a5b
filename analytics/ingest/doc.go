// Package ingest carries the ledger into ClickHouse: one row of attempts for
// each record that ends an attempt, one row of jobs for each terminal record,
// each exactly once, whatever is killed and whenever.
//
//	        from max(seq)+1, headers only             blocks of one partition
//	LEDGER ──────────────────────────────▶ session ──────────────────────────▶ ClickHouse
//	   ▲                                      │ position
//	   └────────── purge what is old ◀── janitor
//
// There is no state to keep: a table's position is the highest sequence that it
// holds. A session reads both positions, follows the ledger from the lower one,
// skips for each table what that table has, and inserts contiguous ranges, in
// both tables at once, while it reads on. Any
// failure ends the session and drops what it held in memory; the next one
// starts as after a crash, from what ClickHouse says. So there is one recovery
// path, and every test of a failure is a test of it.
//
// What is reported of answers' quality is carried from its bucket into the
// table scores the same way, beside the sessions.
//
// One ingester is active, by a lease; the others stand by. The lease saves
// work; what keeps rows single is that an insert is a compare-and-set on the
// table's position (package store, I3).
//
// Of the ledger the package never sees prompts or answers: its consumer asks
// for headers only. Texts, which workers have redacted, come by a stream of
// their own (texts.go), beside the sessions: they can neither delay a row nor
// fail one. It never opens a connection to ClickHouse itself.
//
// # Invariants
//
//	I1  A row is inserted only after all rows of that table with a lower
//	    sequence: what a table holds is always a prefix.
//	I2  The position grows only after the insert is confirmed: everything up to
//	    it that needs a row has one.
//	I3  Memory is bounded by MaxRows and MaxBytes, twice (what is read, and
//	    what is being written), also while ClickHouse is away; the stream is
//	    the only queue.
//	I4  A record that cannot be decoded is counted, logged and passed over.
//	I5  The janitor purges nothing above the position, and nothing younger than
//	    the retention.
//	I6  Only the holder of an unexpired lease inserts.
//	I7  The stream of texts holds what is not in the table texts, in order; what
//	    is in both makes one row, and what came before an order to forget none.
package ingest

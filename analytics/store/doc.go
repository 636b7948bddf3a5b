// Package store keeps Sluice's two tables in ClickHouse: attempts (a row per
// provider call) and jobs (a row per finished job); and beside them scores, and
// texts: what was said, of tenants that keep it. It is the only package
// that opens clickhouse-go connections, to the embedded engine and to
// external servers alike.
//
//	ledger ─▶ ingest ─▶ InsertAttempts / InsertJobs ─▶ ┌──────────┐
//	                                                   │ attempts │─▶ Cost, Distribution, Savings, Waste
//	         sluice sql ◀── Query ◀────────────────────│ jobs     │─▶ Jobs, DearestJobs
//	                                                   └──────────┘
//
// It never retries and never buffers: what to insert, when, and what to do after
// a failure is the ingester's part. Prompts and answers come to the table texts
// only (texts.go), and to no error.
//
// The tables' position in the ledger is the highest seq that they hold. The
// projections (hourly sums, and *_times with states of quantiles) are written
// by the same insert as the rows, so that sums taken from them cannot disagree
// with the rows. A question's window is cut into whole hours (or sixths of a day) and rows
// at its edges (window.go): exact, and fast over any number of rows.
//
// # Invariants
//
//	I1  An insert is one block for one partition of one table, so it is there
//	    as a whole or not at all. Rows of two partitions are refused.
//	I2  Inserts are synchronous: nil means that the rows are in the table.
//	I3  Two inserts that continue from the same position never both take
//	    effect: the first row's seq is the insert's deduplication token, and
//	    the loser is told. So a writer that was thought dead cannot double a
//	    row, whatever its lease said.
//	I4  Money is stored as whole nano-dollars; a cost that is not known is
//	    NULL, never 0. cost_usd is computed on reading, in decimals.
//	I5  Migrations never change or remove a row's values. Each statement may run again, so a crash between
//	    two of them is repaired by the next start.
//	I6  Words (status, class, pool …) are LowCardinality strings and not
//	    enums: a word that a newer part of Sluice writes never fails an insert.
//	I7  Rows go in whole parts, by a TTL longer than their records stay in the
//	    ledger: what is the highest seq (MaxSeq) is not forgotten (layout.go).
//	I8  An attempt has one row of texts, however often it is inserted, by
//	    however many writers that begin with the first that is missing.
package store

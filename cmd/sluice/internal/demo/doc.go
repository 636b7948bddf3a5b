// Package demo is `sluice demo`: a whole Sluice in one process with a data
// folder of its own, a few hundred prompts through three simulated pools (and
// a few through a pool of each provider whose key is in the environment), live
// progress, a streamed answer, and what all that cost, from ClickHouse.
//
//	prompts.txt ─▶ SDK ─▶ system (package app) ─▶ records ─▶ board (live)
//	                            │
//	                            └─▶ ClickHouse ─▶ cost table, facts ◀─ books
//
// It reads no configuration but the providers' keys, and listens on free
// ports of loopback only, so that it disturbs nothing that runs.
//
// # Invariants
//
//	I1  Whatever way it ends but by SIGKILL, it leaves no process and no file.
//	I2  What the board shows while jobs run is heard; what is printed in the
//	    end is read: results from the ledger, costs from ClickHouse.
//	I3  Without a terminal, output has no control characters.
package demo

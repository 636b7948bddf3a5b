// Package engine is the embedded ClickHouse: the library libchdb, loaded
// without cgo, run in a child process, answering ClickHouse's HTTP protocol on
// a loopback address. clickhouse-go, curl, Grafana and every other HTTP client
// see a server; nothing outside this package knows that there is none.
//
//	Supervisor (our process)                 child: `sluice engine` = Main
//	  starts, restarts, ends  ── stdin ──▶   Config; its end means: stop
//	                          ◀─ stdout ──   ready at address | error
//	clients ───────────────── HTTP ───────▶  Serve ─▶ handler ─▶ core ─▶ libchdb
//
// It owns the data directory (Config.Path), the lock beside it (Path.lock), the
// temporary folder beside it (Path-tmp), the child process and the endpoint. It
// never interprets SQL beyond finding where clauses begin (scan.go), and opens
// no connection to anything.
//
// How a statement runs: a slot (Config.Connections of them), a fresh session
// of the engine (0.2 ms), the request's database and settings set on it, the
// statement, the session closed. An insert's data goes through a file
// (FROM INFILE), so it is never in memory and never half there. A query in
// Native is streamed block by block; in every other format the engine writes a
// file first (INTO OUTFILE), so a failure is known before the first byte.
//
// Invariants:
//
//	I1  One process has a Path open, and the child never outlives its parent.
//	I2  Only who knows the password gets beyond /ping.
//	I3  What was acknowledged survives a kill -9; an insert of up to a million
//	    rows (256 MiB) in one partition is there whole or not at all.
//	I4  No statement sees another's settings, database or temporary tables.
//	I5  A statement holds no slot when it is over, whatever became of its
//	    client: a query is killed when the client goes away, a change is not.
//	I6  Memory does not grow with the size of an insert or a result.
//	I7  A failure after the first byte never looks like an end.
//
// Measured on 2 busy cores, version 26.5.3, by TestFootprint: ready 0.1 s after
// the start of the child, 0.5 s with a cold disk cache; 204 MiB resident, of
// which 42 MiB are its own (the rest is the library, which the kernel may
// drop); 320–370 MiB after inserting and aggregating 5 million rows; 0.3 % of a
// core when idle; 1.5–2.2 ms for SELECT 1 by HTTP, 3–7 ms for an insert of one
// row. The settings behind that are in serverConfig.
//
// Not available, and refused by name: sessions (session_id), roles, several
// statements in one request, INSERT … SELECT … FROM input(). The query ID of a
// client is echoed, but system.processes shows the engine's own.
package engine

// Package cli is the command line: cobra commands that are clients of a
// running Sluice. They speak NATS through package sdk, ask ClickHouse through
// analytics/store, and print tables for people or JSON for programs. It
// starts no server: main adds the commands that do (up, serve, engine, bench).
//
//	           ┌─ sdk ────────▶ submit, job get|cancel|watch|trace
//	command ───┼─ admin NATS ─▶ job list, pool, route, dead, doctor
//	           ├─ web ────────▶ batch (over HTTP: files are too large for NATS)
//	           ├─ store ──────▶ cost, sql, doctor
//	           └─ config ─────▶ config validate|show
//
// Where NATS and ClickHouse are, the commands find out as the server does:
// from sluice.yaml, SLUICE_… variables and flags. A client need not hold the
// keys of pools: secrets that it cannot resolve are simply unset.
//
// # Output
//
// Answers go to standard output, everything about them to standard error. An
// error is one sentence, and below it a hint where there is something to do.
//
// # Invariants
//
//	I1  Exit status: 0 done, 1 failed, 2 wrong usage or configuration.
//	I2  With --json, standard output is valid JSON and nothing else.
//	I3  Text from tenants and providers cannot control the terminal: control
//	    characters are replaced in tables and messages.
//	I4  Money is printed exactly, from integers.
package cli

// Package fleet runs Sluice as what it is in production: many real processes.
// A cluster of NATS servers, routers, workers and ingesters, ClickHouse, and
// simulated providers that answer over HTTP and keep books of their own; with
// TCP proxies between all of them, so that any way can be cut.
//
//	submitting ──▶ nats-1..3 ◀─▶ routers, workers, ingesters ──▶ ClickHouse
//	                   every arrow of a role is a proxy │
//	                                                    ▼
//	                                  providers (own process, own books)
//
// [Chaos] kills, pauses, cuts and restarts them under load and compares
// acknowledgements, ledger, ClickHouse and books afterwards, and every figure of
// the dashboard's interface and of `sluice cost` with the books.
//
// It is for tests and measurements: `sluice chaos`, `make chaos`. It never
// looks into a part: only at streams, tables, books and processes.
//
// # Invariants
//
//	I1  Every process that it starts ends with it, by process ID.
//	I2  What happens is drawn from the seed; when it happens depends on the
//	    machine, so a seed replays the faults, and not each interleaving.
//	I3  Providers are not struck: their books are the truth.
//	I4  A call counts at its provider until just before its last byte is sent.
package fleet

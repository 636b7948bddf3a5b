// Package app puts Sluice's parts together in one process: `sluice up` runs
// all of them around an embedded NATS and ClickHouse, `sluice serve` some of
// them against external ones. It is the same code; only where NATS and
// ClickHouse are differs.
//
//	nats ─▶ streams ─▶ router (dispatch, control)  ┐
//	                   worker (run, presence)      ├─ stop: these first,
//	                   gateway (HTTP)              ┘
//	                   ingest                        then the ingester,
//	                   engine (child process)        then the engine, NATS last
//
// # Invariants
//
//	I1  A data folder belongs to one process at a time.
//	I2  Nothing that a worker of an earlier, dead run of this data folder
//	    claimed is waited for.
//	I3  Whatever is missing beside NATS (engine, ClickHouse, a provider), the
//	    broker runs.
package app

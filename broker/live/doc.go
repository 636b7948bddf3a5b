// Package live folds the records of the ledger, as they are stored, into
// figures of the last minute: rates, percentiles, spend, recent decisions. It
// is what the dashboard and `sluice top` show.
//
//	LEDGER ──re-published as it stores──▶ Meter.Add ──▶ Meter.Snapshot ──▶ dashboard, top
//
// It hears core NATS and keeps nothing: a record that is missed (a slow
// reader, a connection that broke) is missing in the figures of one minute.
// What must be exact comes from ClickHouse.
//
// # Invariants
//
//	I1  Memory is bounded: a minute in slots of two seconds, a histogram per
//	    pool and slot, and a fixed number of recent attempts.
//	I2  Shadow jobs, which nobody waits for, count in spend but not in rates.
//	I3  Prompts and answers are not looked at: headers only.
package live

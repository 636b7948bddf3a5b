// Package topology declares Sluice's streams, consumers and buckets, and
// creates or updates them. It holds no state.
//
//	JOBS    submitted jobs, the backlog        work queue, a consumer per class
//	SCHED   delayed, retried and requeued jobs, schedules
//	WORK    one subject per pool, shallow      work queue, a consumer per pool
//	LEDGER  one subject per job                limits, purged only behind the ingester
//	CHUNKS  streamed answers                   limits, an hour
//	CAPTURES what decisions saw                 limits, as long as records
//	DEAD    dead letters                       limits, 30 days
//
// Invariants:
//
//	I1  No stream that tenants publish to allows rollup, TTL, schedules or
//	    counters: a tenant can set any header.
//	I2  Nothing on a work queue is ever deleted by age or size.
package topology

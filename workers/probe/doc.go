// Package probe asks pools whether they are well: where the configuration says
// so, a request of a few tokens each interval, over all workers together.
//
//	bucket PROBES ──due?──▶ claim (compare-and-set) ──▶ call ──▶ outcome ──▶ bucket
//	                                                                  routers ◀┘
//
// A probe is nobody's job: it is in no record and no table, and its cost is
// told beside its outcome (`sluice pool list --json`). It takes none of the
// pool's slots.
//
// # Invariants
//
//	I1  Of all workers one makes the probe that is due: the one whose claim the
//	    bucket took. A worker that dies costs one probe.
//	I2  A probe ends within its time-out, as a failure if by that.
//	I3  A provider that answers a probe with a refusal of the request is well.
package probe

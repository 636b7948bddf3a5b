// Package whatif plays recorded jobs again under a policy: the real router,
// steering and observation, on a virtual clock, with providers that are fitted
// to what was recorded.
//
//	Recorded (jobs and their attempts) ─┬─ Fit ──▶ Model: how each (pool, model) answers,
//	                                    │          what the broker itself takes
//	                                    └─ Replay ▶ Job: arrival, tokens, patience
//	Policy, Model, Job ── Play ──▶ Outcome ── Figures ──▶ Report: recorded, old, new
//
// What is real: router.Decide with all filters, scorers and pickers; rules,
// experiments and fallback chains (steer); circuits, ejection, rate limits,
// adaptive weights (observe.Play); what a failure leaves to its job
// (ledger.Retries). What is modelled, after package dispatch: classes and
// tenants in turn, ageing, depths that are as old as the last look, retry
// budgets, recalls; a pool is a queue in order of arrival before as many
// servers as its concurrency.
//
// An attempt draws from the recorded ones of its (pool, model) that lie near
// it in time, so that bad hours stay bad: whether and how it fails, and how
// much slower or faster than the fitted line (time to first token, time per
// token) answers of its length were. It never takes a job's own recorded
// outcome, so that the error on the old policy is an honest measure.
//
// It knows nothing of budgets, several routers, shadows, affinity, and how
// long another model's answer would be.
//
// # Invariants
//
//	I1  Play is a function of its arguments, the seed included: no clock, I/O,
//	    lock or goroutine (a house rule).
//	I2  Every job ends exactly once; one that never had an attempt ends as it
//	    did.
//	I3  A pool never runs more attempts than its concurrency.
//	I4  An attempt without a model of its (pool, upstream model) is never made
//	    up: Missing names such targets, and Play refuses them.
//	I5  Costs are wire.Price's, of recorded tokens and the policy's prices; a
//	    cost that is not known is counted, and not in the sums.
package whatif

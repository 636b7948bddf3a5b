// Package rollout moves a route's jobs from one version (blue) to another
// (green): by steps, or at once, and back by itself when the new version fails
// more often or is slower.
//
//	LEDGER ──▶ fold: how each version does ──┐
//	ROLLOUTS (bucket): phase, step, since ───┼─▶ Next ──compare-and-set──▶ ROLLOUTS
//	clock ───────────────────────────────────┘                                │
//	                              every router: shares ◀── watch ─────────────┘
//
// Every router folds the outcomes of both versions by itself and decides by the
// same function; the first that finds a step due, or a regression, writes it,
// and all follow what is written. So routers agree, nothing is elected, and a
// roll-back holds over restarts.
//
// # Invariants
//
//	I1  Next is a function of its arguments.
//	I2  Until the state of a rollout is known, and when it is rolled back, all
//	    jobs go to blue.
//	I3  Of two writes about one state, one wins: a roll-back is not undone by a
//	    step that was decided before it.
//	I4  Only attempts that began after the rollout did are compared.
package rollout

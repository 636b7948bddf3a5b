// Package roster keeps what of the pools changes while Sluice runs and is in no
// file: pools that were added, and the models that providers were found to
// offer. It lives in one bucket, so that every process sees the same.
//
//	sluice pool add ─▶ Add ─▶ bucket ROSTER ─▶ Follow ─▶ every process: configuration
//	                            ▲      │
//	workers: SetModels ─────────┘      └─▶ Sweep removes what is removed and idle
//
// It never reads what a pool's text says (that is the configuration's part),
// and holds no keys: a text names them.
//
// # Invariants
//
//	I1  Follow calls back with the whole state, from the first on, and again
//	    after every change.
//	I2  A pool that is being removed is forgotten only when nothing is left in
//	    its queue: what it runs is in the queue until it has ended.
package roster

// Package router decides which candidate of a route takes a job. It is a
// function and nothing else: no clock, no random source, no I/O, no lock and
// no goroutine, so a decision can be repeated from what it saw.
//
//	Table (pools, routes; immutable) ─┐
//	Load, Stats (what was measured) ──┼─▶ filter ─▶ score ─▶ pick ─▶ Result
//	Input (job, time, entropy) ───────┘
//
// A strategy is a named preset of scorer and picker; the filters are the same
// for all. Each lives in a file of its own and has one line in the registry
// of strategy.go; the conformance suite covers whatever is registered.
//
// The package owns what a decision rests on, and the pure steps that keep
// such facts up to date: decayed averages (Track), the circuit breaker
// (Breaker), outlier ejection (Eject), rate windows (Window) and adaptive
// weights (Adapt). It never fetches a fact, never acts on a decision, and
// never remembers one: who calls owns the state.
//
// # Invariants
//
//	I1  Decide is a function of (Table, Load, Input): equal arguments give
//	    equal results, bit for bit, on every machine.
//	I2  The order in which pools, candidates, labels or scorers are listed in
//	    a configuration changes no choice: candidates are kept sorted.
//	I3  Every candidate that is not chosen has a score or a reason.
//	I4  A candidate of weight 0 is never chosen. A weight is a share wherever
//	    a strategy splits jobs, and divides the load wherever it compares it.
//	I5  Reasons that never pass are tested before those that do, so Full says
//	    rightly whether waiting helps.
//	I6  A soft filter (ejected, tried, preferred) never empties the set.
//	I7  Money is compared as integers; an unknown price is never zero.
//	I8  Decide allocates nothing once a Result has seen its largest route.
//	I9  Unknown (a zero value) is neutral: it neither excludes a candidate
//	    nor keeps it from being tried.
package router

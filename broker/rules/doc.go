// Package rules evaluates what an operator says about jobs in CEL, the Common
// Expression Language: when an expression over a job's facts is true, the rule
// sends the job to a route, asks for labels, or sets class, attempts and
// deadline.
//
//	rules (configuration) ──Compile──▶ Set (immutable)
//	job's Facts ───────────Set.Match──▶ Outcome: what applies, and which rules said so
//
// Rules are looked at in the order in which they are listed. The first that
// matches ends the search, unless it says Continue: then later ones may add
// what is still open. What an earlier rule has set stays; labels add up.
//
// It owns the language: its variables (see Variables), their types, and the
// bound of what an expression may cost. It does no I/O and reads no clock; a
// Set is safe for use by many goroutines.
//
// # Invariants
//
//	I1  Compile reports every rule that is at fault, not the first one.
//	I2  Match is a function of Set and Facts, and cannot fail: a rule that
//	    fails while it is evaluated counts as one that does not match, and is
//	    named in the outcome.
//	I3  An expression's work is bounded (costLimit), whatever a client sends.
//	I4  Facts hold what the client asked for, not what rules made of it: a
//	    retry is judged as the first attempt was.
package rules

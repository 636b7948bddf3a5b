// Package jsonscan walks the members of a JSON object and the elements of a
// JSON array without decoding them: it hands out byte ranges of its input. It
// exists because a worker looks at three fields of a kilobyte and must pass on
// the others byte for byte.
//
// It does not allocate for keys without escapes and never writes to its input.
// A walk validates no more than it needs to find where a value ends: run
// [Valid] first where that matters.
//
// # Invariants
//
//	I1  Any input ends the walk; none panics.
//	I2  On valid JSON in valid UTF-8 the walk sees exactly the members
//	    that encoding/json sees.
//	I3  Valid and json.Valid agree on every input.
package jsonscan

// Package jsonscan walks the members of a JSON object and the elements of a
// JSON array without decoding them: it hands out byte ranges of its input. It
// exists because a worker looks at three fields of a kilobyte and must pass on
// the others byte for byte.
//
// It never allocates for keys without escapes, never writes to its input and
// never validates more than it needs to find where a value ends: run
// json.Valid first where that matters.
//
// # Invariants
//
//	I1  Any input ends the walk; none panics.
//	I2  On valid JSON in valid UTF-8 the walk sees exactly the members that encoding/json sees.
package jsonscan

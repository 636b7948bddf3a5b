// Package peek reads what a stream holds without taking it, by the server's
// batched direct get: a work queue takes no second consumer, and a consumer
// per read would cost the server more than the read.
//
// Invariants:
//
//	I1  What the server says of a message is told from what its publisher
//	    wrote, whatever headers that set.
//	I2  Nothing that is read is changed; it may be gone a moment later.
package peek

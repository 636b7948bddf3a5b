// Package eventstream reads the binary event streams of AWS
// (application/vnd.amazon.eventstream): messages with headers, a payload, and
// two checksums.
//
//	┌ 4 total length ┬ 4 headers' length ┬ 4 CRC of both ┬ headers ┬ payload ┬ 4 CRC of all ┐
//
// # Invariants
//
//	I1  A message is handed out only if both checksums are right and its
//	    headers can be read.
//	I2  Memory is bounded by the limit, whatever the lengths say.
//	I3  A stream that ends inside a message is io.ErrUnexpectedEOF, and io.EOF
//	    only between two.
package eventstream

// Package sse reads server-sent events as the WHATWG standard defines them:
// any line ending (LF, CRLF, CR), comments, data over several lines, event
// names, a byte order mark. It owns the framing only: what an event means is
// the adapter's business.
//
// # Invariants
//
//	I1  An event's data belongs to the caller: the reader never writes to it
//	    again, so it may outlive the stream.
//	I2  An event above the limit is an error, never a cut or skipped event, and
//	    memory stays within twice the limit.
//	I3  What Next returns does not depend on how the bytes were cut into reads.
package sse

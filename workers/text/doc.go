// Package text makes what is kept of a job's prompt and answer, for tenants
// that turned it on: a transcript that people can read, without what looks
// like a secret or like somebody's address, cut to a size.
//
//	body, answer ─▶ transcript ─▶ redact ─▶ cut ─▶ TEXTS (stream) ─▶ ingester ─▶ ClickHouse texts
//	(JSON)          Prompt, Answer          Redactor                Keeper
//
// It runs in the worker, which has both in memory anyhow: what leaves its
// process is redacted. A streamed answer is redacted as a whole, so that
// nothing hides across two chunks. The package never logs text, and never puts
// any into an error.
//
// # Invariants
//
//	I1  Without a policy for the tenant nothing is made and nothing is sent.
//	I2  Redaction takes time linear in the text, whatever it says.
//	I3  What is behind a cut is no part of the text, also of a secret that the
//	    cut goes through: the mark stands for all of it.
//	I4  Text is dropped, and counted, rather than waited for: an attempt's end
//	    waits for the stream no longer than publishTimeout.
//	I5  Text is in the stream before the end of its attempt is in the ledger.
package text

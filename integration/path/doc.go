// Package path tests the way of a job from end to end, in one process: the
// real embedded NATS server, the real dispatcher, workers and control service,
// and a provider that follows a script. Time is that of testing/synctest
// bubbles, so back-offs, leases and deadlines are exact and take no time.
//
//	client (plain NATS, SDK) ─▶ streams ─▶ dispatcher ─▶ worker ─▶ script
//
// What it asks of every job, whatever is slow, cut, killed or malformed:
// exactly one terminal record, which is the last; no attempt counted twice;
// chunks without gap or repeat within an attempt; a clear error for what
// cannot be done, and for that job only.
package path

// Package reconcile frees messages that a queue has forgotten.
//
// After a kill of the NATS server a message can be in a work queue, below its
// consumer's acknowledgement floor: neither pending nor delivered, never to be
// delivered again, and counted in the queue's depth for ever. Every router
// compares, for each queue, the messages that the stream holds with those that
// the consumer knows. Where more are held than known, and that for longer than
// two ack waits, the consumer is removed; whoever uses it makes it anew, and
// everything in the queue is delivered again. Fences make that harmless
// (package ledger), so several routers may do it at once.
//
// It never looks at a message and never removes one.
package reconcile

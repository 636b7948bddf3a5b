// Package reconcile frees messages that a queue has forgotten.
//
// After a kill of the NATS server a message can be in a work queue, below its
// consumer's acknowledgement floor: neither pending nor delivered, never to be
// delivered again, and counted in the queue's depth for ever. Every router
// looks, for each queue, at the first message that the stream holds of it.
// Where the same one is not above the floor for longer than two ack waits, the
// server is asked to reset the consumer to that message, and everything from
// there on is delivered again. Fences make that harmless (package ledger), so
// several routers may do it at once.
//
// It also puts back what pins a queue (ledger.OpenQueue), where that is missing.
//
// It never changes a message and never removes one.
package reconcile

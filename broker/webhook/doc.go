// Package webhook tells the URL in a job's header Sluice-Webhook how the job
// ended, by the Standard Webhooks specification
// (https://www.standardwebhooks.com): signed, and again with back-off for a
// day until it is taken.
//
//	LEDGER ──terminal records──▶ collect ──▶ WEBHOOKS (queue) ──▶ deliver ──HTTP──▶ URL
//	        (durable consumer)                    ▲                  │
//	                                              └── later ─────────┼──▶ WEBHOOKLOG
//
// Alerts (package analytics/alert) put deliveries of theirs into the queue, under
// a name that no tenant can have.
//
// Each tenant has a secret of its own, derived from the configured one, so
// that none can sign for another.
//
// # Invariants
//
//	I1  A record is acknowledged when its delivery is stored, a delivery when
//	    it was taken, or given up: a kill loses none. It may make a copy, which
//	    has the same webhook-id.
//	I2  No private address is called for a job unless that is allowed. It is the
//	    address dialled that is looked at, not the name, and redirects are not
//	    followed. The operator's own URLs, for alerts, may be anywhere.
//	I3  Secrets, bodies and URLs reach no log of this process; the delivery log
//	    has the host only, and each tenant sees its own.
//	I4  Deliveries to one host are bounded, so that a slow one leaves room.
package webhook

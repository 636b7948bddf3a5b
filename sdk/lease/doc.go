// Package lease gives one process at a time the right to do something: a key
// of the bucket LEASES that the server removes when its holder has not written
// it for a while.
//
//	Take, Try ──▶ Keep renews it every quarter of its TTL ──▶ Release
//	                   └─ cannot ──▶ its context's cause is ErrLost
//
// A lease saves work that two would do twice. It is no fence: a holder that was
// paused may still act for a moment after another took over. What must not
// happen twice needs a compare-and-set of its own.
//
// It is shared by broker and analytics, which do not import each other. A Lease
// belongs to one goroutine, but for Check, which any may call.
//
// # Invariants
//
//	I1  A holder's time counts from before its write was sent, so that it ends
//	    here before it ends at the server.
//	I2  Every write expects the key's last message: of two one wins.
package lease

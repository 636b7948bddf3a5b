// Package observe tells a router how the pools do: it follows the ledger and
// the processes' presence, folds both into the pure states of package router,
// and publishes the result as immutable snapshots.
//
//	LEDGER (headers only) ──┐
//	NODES  (presence)     ──┼─▶ fold (one lock, no I/O below it) ──▶ Snapshot
//	POOLS  (drained)      ──┤     Track, Breaker, Ejection, Window       │
//	PROBES, QUALITY       ──┘                                            │
//	                                                    dispatcher: Fill ◀┘
//
// Every router folds by itself: nothing is elected, nothing is shared but what
// is stored, and a router that starts reads the last minutes again. The
// dispatcher takes the snapshot of the moment without a lock and fills its
// loads from it, beside the depths that it sees itself.
//
// # Rate limits
//
// What a pool has used of a limit is what has started, as the ledger says,
// plus what is in its queue and has not: the depth without the running. Of
// what is left every live router takes its share, which it takes again from
// what is then left at its next look. So routers that see the same moment
// never take more than there is, and one that is alone takes all.
//
// # Invariants
//
//	I1  A snapshot never changes after it was published.
//	I2  The fold does no I/O and reads no clock: records carry their time.
//	I3  A record that cannot be read, is repeated or missing, changes a
//	    measurement and nothing else.
//	I4  Of a limit's free part, all routers' shares together are at most all.
//	I5  A pool is down only when the list of live processes is known and none
//	    serves it.
package observe

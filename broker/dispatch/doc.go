// Package dispatch moves jobs from the backlog to the pools' work queues.
//
//	JOBS, SCHED ──intake (a goroutine per queue: fetch, parse, steer, refuse, delay)
//	                  │  items, bounded
//	                  ▼
//	            loop (one goroutine): router.Decide on the depths last seen
//	                  │  publish to work.<pool>
//	                  ▼
//	            acker: work publish acknowledged ⇒ acknowledge the job message
//
// Late binding: a job goes to a pool only while the pool has room; otherwise
// it stays where it is, most of it in the stream and a bounded number of the
// oldest in memory, grouped by route so that a full route does not stand
// before a free one. Where blocked routes fill that memory while another route
// has room, their jobs are parked: moved within the jobs stream to a subject of
// their own, from where they are taken when there is room. More urgent classes
// are placed first, and less urgent ones find a pool full earlier
// (router.Pool.Allowance), so a huge batch never buries an interactive job.
//
// Inside a class, tenants take turns, a job each. Where one tenant's jobs have
// filled the memory, those of others are lifted from behind them: read where
// they stand, and deleted there when their work message is stored (lift.go).
// Deadlines of jobs deep in the backlog are kept the same way (overdue.go).
//
// How the pools do is what package observe folds from the ledger: the loop
// fills its loads from a snapshot at each look. A job whose candidates are all
// limited, open or down stays in the backlog until one of them opens; where
// that is far off, it waits in a schedule with a record that says so. Retries
// have a budget, as a share of their route's first attempts. Jobs in the queue
// of a pool that nobody serves any more are taken back (rescue), and so are
// those that would wait long where they are (recall). A record comes before
// that, so that a worker who gets such a message meanwhile cannot claim it.
//
// Any number of dispatchers may run. Queue depth comes from the server (one
// STREAM.INFO for all pools); between two looks each dispatcher adds its own
// publishes, so nothing is counted twice and nothing can leak.
//
// # Invariants
//
//	I1  A job message is acknowledged only after what follows from it is
//	    durable: a work message, a schedule, or a terminal record.
//	I2  All decision state is owned by the loop goroutine.
//	I3  At most Config.Held jobs per source are in memory, and as many per
//	    class that were lifted.
//	I4  While jobs of several tenants of a class wait for the same room, each
//	    gets its turn, whatever the others have queued.
//	I5  Nothing starves: of those placed while less urgent jobs wait, every 8th
//	    (standard) or 16th (batch) is the turn of one that has waited 10 s.
//	I6  What a decision saw is published before what follows from it.
package dispatch

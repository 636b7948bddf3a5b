// Package budget keeps budgets hard while many routers spend: nothing goes to
// a pool before what it can cost at most is set aside in every budget that
// binds it. What is what, package account knows; this one moves messages.
//
//	dispatcher ──Judge──▶ Book ──Hold──▶ HOLDS (stream) ──┐ every router folds
//	                       ▲                              │ both by itself
//	                       └── account.State ◀────────────┴── LEDGER
//	LIMITS (bucket): budgets set while running, raised events
//
// # Why a log of holds and one compare-and-set
//
// A router appends holds to the stream HOLDS under the condition that it has
// folded everything in it (expected last sequence). So holds are taken one
// message after the other, each by a router that knew all before it, and one
// message takes any number of holds in any number of budgets, all or none.
// A whole batch of jobs costs one round trip; routers that collide fold the
// other's message, plan again and try again, and one of them always gets on.
// On two busy cores one router takes 200,000 holds a second in batches of 256
// and 7,000 one by one, four that collide all the time 18,000 and 1,700
// (BenchmarkHold). A decision that no budget binds pays 0.2 µs where there are
// budgets (BenchmarkJudge), and a nil check where there are none.
//
// Nothing is ever given back: a hold names an attempt, and ends when the
// ledger says that the attempt, or its job, has ended, which is what settles
// the true cost as well. So a router that dies between hold and publish leaves
// a hold that the next router of the same job takes again, without adding to
// it. Holds of jobs that end unseen (a copy of a finished job) are found by
// asking the ledger about their owners.
//
// Counters on the server (add, read, give back) would have refused jobs that
// fit, when two collide near a limit; would have needed a give-back that a
// crash forgets; and could not take several budgets at once. A lease on shares
// of a budget would have kept routers from the last of it.
//
// Now and then a router writes the folded state into the same stream, under
// the same condition, and removes what is before it: that is where a router
// begins. It holds sums with the ledger's sequence, so they go on exactly, and
// may be older than the ledger's retention. Without it the sums are folded
// anew from the ledger, as far as it goes back.
//
// Where no budget is defined, nothing of this runs; a job that no budget binds
// takes no hold, and costs a few look-ups.
//
// # Invariants
//
//	I1  A message of holds is stored only if its writer has folded all before.
//	I2  Hold says yes only after the message is stored.
//	I3  Until the state is read, every job waits.
package budget

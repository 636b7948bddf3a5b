// Package account is the arithmetic of budgets: functions and plain values,
// without clock, lock or I/O, so that any router that has seen the same
// messages in the same order knows the same.
//
//	Scope, Window, Budget   what is limited
//	Worst, Of               what an attempt can cost, what it has cost: a Draw (on budgets)
//	State                   a fold: Take (a hold), Settle (a ledger record),
//	                        Void (a hold whose job can never run); Judge asks it
//
// A State has a counter for each budget. A counter is two sums by slots of
// time, what is spent and what is held, and a budget has room for a draw if
// both together, over the draw's window, stay within the limit.
//
// A draw belongs to the window in which its hold was taken, whenever it is
// settled: so a limit holds for each window by itself.
//
// The names: a budget is *exceeded* for a draw when what is spent leaves no
// room; only then does its policy act. It is *crowded* when there would be
// room but for the holds of other attempts, which are worst cases and mostly
// settle for far less: the job then stays queued for a moment.
//
// # Invariants
//
//	I1  After a Take that Judge allowed, spent + held of every budget that
//	    binds the draw is at most its limit, in the draw's window.
//	I2  A hold belongs to an attempt of a job. Taken again for the same
//	    attempt it does not add up: copies of a job cannot both run, so the
//	    larger amount counts.
//	I3  The end of an attempt, or of its job, removes its hold; no matter in
//	    which order hold and end are seen.
//	I4  A ledger record counts once for each budget, by its sequence.
//	I5  A State that is encoded and decoded goes on as the first would have.
package account

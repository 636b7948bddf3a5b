// Package steer says where a job goes beside the router's own choice: which
// route decides, under which conditions, and who said so.
//
//	Plan (immutable: rules, experiments, fallback chains) ──┐
//	job, tier, time                                       ──┴─▶ Course
//	Course, loads ─▶ Decide: the router on the course's route, then on the
//	                 steps of its fallback chain ─▶ Choice
//
// The dispatcher takes a job's course when it gets the job in its hands, and
// again when the plan or the pools change; `sluice route explain` takes it in
// the same way.
//
// A Plan is a value without clock, lock or I/O, safe for use by many
// goroutines; a nil one steers nothing.
//
// # Invariants
//
//	I1  A course is a function of plan, table and facts.
//	I2  Steering loses no job: what cannot be followed (a route that is gone)
//	    is left out, and the rule that asked for it is recorded as failed.
//	I3  Steering a job again, as a retry is, changes nothing that the first
//	    time has set and that still holds.
package steer

// Package cron is schedules: jobs that the broker submits again and again. It
// owns their form in the stream and which job a firing is; the server's own
// message schedules do the firing.
//
//	sluice schedule add ──▶ cron.<tenant>.<name> ──(server, at each time)──▶ requeue.<tenant>.<class>
//	                        definition = the job,                            the job, once per firing,
//	                        with its headers                                 ID <name>-<time>
//
// Invariants:
//
//	I1  A firing's job ID follows from the schedule's name and the time that the
//	    firing is for: whatever the server does after a crash, it is one job.
//	I2  A schedule that was missed while nothing ran fires once, for the last
//	    time that was missed, and then goes on. (The server writes down when
//	    a new schedule is due within two minutes; after a kill before that,
//	    what fell into the downtime is left out.)
//	I3  Adding, replacing, pausing and removing are one write each.
package cron

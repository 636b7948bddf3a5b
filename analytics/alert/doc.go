// Package alert looks at the stored attempts and jobs from time to time, and
// tells when something is not as it should be: on NATS, by webhooks, and in a
// bucket that the command line and the gateway read.
//
//	ClickHouse ──look──▶ findings ──judge──▶ raised / cleared ──┬─▶ bucket ALERTS
//	 (a window, and the baseline before it)  (hysteresis)       ├─▶ sluice.events.alert.…
//	                                                            └─▶ stream WEBHOOKS ─▶ broker/webhook
//
//	error_rate     the lower bound of the share of failures (Wilson's score, 99.9 %)
//	               is above alerts.error_rate
//	latency_shift  the median or the 95th percentile lies above those of the
//	               baseline's windows, by more than alerts.latency_shift of their
//	               median and by a modified z-score above 3.5 (stats.Shift)
//	cost_shift     the same of the mean cost of a route's jobs
//	share_shift    a candidate's part of the turns is off by more than
//	               alerts.share_shift, and chance explains the route's turns with
//	               less than 1 in 1,000 (stats.ChiSquare)
//	budget_burn    spending, carried on, would use up alerts.budget_burn budgets in
//	               the window of one: both in a 24th of it and in a twelfth of that,
//	               as in the SRE Workbook's multi-window alerts
//	unpriced       a model was used that has no price
//
// One process at a time looks, whoever holds the lease; it knows what was raised
// before from the bucket. What the figures are made of is never empty by
// accident: a question that fails leaves everything as it was.
//
// # Invariants
//
//	I1  An alert is raised after so many looks in a row that were bad, and cleared
//	    after so many that were clearly good: below four fifths of the threshold.
//	I2  A change is in the bucket, under a compare-and-set, before anybody is told,
//	    and is marked as told after that: a kill in between tells it twice, under
//	    one ID, and never not at all.
//	I3  Too few samples are no finding, and so raise nothing.
package alert

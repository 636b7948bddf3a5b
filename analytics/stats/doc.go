// Package stats compares what experiments have measured: confidence intervals
// of shares and means, and of their differences. It is arithmetic on counts,
// means and variances, without I/O; the distributions are gonum's.
//
//	counts ──▶ Wilson (a share), Newcombe (the difference of two)
//	moments ─▶ MeanInterval (Student's t), Welch (the difference of two)
//
// Costs and latencies are skewed; with the hundreds of jobs that an experiment
// has, their means are near enough to normal for the intervals to hold, and
// few jobs give wide ones.
//
// # Invariants
//
//	I1  An interval contains its estimate, and a wider confidence gives an
//	    interval that is no narrower.
//	I2  Too little data gives an interval that is not Known, never a false one.
package stats

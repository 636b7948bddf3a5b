package router

// Load is what changes at a pool between decisions. The caller owns it and
// indexes it as Table.Pools does. The zero value is an idle pool of which
// nothing bad is known.
type Load struct {
	// Depth is the number of jobs queued and running at the pool.
	Depth int32 `json:"depth,omitzero"`
	// Probes is how many more attempts a half-open circuit lets through.
	Probes int32 `json:"probes,omitzero"`
	// Circuit is the state of the pool's circuit breaker.
	Circuit Circuit `json:"circuit,omitzero"`
	// Draining says that the pool is to take no new jobs, Down that no live
	// worker serves it, Unhealthy that active probes of it fail, Ejected that
	// it is an outlier among its peers.
	Draining  bool `json:"draining,omitzero"`
	Down      bool `json:"down,omitzero"`
	Unhealthy bool `json:"unhealthy,omitzero"`
	Ejected   bool `json:"ejected,omitzero"`
	// OpenUntil is when an open circuit lets a probe through.
	OpenUntil int64 `json:"open_until,omitzero"`
	// LimitedUntil is when the provider, by its own word, takes calls again.
	LimitedUntil int64 `json:"limited_until,omitzero"`
	// Requests and Tokens are the use of the provider's rate windows.
	Requests Quota `json:"requests,omitzero"`
	Tokens   Quota `json:"tokens,omitzero"`
}

// Quota is a rate limit and how much of it is used now.
type Quota struct {
	Limit int64 `json:"limit,omitzero"` // 0: none known
	Used  int64 `json:"used,omitzero"`
	Reset int64 `json:"reset,omitzero"` // Unix nanoseconds when some of it is free again; 0: not known
}

// admits reports whether n more fit. What is larger than the limit itself is
// let through when nothing else is in the window: it would wait for ever.
func (q *Quota) admits(n int64) bool {
	return n <= q.Limit-q.Used || q.Limit <= 0 || q.Used <= 0
}

// Stats is what was measured of a target, a (pool, upstream model) pair,
// decayed to the moment of the snapshot. The caller owns it and indexes it as
// Table.Targets does. Values that are not positive are not known (I9).
type Stats struct {
	// Success is the decayed share of attempts that succeeded, from 0 to 1,
	// meaningful when Samples is above 0.
	Success float64 `json:"success,omitzero"`
	// Samples is the decayed number of attempts behind Success.
	Samples float64 `json:"samples,omitzero"`
	// Throughput is output tokens per second of one attempt.
	Throughput float64 `json:"throughput,omitzero"`
	// PeakEWMA is the peak-sensitive mean of latencies, in milliseconds.
	PeakEWMA float64 `json:"peak_ewma,omitzero"`
	// CacheShare is the share of input tokens that were read from a cache.
	CacheShare float64 `json:"cache_share,omitzero"`
	// Quality as reported, from 0 to 1; above 0 it replaces the configured.
	Quality float64 `json:"quality,omitzero"`
	// Factor is the adaptive weight in thousandths, moved by Adapt; 0 is
	// not known and counts as 1000.
	Factor int32 `json:"factor,omitzero"`
	// TTFT is the time to first token, PerToken the time for each output
	// token after it, in milliseconds.
	TTFT     Quantiles `json:"ttft,omitzero"`
	PerToken Quantiles `json:"per_token,omitzero"`
}

// Quantiles are points of a decayed distribution and its mean.
type Quantiles struct {
	Mean float64 `json:"mean,omitzero"`
	P50  float64 `json:"p50,omitzero"`
	P90  float64 `json:"p90,omitzero"`
	P95  float64 `json:"p95,omitzero"`
	P99  float64 `json:"p99,omitzero"`
}

// at is the value at one of the percentiles that Params allow.
func (q *Quantiles) at(percentile int) float64 {
	switch percentile {
	case 50:
		return q.P50
	case 95:
		return q.P95
	case 99:
		return q.P99
	}
	return q.P90
}

// known reports whether a measured value can be used: positive and sane. NaN
// and infinities are not.
func known(x float64) bool { return x > 0 && x < 1e15 }

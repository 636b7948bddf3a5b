package ledger

import "github.com/sluicehq/sluice/sdk/wire"

// Probe is the entry of a pool in the bucket of probes: how the last one ended,
// and who makes the next. It is no record: nobody's job, and in no table.
type Probe struct {
	// By is the worker that took it on itself to make the one that is due, at
	// the time Claimed.
	By      string `json:"by"`
	Claimed int64  `json:"claimed"` // Unix nanoseconds

	At        int64       `json:"at,omitempty"`    // when the last one ended; Unix nanoseconds, 0: none has
	Until     int64       `json:"until,omitempty"` // when it says nothing any more
	Model     string      `json:"model,omitempty"` // the upstream model
	Status    wire.Status `json:"status,omitempty"`
	Error     wire.Code   `json:"error_code,omitempty"`
	HTTP      int         `json:"http_status,omitempty"`
	LatencyMS int64       `json:"latency_ms,omitempty"`
	Failing   int         `json:"failing,omitempty"` // failures in a row

	Probes   int          `json:"probes"` // since the pool is known
	Failures int          `json:"failures"`
	Cost     wire.NanoUSD `json:"cost_nano_usd"` // of all; where a price is known
}

// ProbeFailures in a row make a pool unhealthy.
const ProbeFailures = 3

// Unhealthy reports whether the probes say, at a time, that the pool cannot be
// used.
func (p *Probe) Unhealthy(now int64) bool { return p.Failing >= ProbeFailures && now < p.Until }

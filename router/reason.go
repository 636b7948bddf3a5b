package router

// Reason says why a candidate was excluded. The zero value means it was not.
type Reason uint8

// The reasons, in the order in which they are tested (I5): up to OverMaxCost
// waiting does not help, from Draining on it may.
const (
	Eligible     Reason = iota
	ZeroWeight          // its weight is 0
	WrongTenant         // the tenant is not on the pool's list
	WrongTier           // the tenant's tier is not on the pool's list
	WrongLabels         // the pool lacks a required label
	NoEndpoint          // the pool does not serve the endpoint
	NoCapability        // the model lacks something the request needs
	TooLong             // input and output exceed the model's context
	PriceUnknown        // the job has a Max-Cost and the price is not known
	OverMaxCost         // the job could cost more than its Max-Cost
	Draining            // the pool takes no new jobs
	Down                // the pool has no live worker
	OffSchedule         // outside the candidate's hours
	Unhealthy           // active probes fail
	CircuitOpen         // the circuit is open, or half open without a free probe
	RateLimited         // no requests or tokens left in the provider's window
	Full                // as many jobs there as the class may have
	Ejected             // an outlier, while others are not
	Tried               // an earlier attempt failed there, and others are untried
	NotPreferred        // lacks a preferred label that others have
	OverBound           // above its bound of a consistent hash
	numReasons
)

var reasonNames = [numReasons]string{
	"", "zero_weight", "tenant_not_allowed", "tier_not_allowed", "label_missing", "endpoint_unsupported",
	"capability_missing", "context_too_long", "price_unknown", "over_max_cost", "draining", "down",
	"off_schedule", "unhealthy", "circuit_open", "rate_limited", "full", "ejected", "already_tried",
	"not_preferred", "over_bound",
}

// String is the reason as decisions record it; "" for Eligible.
func (r Reason) String() string {
	if r >= numReasons {
		return "unknown"
	}
	return reasonNames[r]
}

// Temporary reports whether the reason may pass without a new configuration
// of the job: waiting helps.
func (r Reason) Temporary() bool { return r >= Draining && r < numReasons }

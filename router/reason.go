package router

// Reason says why a candidate was excluded. The zero value means it was not.
type Reason uint8

// The reasons, in the order in which they are tested (I5): up to Misplaced
// waiting does not help, from OffSchedule on it may. Reasons tells what they
// mean.
const (
	Eligible Reason = iota
	ZeroWeight
	WrongTenant
	WrongTier
	WrongLabels
	NoEndpoint
	NoCapability
	TooLong
	PriceUnknown
	OverMaxCost
	BeyondBudget
	Misfit
	Misplaced
	OffSchedule
	OverBudget
	Draining
	Down
	Unhealthy
	CircuitOpen
	RateLimited
	Full
	Ejected
	Tried
	NotPreferred
	OverBound
	numReasons
)

// ReasonDoc describes a reason.
type ReasonDoc struct {
	Name    string
	Meaning string
	// Temporary reasons may pass by themselves: the job waits.
	Temporary bool
}

var reasonDocs = [numReasons]struct{ name, meaning string }{
	ZeroWeight:   {"zero_weight", "its weight is 0"},
	WrongTenant:  {"tenant_not_allowed", "the pool is for other tenants"},
	WrongTier:    {"tier_not_allowed", "the pool is for other tiers of tenants"},
	WrongLabels:  {"label_missing", "the pool lacks a label that the route or a rule requires"},
	NoEndpoint:   {"endpoint_unsupported", "the pool does not serve the endpoint"},
	NoCapability: {"capability_missing", "the model lacks something that the request needs"},
	TooLong:      {"context_too_long", "input and output together exceed the model's context"},
	PriceUnknown: {"price_unknown", "a price, or an earlier cost, is not known, and the job's Sluice-Max-Cost or a budget needs it"},
	OverMaxCost:  {"over_max_cost", "with earlier attempts the job could cost more than its Sluice-Max-Cost"},
	BeyondBudget: {"beyond_budget", "the job could cost more than the whole limit of a budget"},
	Misfit:       {"refused", "it refused this request, which does not fit it"},
	Misplaced:    {"placement", "the job's Sluice-Placement, or its deadline, is against it, or a provider's batch API is cheaper and there is time"},
	OffSchedule:  {"off_schedule", "outside the candidate's hours"},
	OverBudget:   {"over_budget", "a budget has no room for what the job could cost"},
	Draining:     {"draining", "the pool takes no new jobs"},
	Down:         {"down", "the pool has no live worker"},
	Unhealthy:    {"unhealthy", "active probes of the pool fail"},
	CircuitOpen:  {"circuit_open", "the circuit is open, or half open and all probes are out"},
	RateLimited:  {"rate_limited", "no requests or tokens are left in the provider's window"},
	Full:         {"full", "as many jobs are there as the class may have"},
	Ejected:      {"ejected", "an outlier among pools that are not, or its queue stands still"},
	Tried:        {"already_tried", "an earlier attempt failed there, and others are untried"},
	NotPreferred: {"not_preferred", "lacks a label that a rule prefers and others have"},
	OverBound:    {"over_bound", "above its bound of a consistent hash"},
}

// Reasons describes every reason, in the order in which they are tested.
func Reasons() []ReasonDoc {
	docs := make([]ReasonDoc, 0, numReasons-1)
	for r := Eligible + 1; r < numReasons; r++ {
		docs = append(docs, ReasonDoc{reasonDocs[r].name, reasonDocs[r].meaning, r.Temporary()})
	}
	return docs
}

// String is the reason as decisions record it; "" for Eligible.
func (r Reason) String() string {
	if r >= numReasons {
		return "unknown"
	}
	return reasonDocs[r].name
}

// ParseReason is the reason of a name that String gave.
func ParseReason(name string) (Reason, bool) {
	for r := range numReasons {
		if reasonDocs[r].name == name {
			return r, true
		}
	}
	return Eligible, false
}

// Temporary reports whether the reason may pass by itself: waiting helps.
func (r Reason) Temporary() bool { return r >= OffSchedule && r < numReasons }

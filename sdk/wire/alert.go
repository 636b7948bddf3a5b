package wire

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Alert is something that is not as it should be, as the stored attempts and
// jobs show it: what an event of an alert, a webhook of one and the
// administrative answer have in them.
type Alert struct {
	Kind AlertKind `json:"kind"`
	// Subject is what it is about: some of pool, provider, model, route, tenant
	// and budget.
	Subject map[string]string `json:"subject"`
	Raised  bool              `json:"raised"` // false: it was, and is over
	Since   time.Time         `json:"since"`  // when it was raised, or cleared
	At      time.Time         `json:"at"`     // of the figures
	// Value is what was seen, and Threshold what it is held against; shares,
	// parts and multiples, from 0 on. Baseline is what is usual, where there is
	// such a thing, in milliseconds or dollars.
	Value     float64 `json:"value"`
	Threshold float64 `json:"threshold"`
	Baseline  float64 `json:"baseline,omitempty"`
	Samples   uint64  `json:"samples"` // attempts or jobs that the value is of
	Summary   string  `json:"summary"` // a sentence for people
}

// ID names what the alert is about: its kind and subject.
func (a *Alert) ID() string { return strings.TrimSpace(string(a.Kind) + " " + a.Name()) }

// Name is the subject in words: "model=m pool=p".
func (a *Alert) Name() string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(a.Subject)) {
		parts = append(parts, k+"="+a.Subject[k])
	}
	return strings.Join(parts, " ")
}

// AlertKind says what an alert looks for.
type AlertKind string

// The kinds of alerts.
const (
	AlertErrorRate    AlertKind = "error_rate"    // too many of a pool's attempts fail
	AlertLatencyShift AlertKind = "latency_shift" // a pool's model is slower than it was
	AlertCostShift    AlertKind = "cost_shift"    // a route's jobs cost more than they did
	AlertShareShift   AlertKind = "share_shift"   // a candidate's part of a route is not that of its weight
	AlertBudgetBurn   AlertKind = "budget_burn"   // a budget is spent several times too fast
	AlertUnpriced     AlertKind = "unpriced"      // a model is used that has no price
)

// AlertKinds lists every kind.
func AlertKinds() []AlertKind {
	return []AlertKind{AlertErrorRate, AlertLatencyShift, AlertCostShift, AlertShareShift, AlertBudgetBurn, AlertUnpriced}
}

// AlertsTenant stands for the tenant in the subjects of alerts' webhooks. It is
// no tenant's name.
const AlertsTenant = "alerts="

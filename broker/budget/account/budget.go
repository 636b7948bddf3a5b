package account

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Unit is what a limit counts.
type Unit string

// The units. Jobs count once each, at their first attempt; where the scope
// depends on the candidate, once for each attempt there.
const (
	USD    Unit = "usd"
	Tokens Unit = "tokens"
	Jobs   Unit = "jobs"
)

// Policy is what becomes of a job for which a budget is exceeded.
type Policy string

// The policies.
const (
	// Wait: the job waits for the window to end, or for its deadline.
	Wait Policy = "wait"
	// Cheaper: another candidate that fits takes the job; where none does it
	// waits, as class batch.
	Cheaper Policy = "cheaper"
	// Reject: the job fails.
	Reject Policy = "reject"
)

// Policies lists the words that a policy may be.
func Policies() []string { return []string{string(Wait), string(Cheaper), string(Reject)} }

// Budget is a limit. It is a value.
type Budget struct {
	Scope      Scope
	Window     Window
	Unit       Unit
	Limit      int64 // nano-dollars, tokens or jobs
	OnExceeded Policy
	// AllowUnknown lets attempts without a known price through a limit in
	// dollars. Their cost is not known, so it counts as nothing.
	AllowUnknown bool
	// Estimate counts attempts that were cut, of which only the provider knows
	// the cost, as their records estimate them: the limit then holds for
	// estimates. Without it they count as their worst case.
	Estimate bool
	// Alerts are the shares of the limit, in percent, at which a spent budget
	// raises an event, ascending.
	Alerts []int
}

// MaxID is the most bytes of a budget's ID. It becomes a part of a subject,
// three times as long at worst, and a NATS server closes the connection of who
// names a subject of 4 KiB.
const MaxID = 1024

// ID names the budget: scope, unit and window, such as "tenant:acme usd/day".
// Limit, policy and zone may change and it is still the same budget.
func (b *Budget) ID() string {
	return b.Scope.String() + " " + string(b.Unit) + "/" + b.Window.String()
}

// Amount is what the draw takes of this budget.
func (b *Budget) Amount(c *Draw) int64 {
	switch b.Unit {
	case USD:
		return c.USD
	case Tokens:
		return c.Tokens
	}
	if c.First || b.Scope.OfCandidate() {
		return 1
	}
	return 0
}

// spent is what an ended attempt takes of this budget; see Of.
func (b *Budget) spent(known, most *Draw) int64 {
	if b.Estimate {
		return b.Amount(known)
	}
	return b.Amount(most)
}

// Show writes an amount of the budget's unit for people.
func (b *Budget) Show(n int64) string {
	switch b.Unit {
	case USD:
		s := strings.TrimRight(wire.NanoUSD(n).String(), "0")
		return "$" + strings.TrimSuffix(s, ".")
	case Tokens:
		return strconv.FormatInt(n, 10) + " tokens"
	}
	return strconv.FormatInt(n, 10) + " jobs"
}

// Definition is a Budget as text: what a configuration, an administrator or a
// stored override says. Zero values take their defaults in Parse.
type Definition struct {
	Scope        string        `json:"scope"`
	LimitUSD     *wire.NanoUSD `json:"limit_nano_usd,omitempty"`
	LimitTokens  *int64        `json:"limit_tokens,omitempty"`
	LimitJobs    *int64        `json:"limit_jobs,omitempty"`
	Window       string        `json:"window,omitempty"` // default day
	Rolling      bool          `json:"rolling,omitempty"`
	Zone         string        `json:"zone,omitempty"`          // default UTC
	OnExceeded   string        `json:"on_exceeded,omitempty"`   // default wait
	UnknownPrice string        `json:"unknown_price,omitempty"` // refuse (default) or allow
	UnknownCost  string        `json:"unknown_cost,omitempty"`  // worst (default) or estimate
	Alerts       []int         `json:"alerts,omitempty"`        // default 50, 80, 100; [0]: none
}

// DefaultAlerts are the percents at which events are raised.
func DefaultAlerts() []int { return []int{50, 80, 100} }

// Fault is one thing that is wrong with a definition: of which field, and
// what it must be.
type Fault struct{ Field, Bound string }

// Parse reads a definition, and lists everything that is wrong with it.
func (d *Definition) Parse() (Budget, []Fault) {
	b := Budget{OnExceeded: Wait, Alerts: DefaultAlerts()}
	var faults []Fault
	bad := func(field, bound string) { faults = append(faults, Fault{field, bound}) }
	var err error
	if b.Scope, err = ParseScope(d.Scope); err != nil {
		bad("scope", err.Error())
	}
	span := d.Window
	if span == "" {
		span = string(Day)
	}
	if b.Window, err = ParseWindow(span, d.Rolling, ""); err != nil {
		bad("window", err.Error())
	} else if b.Window, err = ParseWindow(span, d.Rolling, d.Zone); err != nil {
		bad("zone", err.Error())
	}
	d.limit(&b, bad)
	if d.OnExceeded != "" {
		b.OnExceeded = Policy(d.OnExceeded)
	}
	if !slices.Contains(Policies(), string(b.OnExceeded)) {
		bad("on_exceeded", "must be "+strings.Join(Policies(), ", "))
	}
	switch d.UnknownPrice {
	case "", "refuse":
	case "allow":
		b.AllowUnknown = true
	default:
		bad("unknown_price", "must be refuse or allow")
	}
	switch d.UnknownCost {
	case "", "worst":
	case "estimate":
		b.Estimate = true
	default:
		bad("unknown_cost", "must be worst or estimate")
	}
	if d.Alerts != nil {
		b.Alerts = slices.DeleteFunc(slices.Clone(d.Alerts), func(n int) bool { return n == 0 })
		slices.Sort(b.Alerts)
		if len(b.Alerts) > 0 && (b.Alerts[0] < 1 || b.Alerts[len(b.Alerts)-1] > 1000) || len(b.Alerts) > 16 {
			bad("alerts", "must be at most 16 percents of the limit, from 1 to 1000")
		}
	}
	if len(faults) == 0 && len(b.ID()) > MaxID {
		bad("scope", fmt.Sprintf("must be shorter: with window and zone, a budget's ID may have %d bytes", MaxID))
	}
	return b, faults
}

func (d *Definition) limit(b *Budget, bad func(field, bound string)) {
	given := 0
	set := func(u Unit, field string, n int64) {
		given++
		b.Unit, b.Limit = u, n
		if n <= 0 {
			bad(field, "must be above 0")
		}
	}
	if d.LimitUSD != nil {
		set(USD, "limit_usd", int64(*d.LimitUSD))
	}
	if d.LimitTokens != nil {
		set(Tokens, "limit_tokens", *d.LimitTokens)
	}
	if d.LimitJobs != nil {
		set(Jobs, "limit_jobs", *d.LimitJobs)
	}
	if given != 1 {
		bad("limit_usd", "must be the one limit: exactly one of limit_usd, limit_tokens and limit_jobs is given")
	}
}

// Error is the faults as one sentence.
func Error(faults []Fault) string {
	parts := make([]string, len(faults))
	for i, f := range faults {
		parts[i] = fmt.Sprintf("%s %s", f.Field, f.Bound)
	}
	return strings.Join(parts, "; ")
}

// Define is the definition that parses into the budget.
func (b *Budget) Define() Definition {
	d := Definition{Scope: b.Scope.String(), Window: string(b.Window.Span), Rolling: b.Window.Rolling, OnExceeded: string(b.OnExceeded), UnknownPrice: "refuse", UnknownCost: "worst", Alerts: b.Alerts}
	if len(d.Alerts) == 0 {
		d.Alerts = []int{0}
	}
	if z := b.Window.zone().String(); z != "UTC" {
		d.Zone = z
	}
	if b.AllowUnknown {
		d.UnknownPrice = "allow"
	}
	if b.Estimate {
		d.UnknownCost = "estimate"
	}
	n := b.Limit
	switch b.Unit {
	case USD:
		usd := wire.NanoUSD(n)
		d.LimitUSD = &usd
	case Tokens:
		d.LimitTokens = &n
	default:
		d.LimitJobs = &n
	}
	return d
}

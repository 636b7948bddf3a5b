package alert

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Rules say what is looked for. A threshold of 0 turns its kind off.
type Rules struct {
	Every    time.Duration // between two looks; 0: none
	Window   time.Duration // that is judged
	Baseline time.Duration // before it, that it is compared with

	RaiseAfter int // bad looks in a row
	ClearAfter int // good looks in a row
	Samples    int // fewer attempts or jobs in a window say nothing

	ErrorRate    float64 // share of a pool's attempts that may fail
	LatencyShift float64 // part of the usual by which it may be more
	CostShift    float64
	ShareShift   float64 // how far a candidate's share may be off
	BudgetBurn   float64 // budgets a window
	Unpriced     bool

	// Shares are the strategies that spread jobs by weights alone.
	Shares  []string
	Budgets []Budget
	// Webhooks are URLs to call.
	Webhooks []string
}

// Budget is a limit on what attempts may take in a window.
type Budget struct {
	ID     string
	Where  map[string]string // dimensions of attempts
	Tenant string            // that it names, or ""
	Unit   Unit
	Limit  int64 // nano-dollars, tokens or jobs
	Window time.Duration
}

// with is the rules with further budgets, each in place of that of its ID.
func (r *Rules) with(set []Budget) *Rules {
	x := *r
	x.Budgets = slices.DeleteFunc(slices.Clone(r.Budgets), func(b Budget) bool {
		return slices.ContainsFunc(set, func(s Budget) bool { return s.ID == b.ID })
	})
	x.Budgets = append(x.Budgets, set...)
	return &x
}

// Unit is what a budget limits.
type Unit string

// The units of budgets.
const (
	USD    Unit = "usd"
	Tokens Unit = "tokens"
	Jobs   Unit = "jobs"
)

// of is what a group of attempts takes from a budget.
func (u Unit) of(r *store.CostRow) float64 {
	switch u {
	case Tokens:
		return float64(r.Usage.Total())
	case Jobs:
		return float64(r.Jobs)
	}
	return float64(r.Spend)
}

// finding is what one look says of one thing.
type finding struct {
	wire.Alert
	bad   bool // beyond the threshold
	good  bool // clearly not
	facts bool // no matter of chance: one look is enough
}

// easing is the part of a threshold below which a value is clearly good.
const easing = 0.8

// judged sets what the value means.
func (f finding) judged(bad bool) finding {
	f.bad, f.good = bad, f.Value < easing*f.Threshold
	return f
}

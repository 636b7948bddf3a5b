package steer

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Explanation is what would become of a job, and why.
type Explanation struct {
	Tenant      string         `json:"tenant"`
	Route       string         `json:"route"` // asked for
	Class       wire.Class     `json:"class"`
	AskedClass  wire.Class     `json:"asked_class,omitempty"` // if a rule has set Class
	Deadline    string         `json:"deadline,omitempty"`    // RFC 3339
	MaxAttempts int            `json:"max_attempts,omitempty"`
	Require     []router.Label `json:"require,omitempty"`
	Prefer      []router.Label `json:"prefer,omitempty"`
	Rules       []string       `json:"rules"`        // that match
	Failed      []string       `json:"rules_failed"` // that cannot be evaluated
	// Decisions are the decisions, down the fallback chain, in order.
	Decisions []Tried `json:"decisions"`
	// Decision is what the ledger would record: the one that chose or, if none
	// did, the first.
	Decision  *wire.Decision `json:"decision"`
	MaxTokens int64          `json:"max_tokens,omitempty"` // that a fallback allows
	// Waits says that a job without a choice waits and does not fail, Until
	// when the clock alone helps; RFC 3339, empty if that is not known.
	Waits bool   `json:"waits,omitempty"`
	Until string `json:"until,omitempty"`
	// Later are the steps of the fallback chain that were not come to.
	Later []string `json:"later,omitempty"`
	// Budget is what the budgets say to the choice, if one stands in its way.
	Budget *Bound `json:"budget,omitempty"`
}

// Tried is one decision of an explanation.
type Tried struct {
	Step     string         `json:"step"` // of the fallback chain; empty: the route itself
	Decision *wire.Decision `json:"decision"`
	Budgets  []Bound        `json:"budgets,omitempty"` // what they say to the candidates that they bind
}

// Bound is what the budgets say to a candidate.
type Bound struct {
	Pool  string `json:"pool"`
	Model string `json:"model"`
	// Says is fits, crowded (others hold what is left), exceeded, never (it is
	// above the whole limit) or unpriced; Budget, if it does not fit, the ID of
	// the one that stands in the way, Then what it does if it is exceeded.
	Says   string `json:"says"`
	Budget string `json:"budget,omitempty"`
	Then   string `json:"on_exceeded,omitempty"`
	Until  string `json:"until,omitempty"` // RFC 3339: when time alone makes room
	// What would be held: the worst case. No USD: it is not known.
	USD    *wire.NanoUSD `json:"hold_nano_usd,omitempty"`
	Tokens int64         `json:"hold_tokens"`
}

// Judge asks the budgets about the candidates of a try: which are ruled out
// (router.Input.Barred), and what is said to those that are bound.
type Judge func(*Try) ([]router.Reason, []Bound)

// View is what an explanation sees beside the job: what Decide takes.
type View struct {
	Table *router.Table
	Load  []router.Load
	Stats []router.Stats
	Tier  func(tenant string) string // nil: tenants have none
	Judge Judge                      // nil: there are no budgets
	Now   time.Time
}

// ExplainMessage is Explain for a message as a client would publish it, with
// the headers of an explain request. An error is a *wire.Error.
func (p *Plan) ExplainMessage(v *View, header map[string][]string, body []byte) (*Explanation, error) {
	get := func(name, def string) string {
		if v := header[name]; len(v) > 0 {
			return v[0]
		}
		return def
	}
	tenant := get(wire.HeaderTenant, "default")
	waited, err := time.ParseDuration(get(wire.HeaderWaited, "0s"))
	if err != nil || waited < 0 {
		return nil, wire.Errorf(wire.CodeInvalidHeader, wire.HeaderWaited, "the header %s must be a duration such as 90s", wire.HeaderWaited)
	}
	job, fault := wire.ParseJob(tenant, wire.Class(get(wire.HeaderClass, string(wire.Standard))), header, body, 1, v.Now.Add(-waited))
	if fault != nil {
		return nil, fault
	}
	return p.Explain(v, &job.Meta)
}

// Explain says what would become of a job now; its Meta is not changed. An
// error, a *wire.Error, says that its route does not exist.
func (p *Plan) Explain(v *View, job *wire.Meta) (*Explanation, error) {
	m, tier := *job, ""
	if v.Tier != nil {
		tier = v.Tier(m.Tenant)
	}
	c := p.Steer(v.Table, &m, tier, 1, v.Now)
	if _, ok := v.Table.Route(c.Route); !ok {
		return nil, wire.Errorf(wire.CodeUnknownRoute, "model", "no route is called %.80q: see the configured routes with `sluice route list`", m.Route)
	}
	in := router.Input{Meta: &m, Progress: &wire.Progress{}, Now: v.Now.UnixNano(), Tier: tier, Needs: router.Capability(m.Needs), Stats: v.Stats}
	c.Input(&in)
	e := &Explanation{Tenant: m.Tenant, Route: m.Route, Class: m.Class, AskedClass: m.AskedClass, MaxAttempts: c.MaxAttempts, Deadline: stamp(m.Deadline),
		Require: c.Require, Prefer: c.Prefer, Rules: append([]string{}, c.Rules...), Failed: append([]string{}, c.Failed...), Decisions: []Tried{}}
	steps := p.chain(&c)
	var bounds []Bound
	ch := Choice{Each: func(y *Try) {
		tried := Tried{Decision: y.Decision(v.Load), Budgets: bounds}
		if y.Step > 0 {
			tried.Step = steps[y.Step-1].String()
		}
		e.Decisions = append(e.Decisions, tried)
	}}
	if v.Judge != nil {
		ch.Bar = func(y *Try) (barred []router.Reason) {
			barred, bounds = v.Judge(y)
			return barred
		}
	}
	p.Decide(v.Table, v.Load, &c, in, func(string) uint64 { return 0 }, &ch)
	e.Decision, e.MaxTokens = c.Decision(v.Load, &ch), ch.MaxTokens
	e.Budget = e.bound()
	if ch.Candidate() == nil {
		e.Waits, e.Until = ch.Full, stamp(ch.Until)
	}
	last := 0
	if n := len(e.Decisions); n > 0 {
		last = e.Decisions[n-1].Decision.Fallback
	}
	for _, s := range steps[last:] {
		e.Later = append(e.Later, s.String())
	}
	return e, nil
}

// bound is what the budgets say to the choice, nil if it fits.
func (e *Explanation) bound() *Bound {
	for _, t := range e.Decisions {
		for i := range t.Budgets {
			b := &t.Budgets[i]
			if t.Decision.Fallback == e.Decision.Fallback && b.Pool == e.Decision.Pool && b.Model == e.Decision.Model && b.Budget != "" {
				return b
			}
		}
	}
	return nil
}

func stamp(at int64) string {
	if at == 0 {
		return ""
	}
	return time.Unix(0, at).UTC().Format(time.RFC3339)
}

// String is the step for people.
func (s Step) String() string {
	if s.Wait > 0 {
		return "wait " + s.Wait.String()
	}
	var parts []string
	if s.Route != "" {
		parts = append(parts, "route "+s.Route)
	}
	if s.MaxTokens > 0 {
		parts = append(parts, fmt.Sprintf("at most %d tokens", s.MaxTokens))
	}
	return strings.Join(parts, ", ")
}

// Chain is the fallback chain of a route, nil if it has none. The caller must
// not change it.
func (p *Plan) Chain(route string) []Step { return p.chain(&Course{Base: route}) }

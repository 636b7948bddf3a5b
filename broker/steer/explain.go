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
}

// Tried is one decision of an explanation.
type Tried struct {
	Step     string         `json:"step"` // of the fallback chain; empty: the route itself
	Decision *wire.Decision `json:"decision"`
}

// ExplainMessage is Explain for a message as a client would publish it, with
// the headers of an explain request. An error is a *wire.Error.
func (p *Plan) ExplainMessage(t *router.Table, load []router.Load, stats []router.Stats, header map[string][]string, body []byte, tier func(tenant string) string, now time.Time) (*Explanation, error) {
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
	job, fault := wire.ParseJob(tenant, wire.Class(get(wire.HeaderClass, string(wire.Standard))), header, body, 1, now.Add(-waited))
	if fault != nil {
		return nil, fault
	}
	return p.Explain(t, load, stats, &job.Meta, tier(tenant), now)
}

// Explain says what would become of a job now; its Meta is not changed. An
// error, a *wire.Error, says that its route does not exist.
func (p *Plan) Explain(t *router.Table, load []router.Load, stats []router.Stats, job *wire.Meta, tier string, now time.Time) (*Explanation, error) {
	m := *job
	c := p.Steer(t, &m, tier, 1, now)
	if _, ok := t.Route(c.Route); !ok {
		return nil, wire.Errorf(wire.CodeUnknownRoute, "model", "no route is called %.80q: see the configured routes with `sluice route list`", m.Route)
	}
	in := router.Input{Meta: &m, Progress: &wire.Progress{}, Now: now.UnixNano(), Tier: tier, Needs: router.Capability(m.Needs), Stats: stats}
	c.Input(&in)
	e := &Explanation{Tenant: m.Tenant, Route: m.Route, Class: m.Class, AskedClass: m.AskedClass, MaxAttempts: c.MaxAttempts, Deadline: stamp(m.Deadline),
		Require: c.Require, Prefer: c.Prefer, Rules: append([]string{}, c.Rules...), Failed: append([]string{}, c.Failed...), Decisions: []Tried{}}
	steps := p.chain(&c)
	ch := Choice{Each: func(y *Try) {
		tried := Tried{Decision: y.Decision(load)}
		if y.Step > 0 {
			tried.Step = steps[y.Step-1].String()
		}
		e.Decisions = append(e.Decisions, tried)
	}}
	p.Decide(t, load, &c, in, func(string) uint64 { return 0 }, &ch)
	e.Decision, e.MaxTokens = ch.Decision(load), ch.MaxTokens
	c.note(e.Decision, &ch)
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

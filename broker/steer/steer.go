package steer

import (
	"time"

	"github.com/sluicehq/sluice/broker/rules"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Config is what a Plan is made of.
type Config struct {
	Rules *rules.Set // nil: none
	// Fallbacks are the chains by route; they are not to be changed any more.
	Fallbacks map[string][]Step
	// Experiments are by route, at most one each; they are not to be changed
	// any more.
	Experiments map[string]*Experiment
	// Rollouts are by route, at most one each and none where there is an
	// experiment; they are not to be changed any more.
	Rollouts map[string]*Rollout
	// Shadows are by route, at most one each; they are not to be changed any
	// more.
	Shadows map[string]*Shadow
}

// Plan is how jobs are steered. Make one with New; it is immutable. A nil
// Plan steers nothing.
type Plan struct {
	cfg    Config
	shares map[string]int // percent of the jobs that go to a rollout's green
}

// New makes a plan.
func New(c Config) *Plan { return &Plan{cfg: c} }

// Course is where a job goes, and who said so.
type Course struct {
	Route           string // that decides
	Base            string // whose fallback chain counts
	Require, Prefer []router.Label
	MaxAttempts     int // 0: as the worker is configured
	Rules, Failed   []string
	// Experiment that the job is in, and its variant; empty: none.
	Experiment, Variant string
}

// Steer takes a job's course and writes what rules say of class and deadline
// into its Meta. attempt is the one to be made, from 1.
func (p *Plan) Steer(t *router.Table, m *wire.Meta, tier string, attempt int, now time.Time) Course {
	if m.Shadow != "" {
		return p.shadowCourse(t, m)
	}
	if p == nil {
		return Course{Route: m.Route, Base: m.Route}
	}
	out := p.cfg.Rules.Match(&rules.Facts{Meta: m, Tier: tier, Attempt: attempt, Now: now})
	c := Course{Route: m.Route, Base: m.Route, Require: out.Require, Prefer: out.Prefer, MaxAttempts: out.MaxAttempts, Rules: out.Rules, Failed: out.Failed}
	if out.Route != "" {
		if _, ok := t.Route(out.Route); ok {
			c.Route, c.Base = out.Route, out.Route
		} else { // I2
			c.Failed = append(c.Failed, out.Router)
		}
	}
	p.vary(t, m, &c)
	class := m.Asked()
	m.Class, m.AskedClass = class, ""
	if out.Class != "" && out.Class != class {
		m.Class, m.AskedClass = out.Class, class
	}
	if out.Deadline > 0 { // counted from the submission, so that a second time gives the same (I3)
		if at := m.SubmittedAt + int64(out.Deadline); m.Deadline == 0 || at < m.Deadline {
			m.Deadline = at
		}
	}
	return c
}

// Experiments are the plan's by route. The caller must not change them.
func (p *Plan) Experiments() map[string]*Experiment {
	if p == nil {
		return nil
	}
	return p.cfg.Experiments
}

// vary puts the job into the experiment of its route.
func (p *Plan) vary(t *router.Table, m *wire.Meta, c *Course) {
	if r, ok := t.Route(c.Route); ok && r.Spec().Of != "" && c.Route == m.Route {
		c.Route, c.Base = "", "" // what only experiments name cannot be asked for
		return
	}
	name, v := "", (*Variant)(nil)
	if e := p.cfg.Experiments[c.Base]; e != nil {
		name, v = e.Name, e.Assign(m)
	} else if r := p.cfg.Rollouts[c.Base]; r != nil {
		name, v = r.Name, r.assign(m, p.shares[r.Name])
	}
	if v == nil {
		return
	}
	if v.Route != "" {
		if _, ok := t.Route(v.Route); !ok {
			return // I2: not in the experiment then
		}
		c.Route = v.Route
	}
	c.Experiment, c.Variant = name, v.Name
}

// Input adds to a decision's input what the course asks of it.
func (c *Course) Input(in *router.Input) { in.Require, in.Prefer = c.Require, c.Prefer }

// Attempt is attempt n of the job, as a choice that found a candidate says, with
// the decision that it records.
func (c *Course) Attempt(n int, t *router.Table, load []router.Load, ch *Choice) *wire.Attempt {
	cand := ch.Candidate()
	pool := &t.Pools()[cand.Pool]
	return &wire.Attempt{N: n, Pool: pool.Name, Provider: pool.Provider, Model: cand.Model, Region: pool.Region, Strategy: ch.Route.Strategy(),
		Price: cand.Price, MaxAttempts: c.MaxAttempts, MaxTokens: ch.MaxTokens, Decision: c.Decision(load, ch)}
}

// Decision is what is recorded of a choice; load is the one that was decided on.
func (c *Course) Decision(load []router.Load, ch *Choice) *wire.Decision {
	d := ch.Decision(load)
	c.note(d, ch)
	return d
}

// note adds the course to what is recorded of a choice.
func (c *Course) note(d *wire.Decision, ch *Choice) {
	d.Rules, d.Failed, d.Left, d.Next = c.Rules, c.Failed, ch.Left, ch.Next
	d.Experiment, d.Variant = c.Experiment, c.Variant
}

// chain is the fallback chain of a course.
func (p *Plan) chain(c *Course) []Step {
	if p == nil {
		return nil
	}
	return p.cfg.Fallbacks[c.Base]
}

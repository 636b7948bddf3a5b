package app

import (
	"maps"
	"slices"
	"sync"

	"github.com/sluicehq/sluice/broker/dispatch"
	"github.com/sluicehq/sluice/broker/rollout"
	"github.com/sluicehq/sluice/broker/rules"
	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// buildPlan makes the plan by which jobs are steered from the configuration.
func buildPlan(cfg *config.Config) (*steer.Plan, error) {
	var list []rules.Rule
	for _, r := range cfg.Rules {
		list = append(list, rules.Rule{Name: r.Name, When: r.When, Continue: r.Continue, Then: rules.Effect{
			Route: r.Then.Route, Require: labels(r.Then.Require), Prefer: labels(r.Then.Prefer), Class: wire.Class(r.Then.Class),
			MaxAttempts: r.Then.MaxAttempts, Deadline: r.Then.Deadline}})
	}
	set, err := rules.Compile(list)
	if err != nil {
		return nil, err
	}
	return steer.New(steer.Config{Rules: set, Fallbacks: fallbacks(cfg), Experiments: experiments(cfg), Rollouts: rollouts(cfg), Shadows: shadows(cfg)}), nil
}

// Steering makes the table and the plan that decide about jobs.
func Steering(cfg *config.Config) (*router.Table, *steer.Plan, error) {
	t, err := buildTable(cfg)
	if err != nil {
		return nil, nil, err
	}
	p, err := buildPlan(cfg)
	return t, p, err
}

// fallbacks are the routes' chains.
func fallbacks(cfg *config.Config) map[string][]steer.Step {
	out := map[string][]steer.Step{}
	for _, r := range cfg.Routes {
		for _, f := range r.Fallback {
			out[r.Model] = append(out[r.Model], steer.Step{Route: f.Route, MaxTokens: f.MaxTokens, Wait: f.Wait})
		}
	}
	return out
}

// experiments are the experiments by route.
func experiments(cfg *config.Config) map[string]*steer.Experiment {
	out := map[string]*steer.Experiment{}
	for i := range cfg.Experiments {
		e := &cfg.Experiments[i]
		x := &steer.Experiment{Name: e.Name, Key: e.Key}
		for j := range e.Variants {
			v := &e.Variants[j]
			x.Variants = append(x.Variants, steer.Variant{Name: v.Name, Weight: v.Weight, Route: e.RouteOf(v)})
		}
		out[e.Route] = x
	}
	return out
}

// rollouts are the rollouts by route.
func rollouts(cfg *config.Config) map[string]*steer.Rollout {
	out := map[string]*steer.Rollout{}
	for i := range cfg.Rollouts {
		r := &cfg.Rollouts[i]
		out[r.Route] = &steer.Rollout{Name: r.Name, Key: r.Key, To: r.RouteOf()}
	}
	return out
}

// shadows are the shadows by route.
func shadows(cfg *config.Config) map[string]*steer.Shadow {
	out := map[string]*steer.Shadow{}
	for i := range cfg.Shadows {
		s := &cfg.Shadows[i]
		out[s.Route] = &steer.Shadow{Name: s.Name, Share: s.Share, To: s.RouteOf()}
	}
	return out
}

// rolloutSpecs say how the rollouts go.
func rolloutSpecs(cfg *config.Config) (out []rollout.Spec) {
	for _, r := range cfg.Rollouts {
		out = append(out, rollout.Spec{Name: r.Name, Steps: r.Steps, Every: r.Every, MinSamples: r.MinSamples,
			MaxErrors: r.MaxErrors, MaxSlowdown: r.MaxSlowdown})
	}
	return out
}

// steering is the plan in force: what the configuration says, with the shares
// that rollouts have.
type steering struct {
	mu     sync.Mutex
	plan   *steer.Plan
	shares map[string]int
	to     *dispatch.Dispatcher
}

func (s *steering) set(p *steer.Plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan = p
	s.to.SetPlan(p.With(s.shares))
}

func (s *steering) share(shares map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shares = shares
	s.to.SetPlan(s.plan.With(shares))
}

// labels are the router's for the configuration's, by name.
func labels(m map[string]string) (out []router.Label) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, router.Label{Name: name, Value: m[name]})
	}
	return out
}

package app

import (
	"maps"
	"slices"

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
	return steer.New(steer.Config{Rules: set, Fallbacks: fallbacks(cfg), Experiments: experiments(cfg)}), nil
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

// labels are the router's for the configuration's, by name.
func labels(m map[string]string) (out []router.Label) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, router.Label{Name: name, Value: m[name]})
	}
	return out
}

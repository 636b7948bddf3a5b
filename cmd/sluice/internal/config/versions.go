package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Experiment splits a route's jobs between variants that are compared.
type Experiment struct {
	Name     string    `yaml:"name"`  // [A-Za-z0-9_-]{1,64}, unique among experiments and rollouts
	Route    string    `yaml:"route"` // a configured one, with no other experiment or rollout
	Key      string    `yaml:"key"`   // what stays together: affinity, tenant, job or label:<name>; default affinity
	Variants []Variant `yaml:"variants"`
}

// Variant is one of the ways that an experiment compares: another route,
// candidates of its own, or with neither the experiment's route itself.
type Variant struct {
	Name       string      `yaml:"name"`   // [A-Za-z0-9_-]{1,64}, unique in the experiment
	Weight     int         `yaml:"weight"` // share of the jobs, 0 to 1,000,000; default 1
	Route      string      `yaml:"route,omitempty"`
	Strategy   string      `yaml:"strategy,omitempty"` // of candidates; default: the experiment's route's
	Candidates []Candidate `yaml:"candidates,omitempty"`
}

// Bounds of an experiment and of a rollout.
const (
	MaxVariants = 32
	MaxSteps    = 100
)

func (e *Experiment) setDefaults() { e.Key = "affinity" }

func (x *Variant) setDefaults() { x.Weight = 1 }

// Rollout moves a route's jobs from the route (blue) to another version of it
// (green), by steps, and back by itself when green does worse.
type Rollout struct {
	Name  string        `yaml:"name"`  // [A-Za-z0-9_-]{1,64}, unique among experiments and rollouts; a new version has a new name
	Route string        `yaml:"route"` // a configured one, with no experiment or other rollout
	Key   string        `yaml:"key"`   // as of an experiment; default affinity
	To    Target        `yaml:"to"`
	Steps []int         `yaml:"steps"` // percent of the jobs, rising, the last 100; default 5, 25, 50, 100
	Every time.Duration `yaml:"every"` // a step lasts at least so long; 1s to 30 days; default 10m
	// MinSamples are the attempts of a version before anything is concluded; 1
	// to 1,000,000; default 50.
	MinSamples  int     `yaml:"min_samples"`
	MaxErrors   float64 `yaml:"max_errors"`   // green's share of failures above blue's; 0 to 1; default 0.05
	MaxSlowdown float64 `yaml:"max_slowdown"` // part by which green's median latency may be above blue's; 0 to 100; default 0.5
}

// Shadow mirrors a share of a route's jobs to another version of it. Nobody gets
// the answers; what they cost is recorded.
type Shadow struct {
	Name  string  `yaml:"name"`  // [A-Za-z0-9_-]{1,64}, unique
	Route string  `yaml:"route"` // a configured one, with no other shadow
	Share float64 `yaml:"share"` // of the jobs, 0 to 1; default 0.01
	To    Target  `yaml:"to"`
}

func (s *Shadow) setDefaults() { s.Share = 0.01 }

// RouteOf is the route that decides for the copies.
func (s *Shadow) RouteOf() string { return s.To.routeOf(s.Route, "shadow/"+s.Name) }

// Target is what decides for a version: another route, or candidates.
type Target struct {
	Route      string      `yaml:"route,omitempty"`
	Strategy   string      `yaml:"strategy,omitempty"` // of candidates; default: the route's
	Candidates []Candidate `yaml:"candidates,omitempty"`
}

func (r *Rollout) setDefaults() {
	r.Key, r.Every, r.MinSamples, r.MaxErrors, r.MaxSlowdown = "affinity", 10*time.Minute, 50, 0.05, 0.5
}

// RouteOf is the route that decides for green.
func (r *Rollout) RouteOf() string { return r.To.routeOf(r.Route, r.Name) }

func (t *Target) routeOf(route, name string) string {
	if len(t.Candidates) > 0 {
		return route + "@" + name
	}
	return t.Route
}

// Version is a route that an experiment or the like has made of candidates of
// its own.
type Version struct {
	Route
	Of string // the route that it is a version of
}

// RouteOf is the route that decides for a variant: the one that it names, the
// one made of its candidates, or the experiment's own.
func (e *Experiment) RouteOf(x *Variant) string {
	switch {
	case len(x.Candidates) > 0:
		return e.Route + "@" + e.Name + "/" + x.Name
	case x.Route != "":
		return x.Route
	}
	return e.Route
}

// Versions are the routes made of candidates that stand elsewhere than in
// routes. Clients cannot ask for them.
func (c *Config) Versions() (out []Version) {
	add := func(of, name, strategy string, list []Candidate) {
		base := c.Route(of)
		if base == nil || len(list) == 0 {
			return
		}
		r := *base
		r.Model, r.Candidates, r.Fallback = name, list, nil
		if strategy != "" {
			r.Strategy = strategy
		}
		out = append(out, Version{Route: r, Of: of})
	}
	for i := range c.Experiments {
		e := &c.Experiments[i]
		for j := range e.Variants {
			add(e.Route, e.RouteOf(&e.Variants[j]), e.Variants[j].Strategy, e.Variants[j].Candidates)
		}
	}
	for i := range c.Rollouts {
		r := &c.Rollouts[i]
		add(r.Route, r.RouteOf(), r.To.Strategy, r.To.Candidates)
	}
	for i := range c.Shadows {
		s := &c.Shadows[i]
		add(s.Route, s.RouteOf(), s.To.Strategy, s.To.Candidates)
	}
	return out
}

// completeVersions fills in what candidates of versions do not say.
func (d *decoder) completeVersions(c *Config, pools map[string]*Pool) {
	for i := range c.Experiments {
		e := &c.Experiments[i]
		for j := range e.Variants {
			d.completeCandidates(pools, e.Variants[j].Candidates, e.Route, at(at("experiments", i)+".variants", j))
		}
	}
	for i := range c.Rollouts {
		r := &c.Rollouts[i]
		d.completeCandidates(pools, r.To.Candidates, r.Route, at("rollouts", i)+".to")
		if len(r.Steps) == 0 {
			r.Steps = []int{5, 25, 50, 100}
		}
	}
	for i := range c.Shadows {
		s := &c.Shadows[i]
		d.completeCandidates(pools, s.To.Candidates, s.Route, at("shadows", i)+".to")
	}
}

// versions checks what routes' jobs are split by.
func (v *validator) versions() {
	names, routes := make(map[string]int), make(map[string]string)
	for i := range v.c.Experiments {
		e, key := &v.c.Experiments[i], at("experiments", i)
		v.name(key+".name", e.Name)
		v.unique(names, key+".name", e.Name, i)
		v.splits(routes, key+".route", e.Route, "experiment "+e.Name)
		v.splitKey(key+".key", e.Key)
		v.variants(key+".variants", e)
	}
	for i := range v.c.Rollouts {
		r, key := &v.c.Rollouts[i], at("rollouts", i)
		v.name(key+".name", r.Name)
		v.unique(names, key+".name", r.Name, i)
		v.splits(routes, key+".route", r.Route, "rollout "+r.Name)
		v.splitKey(key+".key", r.Key)
		v.target(key+".to", r.Route, &r.To)
		v.rollout(key, r)
	}
	v.shadows()
}

func (v *validator) shadows() {
	names, routes := make(map[string]int), make(map[string]int)
	for i := range v.c.Shadows {
		s, key := &v.c.Shadows[i], at("shadows", i)
		v.name(key+".name", s.Name)
		v.unique(names, key+".name", s.Name, i)
		v.routeName(key+".route", s.Route)
		v.unique(routes, key+".route", s.Route, i)
		v.share(key+".share", s.Share, 1)
		v.target(key+".to", s.Route, &s.To)
	}
}

// splitKey checks what stays together.
func (v *validator) splitKey(key, name string) {
	if label, ok := strings.CutPrefix(name, "label:"); ok {
		v.name(key, label)
		return
	}
	v.oneOf(key, name, []string{"affinity", "tenant", "job", "label:<name>"})
}

// target checks what decides for another version of a route.
func (v *validator) target(key, route string, t *Target) {
	v.version(key, t.Route, t.Strategy, t.Candidates)
	if len(t.Candidates) == 0 && (t.Route == "" || t.Route == route) {
		v.bad(key, "", "must have another route, or candidates")
	}
}

func (v *validator) rollout(key string, r *Rollout) {
	v.duration(key+".every", r.Every, time.Second, 30*day)
	v.number(key+".min_samples", int64(r.MinSamples), 1, 1_000_000)
	v.share(key+".max_errors", r.MaxErrors, 1)
	v.share(key+".max_slowdown", r.MaxSlowdown, 100)
	rising := len(r.Steps) <= MaxSteps
	for i, n := range r.Steps {
		rising = rising && n >= 0 && (i == 0 || n > r.Steps[i-1])
	}
	if !rising || r.Steps[len(r.Steps)-1] != 100 {
		v.bad(key+".steps", fmt.Sprint(r.Steps), fmt.Sprintf("must be up to %d rising percentages, the last 100", MaxSteps))
	}
}

// splits checks the route that something splits: one thing at most does.
func (v *validator) splits(taken map[string]string, key, route, by string) {
	v.routeName(key, route)
	if other := taken[route]; other != "" {
		v.bad(key, route, "is split by "+other+" already, and of a job in both nobody could say which of the two made the difference: add the variants to that one, or split another route")
	}
	taken[route] = by
}

func (v *validator) variants(key string, e *Experiment) {
	if n := len(e.Variants); n < 2 || n > MaxVariants {
		v.bad(key, strconv.Itoa(n)+" variants", fmt.Sprintf("must have 2 to %d variants", MaxVariants))
	}
	sum, seen := 0, make(map[string]int)
	for j := range e.Variants {
		x, key := &e.Variants[j], at(key, j)
		v.name(key+".name", x.Name)
		v.unique(seen, key+".name", x.Name, j)
		v.number(key+".weight", int64(x.Weight), 0, maxWeight)
		v.version(key, x.Route, x.Strategy, x.Candidates)
		sum += max(x.Weight, 0)
	}
	if sum == 0 && len(e.Variants) > 0 {
		v.bad(key, "", "must have at least one weight above 0")
	}
}

// version checks what decides for a version: a route or candidates.
func (v *validator) version(key, route, strategy string, list []Candidate) {
	if route != "" {
		v.routeName(key+".route", route)
	}
	switch {
	case route != "" && len(list) > 0:
		v.bad(key, "", "must have a route or candidates, not both")
	case strategy != "" && len(list) == 0:
		v.bad(key+".strategy", strategy, "needs candidates")
	case strategy != "":
		v.oneOf(key+".strategy", strategy, v.src.Strategies)
	}
	if len(list) > 0 {
		v.candidates(key+".candidates", list)
	}
}

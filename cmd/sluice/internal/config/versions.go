package config

import (
	"fmt"
	"strconv"
	"strings"
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

// MaxVariants of an experiment.
const MaxVariants = 32

func (e *Experiment) setDefaults() { e.Key = "affinity" }

func (x *Variant) setDefaults() { x.Weight = 1 }

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
}

// versions checks what routes' jobs are split by.
func (v *validator) versions() {
	names, routes := make(map[string]int), make(map[string]string)
	for i := range v.c.Experiments {
		e, key := &v.c.Experiments[i], at("experiments", i)
		v.name(key+".name", e.Name)
		v.unique(names, key+".name", e.Name, i)
		v.splits(routes, key+".route", e.Route, "experiment "+e.Name)
		if label, ok := strings.CutPrefix(e.Key, "label:"); !ok {
			v.oneOf(key+".key", e.Key, []string{"affinity", "tenant", "job", "label:<name>"})
		} else {
			v.name(key+".key", label)
		}
		v.variants(key+".variants", e)
	}
}

// splits checks the route that something splits: one thing at most does.
func (v *validator) splits(taken map[string]string, key, route, by string) {
	v.routeName(key, route)
	if other := taken[route]; other != "" {
		v.bad(key, route, "is split by "+other+" already: a route has one experiment or rollout at most")
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

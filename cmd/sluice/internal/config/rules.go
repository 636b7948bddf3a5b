package config

import (
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// rules checks names, expressions and what follows from them.
func (v *validator) rules() {
	seen := make(map[string]int)
	for i := range v.c.Rules {
		r, key := &v.c.Rules[i], at("rules", i)
		v.name(key+".name", r.Name)
		v.unique(seen, key+".name", r.Name, i)
		switch {
		case strings.TrimSpace(r.When) == "":
			v.bad(key+".when", "", "is missing: a rule needs a CEL expression, such as tenant == \"acme\"; true is always")
		case v.src.CheckRule != nil:
			if err := v.src.CheckRule(r.When); err != nil {
				v.bad(key+".when", r.When, err.Error())
			}
		}
		v.then(key+".then", &r.Then)
	}
}

func (v *validator) then(key string, t *Then) {
	if t.Route == "" && len(t.Require)+len(t.Prefer) == 0 && t.Class == "" && t.MaxAttempts == 0 && t.Deadline == 0 {
		v.bad(key, "", "must have at least one of route, require, prefer, class, max_attempts, deadline")
	}
	if t.Route != "" {
		v.routeName(key+".route", t.Route)
	}
	v.labels(key+".require", t.Require)
	v.labels(key+".prefer", t.Prefer)
	if t.Class != "" && !wire.Class(t.Class).Valid() {
		v.bad(key+".class", t.Class, "must be interactive, standard or batch")
	}
	if t.MaxAttempts != 0 {
		v.number(key+".max_attempts", int64(t.MaxAttempts), 1, 100)
	}
	if t.Deadline != 0 {
		v.duration(key+".deadline", t.Deadline, time.Second, 366*day)
	}
}

// labels checks labels and the values they must have.
func (v *validator) labels(key string, list map[string]string) {
	for name, val := range list {
		v.text(key, name, 1, 64)
		v.text(key+"."+name, val, 0, 256)
	}
}

// routeName checks that a route is configured.
func (v *validator) routeName(key, name string) {
	if v.c.Route(name) == nil {
		v.bad(key, name, "is no route: there are "+strings.Join(v.routeNames(), ", "))
	}
}

// fallback checks a route's fallback chain.
func (v *validator) fallback(key string, r *Route) {
	for i := range r.Fallback {
		s, key := &r.Fallback[i], at(key, i)
		switch {
		case s.Wait != 0 && (s.Route != "" || s.MaxTokens != 0):
			v.bad(key, "", "must be a wait, or a route and max_tokens: a wait is a step of its own")
		case s.Wait != 0:
			v.duration(key+".wait", s.Wait, time.Millisecond, 366*day)
		case s.MaxTokens == 0 && (s.Route == "" || s.Route == r.Model):
			v.bad(key, "", "must be one of wait, another route, or max_tokens")
		}
		if s.Route != "" {
			v.routeName(key+".route", s.Route)
		}
		v.number(key+".max_tokens", s.MaxTokens, 0, wire.MaxTokens)
	}
}

// maxNames bounds the names that a fault lists.
const maxNames = 20

func (v *validator) routeNames() []string {
	var names []string
	for i := range v.c.Routes {
		if len(names) == maxNames {
			return append(names, "…")
		}
		names = append(names, v.c.Routes[i].Model)
	}
	return names
}

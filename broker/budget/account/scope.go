package account

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Facts are what scopes look at: of a job, or of an attempt of it.
type Facts struct {
	Tenant   string            `json:"t,omitempty"`
	Key      string            `json:"k,omitempty"` // that it was submitted with, as wire.KeyName says it
	Route    string            `json:"r,omitempty"`
	Pool     string            `json:"p,omitempty"`
	Provider string            `json:"pr,omitempty"`
	Model    string            `json:"m,omitempty"` // the upstream model
	Labels   map[string]string `json:"l,omitempty"`
}

// Dimension is what a term of a scope is about.
type Dimension string

// The dimensions, the most selective first: a budget is found by its first.
const (
	Label    Dimension = "label"
	Key      Dimension = "key"
	Tenant   Dimension = "tenant"
	Route    Dimension = "route"
	Model    Dimension = "model"
	Pool     Dimension = "pool"
	Provider Dimension = "provider"
)

// Dimensions lists them in the order in which a scope is written.
func Dimensions() []Dimension {
	return []Dimension{Label, Key, Tenant, Route, Model, Pool, Provider}
}

// Global is the scope of everything.
const Global = "global"

// Term is one condition: a dimension has a value. Of a label, Value is
// name=value.
type Term struct {
	Dimension Dimension
	Value     string
}

// Scope is what a budget is for: what fulfils all its terms. Without terms it
// is everything. Make one with ParseScope; it must not be changed.
type Scope struct{ terms []Term }

var errScope = errors.New(`must be global, or terms with commas between, such as "tenant:acme,model:gpt-4o": ` +
	`tenant:, key:, provider:, pool:, model:, route: and a name, or label:name=value`)

var errKey = errors.New("must name a key as key:<tenant>/<name>, or a tenant's own as key:<tenant>")

// ParseScope reads a scope such as "global", "tenant:acme" or
// "tenant:acme,label:team=search". The order of terms means nothing; several
// labels may be named, every other dimension once.
func ParseScope(text string) (Scope, error) {
	if strings.TrimSpace(text) == Global {
		return Scope{}, nil
	}
	var s Scope
	for part := range strings.SplitSeq(text, ",") {
		dim, value, ok := strings.Cut(strings.TrimSpace(part), ":")
		d := Dimension(dim)
		if !ok || value == "" || !slices.Contains(Dimensions(), d) {
			return Scope{}, errScope
		}
		if d == Label {
			name, v, ok := strings.Cut(value, "=")
			if !ok || name == "" {
				return Scope{}, errScope
			}
			value = strings.ToLower(name) + "=" + v
		}
		if tenant, name, named := strings.Cut(value, "/"); d == Key && (!wire.ValidName(tenant) || named && !wire.ValidName(name)) {
			return Scope{}, errKey
		}
		if slices.ContainsFunc(s.terms, func(t Term) bool { return t.Dimension == d && (d != Label || labelName(t.Value) == labelName(value)) }) {
			return Scope{}, fmt.Errorf("names %s twice: no job fulfils both", part)
		}
		s.terms = append(s.terms, Term{d, value})
	}
	if t, _ := s.Tenant(); slices.ContainsFunc(s.terms, func(x Term) bool { return x.Dimension == Tenant && x.Value != t }) {
		return Scope{}, fmt.Errorf("names a key of %s beside another tenant: no job fulfils both", t)
	}
	slices.SortFunc(s.terms, func(a, b Term) int {
		if d := slices.Index(Dimensions(), a.Dimension) - slices.Index(Dimensions(), b.Dimension); d != 0 {
			return d
		}
		return strings.Compare(a.Value, b.Value)
	})
	return s, nil
}

func labelName(v string) string { name, _, _ := strings.Cut(v, "="); return name }

// Terms lists the scope's conditions; the caller must not change them.
func (s Scope) Terms() []Term { return s.terms }

// String is the scope in its one canonical spelling.
func (s Scope) String() string {
	if len(s.terms) == 0 {
		return Global
	}
	parts := make([]string, len(s.terms))
	for i, t := range s.terms {
		parts[i] = string(t.Dimension) + ":" + t.Value
	}
	return strings.Join(parts, ",")
}

// Matches reports whether the facts fulfil every term.
func (s Scope) Matches(f *Facts) bool {
	for i := range s.terms {
		if !s.terms[i].matches(f) {
			return false
		}
	}
	return true
}

func (t *Term) matches(f *Facts) bool {
	switch t.Dimension {
	case Label:
		name, value, _ := strings.Cut(t.Value, "=")
		got, ok := f.Labels[name]
		return ok && got == value
	case Key:
		return f.Key == t.Value
	case Tenant:
		return f.Tenant == t.Value
	case Route:
		return f.Route == t.Value
	case Model:
		return f.Model == t.Value
	case Pool:
		return f.Pool == t.Value
	case Provider:
		return f.Provider == t.Value
	}
	return false
}

// Tenant is whose jobs alone can fulfil the scope: it names the tenant, or one of
// its keys. False: anybody's can.
func (s Scope) Tenant() (name string, ok bool) {
	for _, t := range s.terms {
		switch t.Dimension {
		case Key:
			name, _, _ = strings.Cut(t.Value, "/")
			return name, true
		case Tenant:
			name, ok = t.Value, true
		}
	}
	return name, ok
}

// OfJob reports whether the scope has a term that jobs of one tenant and route
// may differ in: a label, a key, or the name that the client asked for.
func (s Scope) OfJob() bool {
	return slices.ContainsFunc(s.terms, func(t Term) bool {
		return t.Dimension == Label || t.Dimension == Key || t.Dimension == Route
	})
}

// OfCandidate reports whether the scope depends on where a job goes: a budget
// that is used up then only closes some of the candidates.
func (s Scope) OfCandidate() bool {
	return slices.ContainsFunc(s.terms, func(t Term) bool {
		return t.Dimension == Model || t.Dimension == Pool || t.Dimension == Provider
	})
}

// index finds the budgets that may bind facts: each is under its first term.
type index struct {
	all   []*counter
	by    map[Dimension]map[string][]*counter
	found []*counter // of the last find
}

func newIndex(counters []*counter) index {
	x := index{by: map[Dimension]map[string][]*counter{}}
	for _, c := range counters {
		terms := c.Budget.Scope.terms
		if len(terms) == 0 {
			x.all = append(x.all, c)
			continue
		}
		m := x.by[terms[0].Dimension]
		if m == nil {
			m = map[string][]*counter{}
			x.by[terms[0].Dimension] = m
		}
		m[terms[0].Value] = append(m[terms[0].Value], c)
	}
	return x
}

// find lists the counters whose scopes match. The list is good until the next
// find.
func (x *index) find(f *Facts) []*counter {
	x.found = append(x.found[:0], x.all...)
	for d, m := range x.by {
		switch d {
		case Label:
			for name, value := range f.Labels {
				x.matching(m[name+"="+value], f)
			}
		case Key:
			x.matching(m[f.Key], f)
		case Tenant:
			x.matching(m[f.Tenant], f)
		case Route:
			x.matching(m[f.Route], f)
		case Model:
			x.matching(m[f.Model], f)
		case Pool:
			x.matching(m[f.Pool], f)
		case Provider:
			x.matching(m[f.Provider], f)
		}
	}
	return x.found
}

func (x *index) matching(list []*counter, f *Facts) {
	for _, c := range list {
		if c.Budget.Scope.Matches(f) {
			x.found = append(x.found, c)
		}
	}
}

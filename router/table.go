package router

import (
	"maps"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Table is the compiled configuration of pools and routes. It is immutable
// and safe for concurrent use.
type Table struct {
	pools     []Pool
	allowance [][numClasses]int32 // by pool, class
	index     map[string]int      // pool name to index
	targets   []Target            // sorted
	routes    map[string]*Route
	sorted    []*Route // by name
}

// Target is a (pool, upstream model) pair that some route names: what
// outcomes are measured for.
type Target struct {
	Pool  int // index of the pool
	Model string
}

// Route is a compiled RouteSpec.
type Route struct {
	name       string
	strategy   *strategy
	spec       RouteSpec // candidates sorted (I2), defaults applied
	candidates []Candidate
	compiled   []candidate
	initial    []Verdict // with the reasons that depend on nothing
	open       []int32   // candidates without such a reason
	weights    []uint64  // by candidate
	traits     traits
	dimensions []dimension // of strategy multi_dimensional
}

// Candidate is a candidate of a compiled route.
type Candidate struct {
	Pool     int // index of the pool
	PoolName string
	Model    string // the upstream model
	Weight   int
	Price    *wire.Price // nil: unknown; not to be changed
	Target   int         // index of the target
}

// NewTable compiles pools and routes and reports every fault at once, as a
// *TableError. It keeps copies of what it needs.
func NewTable(pools []Pool, routes []RouteSpec) (*Table, error) {
	t := &Table{pools: slices.Clone(pools), index: map[string]int{}, routes: map[string]*Route{}}
	var list []Fault
	f := faults{list: &list}
	for i := range t.pools {
		t.addPool(i, f)
	}
	for i := range routes {
		if t.checkRoute(&routes[i], f.at("routes[%s]", routes[i].Name)) {
			t.routes[routes[i].Name] = &Route{name: routes[i].Name, spec: normalised(&routes[i])}
		}
	}
	if len(list) > 0 {
		return nil, &TableError{Faults: list}
	}
	t.sortRoutes()
	t.collectTargets()
	for _, r := range t.sorted {
		t.compile(r)
	}
	return t, nil
}

func (t *Table) addPool(i int, f faults) {
	p := &t.pools[i]
	p.Labels, p.Endpoints = maps.Clone(p.Labels), slices.Clone(p.Endpoints)
	p.Tenants, p.TenantTiers = slices.Clone(p.Tenants), slices.Clone(p.TenantTiers)
	f = f.at("pools[%s]", p.Name)
	_, twice := t.index[p.Name]
	f.check(p.Name != "", ".name", i, "a name")
	f.check(!twice, ".name", p.Name, "unique")
	f.check(p.Weight >= 0 && p.Weight <= MaxWeight, ".weight", p.Weight, "from 0 to 1000000")
	f.check(p.Concurrency >= 0 && p.Concurrency <= MaxConcurrency, ".concurrency", p.Concurrency, "from 0 to 1000000")
	t.index[p.Name] = i
	var a [numClasses]int32
	for c, class := range classes {
		a[c] = int32(p.Allowance(class))
	}
	t.allowance = append(t.allowance, a)
}

func (t *Table) sortRoutes() {
	for _, r := range t.routes {
		t.sorted = append(t.sorted, r)
	}
	slices.SortFunc(t.sorted, func(a, b *Route) int { return strings.Compare(a.name, b.name) })
}

// collectTargets lists the distinct (pool, model) pairs, sorted.
func (t *Table) collectTargets() {
	for _, r := range t.sorted {
		for i := range r.spec.Candidates {
			c := &r.spec.Candidates[i]
			t.targets = append(t.targets, Target{t.index[c.Pool], c.Model})
		}
	}
	slices.SortFunc(t.targets, compareTargets)
	t.targets = slices.Compact(t.targets)
}

func compareTargets(a, b Target) int {
	if a.Pool != b.Pool {
		return a.Pool - b.Pool
	}
	return strings.Compare(a.Model, b.Model)
}

// Pools lists the pools in the order in which NewTable got them. The caller
// must not change them.
func (t *Table) Pools() []Pool { return t.pools }

// PoolIndex is the index of the named pool, -1 if there is none.
func (t *Table) PoolIndex(name string) int {
	if i, ok := t.index[name]; ok {
		return i
	}
	return -1
}

// Targets lists every (pool, upstream model) pair, sorted. The caller must
// not change them.
func (t *Table) Targets() []Target { return t.targets }

// TargetIndex is the index of the target, -1 if there is none.
func (t *Table) TargetIndex(pool int, model string) int {
	if i, ok := slices.BinarySearchFunc(t.targets, Target{pool, model}, compareTargets); ok {
		return i
	}
	return -1
}

// Route finds a route by name.
func (t *Table) Route(name string) (*Route, bool) {
	r, ok := t.routes[name]
	return r, ok
}

// Routes lists the routes, sorted by name. The caller must not change them.
func (t *Table) Routes() []*Route { return t.sorted }

// Name is the model name that clients ask for.
func (r *Route) Name() string { return r.name }

// Strategy is the name of the route's strategy.
func (r *Route) Strategy() string { return r.strategy.doc.Name }

// Candidates lists the candidates sorted by pool name and model: the order
// that Result.Choice and Result.Candidates refer to. The caller must not
// change them.
func (r *Route) Candidates() []Candidate { return r.candidates }

// Spec is the route's specification, candidates sorted, defaults applied. The
// caller must not change what it points to.
func (r *Route) Spec() RouteSpec { return r.spec }

// numClasses is the number of classes; their index is their place here.
const numClasses = 3

var classes = [numClasses]wire.Class{wire.Interactive, wire.Standard, wire.Batch}

// classIndex is the index of a class; one that is not known counts as
// standard.
func classIndex(c wire.Class) int {
	switch c {
	case wire.Interactive:
		return 0
	case wire.Batch:
		return 2
	}
	return 1
}

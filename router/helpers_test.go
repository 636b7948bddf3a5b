package router

import (
	"fmt"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

// meta is a plain job.
func meta() *wire.Meta {
	return &wire.Meta{
		ID: "j1", Tenant: "acme", Class: wire.Standard, Endpoint: wire.ChatCompletions, Route: "chat", BodyBytes: 400,
	}
}

// pools makes pools p0, p1, … with the concurrency.
func poolsOf(n, concurrency int) []Pool {
	pools := make([]Pool, n)
	for i := range pools {
		pools[i] = Pool{Name: fmt.Sprintf("p%d", i), Provider: "sim", Concurrency: concurrency}
	}
	return pools
}

// specOf makes a route over pools p0, p1, … with the weights.
func specOf(strategy string, weights ...int) RouteSpec {
	spec := RouteSpec{Name: "chat", Strategy: strategy}
	for i, w := range weights {
		spec.Candidates = append(spec.Candidates, CandidateSpec{Pool: fmt.Sprintf("p%d", i), Model: "m", Weight: w})
	}
	return spec
}

// fixture is a table with one route and a Result to reuse.
type fixture struct {
	table *Table
	route *Route
	load  []Load
	in    Input
	out   Result
}

func newFixture(t testing.TB, pools []Pool, spec RouteSpec) *fixture {
	t.Helper()
	table, err := NewTable(pools, []RouteSpec{spec})
	if err != nil {
		t.Fatal(err)
	}
	route, ok := table.Route(spec.Name)
	if !ok {
		t.Fatalf("no route %q", spec.Name)
	}
	return &fixture{table: table, route: route, load: make([]Load, len(pools)), in: Input{Meta: meta()}}
}

// simple is a fixture over p0, p1, … with room for all.
func simple(t testing.TB, strategy string, weights ...int) *fixture {
	return newFixture(t, poolsOf(len(weights), 1000), specOf(strategy, weights...))
}

// decide returns the name of the chosen pool, "-" if none was.
func (f *fixture) decide() string {
	f.table.Decide(f.route, f.load, &f.in, &f.out)
	if f.out.Choice < 0 {
		return "-"
	}
	return f.route.Candidates()[f.out.Choice].PoolName
}

// next is decide with the sequence moved on and fresh entropy.
func (f *fixture) next() string {
	name := f.decide()
	f.in.Sequence++
	f.in.Random = mix(f.in.Random + 1)
	return name
}

// counts are the choices of n decisions, by pool.
func (f *fixture) counts(n int) map[string]int {
	got := map[string]int{}
	for range n {
		got[f.next()]++
	}
	return got
}

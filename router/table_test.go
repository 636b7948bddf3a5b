package router

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestNewTableReportsEveryFault(t *testing.T) {
	pools := []Pool{{Name: "a"}, {Name: "a"}, {Name: ""}, {Name: "b", Weight: -1, Concurrency: MaxConcurrency + 1}}
	routes := []RouteSpec{
		{Name: "r", Strategy: "fastest", Candidates: []CandidateSpec{
			{Pool: "a", Model: "m", Weight: -2, Priority: -1, Quality: 1.5, Context: -1, MaxOutput: -1, Price: &wire.Price{Output: -1}},
			{Pool: "a", Model: "m", Weight: MaxWeight + 1, Schedule: &Schedule{}},
			{Pool: "nowhere", Schedule: &Schedule{Windows: []Hours{{Days: 128, From: -1, To: 1441}}}},
		}},
		{Name: "r", Strategy: "round_robin", Candidates: []CandidateSpec{{Pool: "a", Model: "m"}}},
		{Name: "", Strategy: "round_robin", Params: Params{
			Percentile: 42, Tolerance: math.NaN(), Bound: 0.5, OutputTokens: -1,
			Scorers: []ScorerWeight{{"load", -1}, {"load", 1}, {"luck", 1}},
		}},
	}
	table, err := NewTable(pools, routes)
	var te *TableError
	if table != nil || !errors.As(err, &te) {
		t.Fatalf("got %v, %v", table, err)
	}
	var keys []string
	for _, f := range te.Faults {
		keys = append(keys, f.Key)
		if f.Value == "" && !strings.HasSuffix(f.Key, ".name") && !strings.HasSuffix(f.Key, "model") || f.Bound == "" {
			t.Errorf("fault without value or bound: %s", f)
		}
	}
	want := `pools[a].name pools[].name pools[b].weight pools[b].concurrency
routes[r].strategy routes[r].candidates[0].weight routes[r].candidates[0].priority routes[r].candidates[0].quality
routes[r].candidates[0].context routes[r].candidates[0].max_output routes[r].candidates[0].price
routes[r].candidates[1].weight routes[r].candidates[1].schedule routes[r].candidates[1]
routes[r].candidates[2].pool routes[r].candidates[2].model routes[r].candidates[2].schedule.windows[0].days
routes[r].candidates[2].schedule.windows[0].from routes[r].candidates[2].schedule.windows[0].to
routes[r].model routes[].model routes[].candidates routes[].percentile routes[].tolerance routes[].bound
routes[].output_tokens routes[].scorers[0].weight routes[].scorers[1].scorer routes[].scorers[1].weight routes[].scorers[2].scorer`
	got := strings.Join(keys, " ")
	want = strings.ReplaceAll(strings.Join(strings.Fields(want), " "), " routes[].scorers[1].weight", "")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != len(te.Faults) {
		t.Errorf("%d lines for %d faults", n, len(te.Faults))
	}
}

func TestTableLookups(t *testing.T) {
	pools := poolsOf(3, 4)
	spec := RouteSpec{Name: "z", Strategy: "round_robin", Candidates: []CandidateSpec{
		{Pool: "p2", Model: "x", Weight: 1}, {Pool: "p0", Model: "y", Weight: 2}, {Pool: "p0", Model: "x", Weight: 3},
	}}
	other := specOf("round_robin", 1)
	table, err := NewTable(pools, []RouteSpec{spec, other})
	if err != nil {
		t.Fatal(err)
	}
	if table.PoolIndex("p2") != 2 || table.PoolIndex("no") != -1 || len(table.Pools()) != 3 {
		t.Error("pools")
	}
	if r := table.Routes(); len(r) != 2 || r[0].Name() != "chat" || r[1].Name() != "z" || r[1].Strategy() != "round_robin" {
		t.Errorf("routes %v", r)
	}
	if _, ok := table.Route("no"); ok {
		t.Error("found a route that is not there")
	}
	want := []Target{{0, "m"}, {0, "x"}, {0, "y"}, {2, "x"}}
	if got := table.Targets(); !reflect.DeepEqual(got, want) {
		t.Errorf("targets %v", got)
	}
	r, _ := table.Route("z")
	for i, want := range []string{"p0/x", "p0/y", "p2/x"} {
		c := r.Candidates()[i]
		if got := c.PoolName + "/" + c.Model; got != want || table.TargetIndex(c.Pool, c.Model) != c.Target {
			t.Errorf("candidate %d: %s target %d", i, got, c.Target)
		}
	}
	if spec.Candidates[0].Pool != "p2" {
		t.Error("NewTable sorted the caller's candidates")
	}
	if table.TargetIndex(1, "x") != -1 {
		t.Error("target that is not there")
	}
}

func TestDecisionRecord(t *testing.T) {
	f := simple(t, "least_connections", 2, 1, 0)
	f.load[0].Depth, f.load[1].Depth = 5, 1
	f.in.Sequence = 7
	f.decide()
	got := f.out.Decision(f.route, f.load, &f.in)
	want := &wire.Decision{Route: "chat", Strategy: "least_connections", Pool: "p1", Model: "m", Sequence: 7, Candidates: []wire.Candidate{
		{Pool: "p0", Model: "m", Weight: 2, Depth: 5, Score: 2.8333333333333335},
		{Pool: "p1", Model: "m", Weight: 1, Depth: 1, Score: 1.6666666666666665},
		{Pool: "p2", Model: "m", Excluded: "zero_weight"},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	f.load = nil
	f.in.Meta.Class = wire.Batch
	if f.decide() == "-" {
		t.Error("pools beyond the end of load are not idle")
	}
}

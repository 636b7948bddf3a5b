package router

import (
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

// barred is what the caller says of candidate i.
func (o *oracle) barred(i int) Reason {
	if i < len(o.in.Barred) {
		return o.in.Barred[i]
	}
	return Eligible
}

// TestBarred: the caller's reasons keep candidates from being chosen, and say
// whether waiting helps.
func TestBarred(t *testing.T) {
	table, err := NewTable([]Pool{{Name: "a", Concurrency: 4}, {Name: "b", Concurrency: 4}, {Name: "c", Concurrency: 1}},
		[]RouteSpec{{Name: "chat", Strategy: "least_connections", Candidates: []CandidateSpec{{Pool: "a", Model: "m", Weight: 1}, {Pool: "b", Model: "m", Weight: 1}, {Pool: "c", Model: "m"}}}})
	if err != nil {
		t.Fatal(err)
	}
	route, _ := table.Route("chat")
	for _, c := range []struct {
		name   string
		barred []Reason
		load   []Load
		choice int
		full   bool
		why    [3]Reason
	}{
		{"nothing", nil, []Load{{Depth: 3}, {}}, 1, false, [3]Reason{Eligible, Eligible, ZeroWeight}},
		{"the better one", []Reason{Eligible, OverBudget}, []Load{{Depth: 3}, {}}, 0, false, [3]Reason{Eligible, OverBudget, ZeroWeight}},
		{"short list", []Reason{OverBudget}, []Load{{}, {Depth: 3}}, 1, false, [3]Reason{OverBudget, Eligible, ZeroWeight}},
		{"long list", []Reason{Eligible, Eligible, OverBudget, OverBudget}, []Load{{}, {Depth: 3}}, 0, false, [3]Reason{Eligible, Eligible, ZeroWeight}},
		{"all for now", []Reason{OverBudget, OverBudget}, nil, -1, true, [3]Reason{OverBudget, OverBudget, ZeroWeight}},
		{"one for good", []Reason{BeyondBudget, OverBudget}, nil, -1, true, [3]Reason{BeyondBudget, OverBudget, ZeroWeight}},
		{"all for good", []Reason{BeyondBudget, PriceUnknown}, nil, -1, false, [3]Reason{BeyondBudget, PriceUnknown, ZeroWeight}},
		{"before the load", []Reason{OverBudget, Eligible}, []Load{{Down: true}, {Depth: 8}}, -1, true, [3]Reason{OverBudget, Full, ZeroWeight}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r Result
			in := Input{Meta: &wire.Meta{Class: wire.Standard}, Barred: c.barred}
			table.Decide(route, c.load, &in, &r)
			if r.Choice != c.choice || r.Full != c.full {
				t.Errorf("choice %d, full %v; want %d, %v", r.Choice, r.Full, c.choice, c.full)
			}
			for i, why := range c.why {
				if r.Candidates[i].Excluded != why {
					t.Errorf("candidate %d: %q, want %q", i, r.Candidates[i].Excluded, why)
				}
			}
			if again, _, err := Replay(table.Capture(route, c.load, &in)); err != nil || again.Choice != r.Choice {
				t.Errorf("replayed: %v, %v", again, err)
			}
		})
	}
}

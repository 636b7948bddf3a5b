package router_test

import (
	"cmp"
	"fmt"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

func table(strategy string) *router.Table {
	t, err := router.NewTable(
		[]router.Pool{{Name: "east", Concurrency: 4}, {Name: "west", Concurrency: 2}},
		[]router.RouteSpec{{Name: "chat", Strategy: strategy, Candidates: []router.CandidateSpec{
			{Pool: "east", Model: "large", Weight: 2}, {Pool: "west", Model: "large", Weight: 1},
		}}})
	if err != nil {
		panic(err)
	}
	return t
}

// A decision is made of a table, what is at the pools, and the job. The
// caller keeps the depths up to date between two looks at the server.
func ExampleTable_Decide() {
	t := table("least_connections")
	route, _ := t.Route("chat")
	load := make([]router.Load, len(t.Pools()))
	var out router.Result
	for n := range uint64(4) {
		in := router.Input{Meta: &wire.Meta{Class: wire.Standard}, Sequence: n, Random: n}
		t.Decide(route, load, &in, &out)
		c := route.Candidates()[out.Choice]
		load[c.Pool].Depth++
		fmt.Printf("%s %.2f %.2f\n", c.PoolName, out.Candidates[0].Score, out.Candidates[1].Score)
	}
	// Output:
	// east 0.33 0.67
	// west 0.83 0.67
	// east 0.83 1.67
	// east 1.33 1.67
}

// Each candidate that was not eligible says why, and Full tells whether
// waiting helps.
func ExampleResult() {
	t := table("round_robin")
	route, _ := t.Route("chat")
	load := []router.Load{{Depth: 6}, {Circuit: router.Open, OpenUntil: 5_000}}
	in := router.Input{Meta: &wire.Meta{Class: wire.Standard}, Now: 1_000}
	var out router.Result
	t.Decide(route, load, &in, &out)
	fmt.Println(out.Choice, out.Full, out.Until)
	for _, v := range out.Candidates {
		fmt.Println(v.Excluded)
	}
	// Output:
	// -1 true 5000
	// full
	// circuit_open
}

// The record of a decision is what `sluice route explain` prints.
func ExampleResult_Decision() {
	t := table("weighted_round_robin")
	route, _ := t.Route("chat")
	in := router.Input{Meta: &wire.Meta{Class: wire.Batch}, Sequence: 41}
	load := []router.Load{{Depth: 1}, {Depth: 2}}
	var out router.Result
	t.Decide(route, load, &in, &out)
	d := out.Decision(route, load, &in)
	fmt.Println(d.Strategy, d.Pool, d.Model, d.Sequence)
	for _, c := range d.Candidates {
		fmt.Println(c.Pool, c.Weight, c.Depth, cmp.Or(c.Excluded, "ok"))
	}
	// Output:
	// weighted_round_robin east large 41
	// east 2 1 ok
	// west 1 2 full
}

// What a decision saw can be kept, and decided again.
func ExampleReplay() {
	t := table("random")
	route, _ := t.Route("chat")
	in := router.Input{Meta: &wire.Meta{ID: "j7"}, Sequence: 3, Random: 99}
	var out router.Result
	t.Decide(route, nil, &in, &out)
	kept := t.Capture(route, nil, &in)

	again, decision, err := router.Replay(kept)
	fmt.Println(again.Choice == out.Choice, decision.Route, err)
	// Output: true chat <nil>
}

func ExampleStrategies() {
	for _, s := range router.Strategies() {
		fmt.Println(s.Name)
	}
	// Output:
	// adaptive_weights
	// consistent_hashing
	// cost
	// geographic
	// health_based
	// latency
	// least_connections
	// multi_dimensional
	// performance
	// power_of_two
	// priority_tiers
	// quality
	// random
	// round_robin
	// throughput
	// time_based
	// weighted_round_robin
}

func ExamplePool_Allowance() {
	p := router.Pool{Concurrency: 8}
	fmt.Println(p.Allowance(wire.Interactive), p.Allowance(wire.Standard), p.Allowance(wire.Batch))
	// Output: 16 12 8
}

// A breaker is told what happened, and says what it lets through.
func ExampleBreaker() {
	const second = int64(1e9)
	cfg := router.BreakerConfig{Consecutive: 2}
	b := router.Breaker{}
	for at := range int64(2) {
		b = b.Step(cfg, router.Event{Kind: router.AttemptFailed, At: at * second})
	}
	for _, at := range []int64{2, 3} {
		var l router.Load
		b.Fill(cfg, at*second, &l)
		fmt.Println(l.Circuit, l.OpenUntil/second, l.Probes)
	}
	// Output:
	// open 3 0
	// half_open 0 3
}

// Weights move with what was measured, a bounded step at a time.
func ExampleAdapt() {
	factors := []int32{1000, 1000}
	for range 3 {
		factors = router.Adapt(router.AdaptConfig{}, factors, []router.Measured{{Samples: 50, Score: 100}, {Samples: 50, Score: 300}}, nil)
		fmt.Println(factors)
	}
	// Output:
	// [1100 900]
	// [1210 810]
	// [1331 729]
}

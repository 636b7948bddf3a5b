package router

// throughput takes the one that writes the fastest.
var throughput = strategy{
	doc: StrategyDoc{
		Name:    "throughput",
		Summary: "the most output tokens per second",
		Weights: "share among those within the tolerance of the fastest",
		Params:  []string{"tolerance", "explore"},
	},
	scorer:    &throughputScorer,
	picker:    bestPicker,
	tolerance: 0.1,
	explore:   50,
}

var throughputScorer = scorer{
	name: "throughput",
	doc:  "1000 / (output tokens per second)",
	score: func(s *scratch, out []float64) {
		best, unknown := 0.0, false
		for place, i := range s.eligible {
			v := 1000 / s.statsOf(i).Throughput
			best, unknown = noted(best, unknown, v)
			out[place] = v
		}
		settle(out, best, unknown)
	},
}

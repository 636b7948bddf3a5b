package router

// leastConnections evens out the depth of pools.
var leastConnections = strategy{
	doc: StrategyDoc{
		Name:      "least_connections",
		Summary:   "where the fewest jobs are queued and running, by weight",
		Weights:   "divides the depth",
		LoadAware: true,
	},
	scorer: &loadScorer,
	picker: bestPicker,
}

// loadScorer compares what would be at each pool, by weight.
var loadScorer = scorer{
	name: "load",
	doc:  "(queued + running + 1) / weight",
	score: func(s *scratch, out []float64) {
		for place, i := range s.eligible {
			depth := max(s.loadOf(i).Depth, 0)
			out[place] = float64(int64(depth)+1) / s.route.compiled[i].weightF
		}
	},
}

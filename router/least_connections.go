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

// loadScorer compares what is at each pool, by weight. The half job added is
// what makes it fair to small pools (with a whole one, a pool of weight 4
// beside one of 16 would on average be an eighth emptier), and what sends the
// first jobs to the large ones.
var loadScorer = scorer{
	name: "load",
	doc:  "(queued + running + 1/2) / weight",
	score: func(s *scratch, out []float64) {
		for place, i := range s.eligible {
			depth := max(s.loadOf(i).Depth, 0)
			out[place] = (float64(depth) + 0.5) / s.route.compiled[i].weightF
		}
	},
}

package router

// healthBased gives the healthy more.
var healthBased = strategy{
	doc: StrategyDoc{
		Name:    "health_based",
		Summary: "by turns in proportion to weight × the square of the success rate",
		Weights: "share, times the square of the success rate",
	},
	scorer: &healthScorer,
	picker: smoothPicker,
	share: func(s *scratch, i int32) uint64 {
		ok := s.statsOf(i).successRate()
		return uint64(s.route.compiled[i].weight) * max(1, uint64(1000*float64(ok*ok)))
	},
}

var healthScorer = scorer{
	name: "health",
	doc:  "1 - success rate",
	score: func(s *scratch, out []float64) {
		for place, i := range s.eligible {
			out[place] = 1 - s.statsOf(i).successRate()
		}
	},
}

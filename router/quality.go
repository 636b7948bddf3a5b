package router

// quality takes the best, whatever it costs.
var quality = strategy{
	doc: StrategyDoc{
		Name:    "quality",
		Summary: "the highest quality, as configured or reported",
		Weights: "share among those within the tolerance of the best",
		Params:  []string{"tolerance"},
	},
	scorer: &qualityScorer,
	picker: bestPicker,
}

var qualityScorer = scorer{
	name: "quality",
	doc:  "1 - quality; one that is not known counts as 0.5",
	score: func(s *scratch, out []float64) {
		for place, i := range s.eligible {
			q := s.statsOf(i).Quality
			if !(q > 0 && q <= 1) {
				q = s.route.compiled[i].quality
			}
			if q == 0 {
				q = 0.5
			}
			out[place] = 1 - q
		}
	},
}

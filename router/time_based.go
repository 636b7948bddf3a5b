package router

// timeBased prefers whoever's hours these are.
var timeBased = strategy{
	doc: StrategyDoc{
		Name:    "time_based",
		Summary: "candidates whose schedule says now; those without a schedule take what spills over",
		Weights: "share among those on schedule, and among the rest",
	},
	scorer: &scheduleScorer,
	picker: bestPicker,
}

var scheduleScorer = scorer{
	name: "schedule",
	doc:  "0 on schedule, 1 without a schedule",
	score: func(s *scratch, out []float64) {
		for place, i := range s.eligible {
			out[place] = 0
			if s.route.traits.schedules[s.route.compiled[i].schedule].windows == nil {
				out[place] = 1
			}
		}
	},
}

package router

// priorityTiers spends one tier before the next.
var priorityTiers = strategy{
	doc: StrategyDoc{
		Name:    "priority_tiers",
		Summary: "the lowest priority number that has room; the next takes what spills over",
		Weights: "share within a tier",
	},
	scorer: &priorityScorer,
	picker: bestPicker,
}

var priorityScorer = scorer{
	name: "priority",
	doc:  "the candidate's priority",
	score: func(s *scratch, out []float64) {
		for place, i := range s.eligible {
			out[place] = s.route.compiled[i].priority
		}
	},
}

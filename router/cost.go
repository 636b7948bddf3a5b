package router

// cost takes the cheapest for this very job.
var cost = strategy{
	doc: StrategyDoc{
		Name:    "cost",
		Summary: "the least expected dollars for this job, by its tokens and what of them is probably cached",
		Weights: "share among those that cost the same",
		Params:  []string{"tolerance", "output_tokens"},
	},
	scorer: &costScorer,
	picker: bestPicker,
}

var costScorer = scorer{
	name: "cost",
	doc:  "expected cost in nano-dollars; an unknown price comes after every known one",
	score: func(s *scratch, out []float64) {
		dearest := 0.0
		for place, i := range s.eligible {
			c := &s.route.compiled[i]
			if c.price != nil {
				v := float64(s.expectedCost(c, s.statsOf(i)))
				out[place] = v
				if v > dearest {
					dearest = v
				}
			}
		}
		for place, i := range s.eligible {
			if s.route.compiled[i].price == nil {
				out[place] = float64(2*dearest) + 1
			}
		}
	},
}

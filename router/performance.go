package router

// performance takes the one that most quickly gets the job done.
var performance = strategy{
	doc: StrategyDoc{
		Name:    "performance",
		Summary: "the shortest mean time to first token and whole answer, divided by the success rate",
		Weights: "share among those within the tolerance of the best",
		Params:  []string{"tolerance", "explore", "output_tokens"},
	},
	scorer:    &performanceScorer,
	picker:    bestPicker,
	tolerance: 0.1,
	explore:   50,
}

var performanceScorer = scorer{
	name: "performance",
	doc:  "(2 × time to first token + time per token × expected output tokens) / success rate, in ms",
	score: func(s *scratch, out []float64) {
		output := float64(s.job.output)
		best, unknown := 0.0, false
		compiled, stats, out := s.route.compiled, s.in.Stats, out[:len(s.eligible)]
		for place, i := range s.eligible {
			st := at(stats, compiled[i].target, &s.unmeasured)
			t := answerTime(st.TTFT.Mean, st.PerToken.Mean, output)
			if known(st.TTFT.Mean) {
				t += st.TTFT.Mean
			}
			ok, n := st.successes()
			v := float64(t*n) / ok
			best, unknown = noted(best, unknown, v)
			out[place] = v
		}
		settle(out, best, unknown)
	},
}

// successes are the attempts that succeeded and all of them, plus two that
// did: few samples say little.
func (st *Stats) successes() (ok, n float64) {
	if !known(st.Samples) || !(st.Success >= 0 && st.Success <= 1) {
		return 2, 2
	}
	return float64(st.Success*st.Samples) + 2, st.Samples + 2
}

// successRate is the share of successes, never 0.
func (st *Stats) successRate() float64 {
	ok, n := st.successes()
	return ok / n
}

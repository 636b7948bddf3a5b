package router

// latency takes the fastest by a percentile of what was measured.
var latency = strategy{
	doc: StrategyDoc{
		Name:    "latency",
		Summary: "the shortest time to the whole answer, by a percentile of what was measured and the job's output tokens",
		Weights: "share among those within the tolerance of the fastest",
		Params:  []string{"percentile", "tolerance", "explore", "output_tokens"},
	},
	scorer:    &latencyScorer,
	picker:    bestPicker,
	tolerance: 0.1,
	explore:   50,
}

var latencyScorer = scorer{
	name: "latency",
	doc:  "time to first token + time per token × expected output tokens, at the percentile, in ms",
	score: func(s *scratch, out []float64) {
		p, output := s.route.spec.Params.Percentile, float64(s.job.output)
		best, unknown := 0.0, false
		compiled, stats, out := s.route.compiled, s.in.Stats, out[:len(s.eligible)]
		for place, i := range s.eligible {
			st := at(stats, compiled[i].target, &s.unmeasured)
			v := answerTime(st.TTFT.at(p), st.PerToken.at(p), output)
			best, unknown = noted(best, unknown, v)
			out[place] = v
		}
		settle(out, best, unknown)
	},
}

// answerTime is the time to the whole answer, 0 if it is not known. A call
// that does not stream has no time to first token.
func answerTime(ttft, perToken float64, output float64) float64 {
	t := 0.0
	if known(ttft) {
		t = ttft
	}
	if known(perToken) {
		t += float64(perToken * output)
	}
	return t
}

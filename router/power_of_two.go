package router

// powerOfTwo compares two at random: routers whose view of the load is a
// moment old then do not all run to the same pool.
var powerOfTwo = strategy{
	doc: StrategyDoc{
		Name:      "power_of_two",
		Summary:   "of two random candidates, the one with the lower peak latency times jobs there",
		Weights:   "probability to be one of the two, and divides the depth",
		LoadAware: true,
	},
	scorer: &peakScorer,
	picker: twoPicker,
}

var peakScorer = scorer{
	name: "peak_ewma",
	doc:  "peak EWMA of latency × (queued + running + 1/2) / weight; unknown counts as the lowest known",
	score: func(s *scratch, out []float64) {
		best, unknown := 0.0, false
		for place, i := range s.eligible {
			v := s.statsOf(i).PeakEWMA
			best, unknown = noted(best, unknown, v)
			out[place] = v
		}
		settle(out, best, unknown)
		for place, i := range s.eligible {
			if out[place] == 0 {
				out[place] = 1
			}
			depth := max(s.loadOf(i).Depth, 0)
			out[place] = float64(out[place]*(float64(depth)+0.5)) / s.route.compiled[i].weightF
		}
	},
}

// twoPicker draws two by share and takes the lower score; the first of two
// equals.
var twoPicker = picker{
	doc: "the better of two drawn by weight",
	pick: func(s *scratch) int {
		w := total(s.shares)
		a := covering(s.shares, below(s.entropy, w))
		if len(s.shares) == 1 {
			return a
		}
		drawn := s.shares[a]
		s.shares[a] = 0
		b := covering(s.shares, below(mix(s.entropy), w-drawn))
		if s.scores[b] < s.scores[a] {
			return b
		}
		return a
	},
}

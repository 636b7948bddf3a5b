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

// Of loadScorer, found in simulation: with these, pools of one to five times a
// speed and 4 to 12 slots are used alike to within five points, and with a whole
// job for each and no lead they are ten to fifteen apart.
const (
	loadExtra = 2.0 / 3 // of a job, at each pool
	loadLead  = 2.0     // jobs, shared out by speed
	mostLead  = 1.0 / 4 // of a weight
)

// loadScorer compares what is at each pool, by weight. What is added to each
// depth is what makes it fair to small pools, and what sends the first jobs to
// the large ones. The lead is for fast pools: each of their jobs ends so soon
// that they would, while others get theirs, more often be a job short. It is
// their part of the next two jobs by speed × weight; nobody has one where
// speeds are alike, or not known.
var loadScorer = scorer{
	name: "load",
	doc:  "(queued + running + 2/3) / weight + most lead - own lead; lead = 2 × speed / sum of speed × weight, 1/4 at most; speed = 1 / mean time of a usual answer",
	score: func(s *scratch, out []float64) {
		output := float64(s.route.spec.Params.OutputTokens)
		best, unknown := 0.0, false
		compiled, stats, load, out := s.route.compiled, s.in.Stats, s.load, out[:len(s.eligible)]
		for place, i := range s.eligible {
			st := at(stats, compiled[i].target, &s.unmeasured)
			v := answerTime(st.TTFT.Mean, st.PerToken.Mean, output)
			best, unknown = noted(best, unknown, v)
			out[place] = v
		}
		if best == 0 { // nothing is known of anyone
			best = 1
		}
		settle(out, best, unknown)
		sum := 0.0
		for place, i := range s.eligible {
			v := 1 / out[place]
			out[place] = v
			sum += float64(v * compiled[i].weightF)
		}
		each := loadLead / sum
		most := atMost(float64(each*(1/best)), mostLead)
		for place, i := range s.eligible {
			c := &compiled[i]
			depth := max(at(load, c.pool, &s.idle).Depth, 0)
			out[place] = (float64(depth)+loadExtra)/c.weightF + (most - atMost(float64(each*out[place]), mostLead))
		}
	},
}

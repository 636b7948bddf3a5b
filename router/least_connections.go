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
		for place, i := range s.eligible {
			st := s.statsOf(i)
			out[place] = answerTime(st.TTFT.Mean, st.PerToken.Mean, output)
		}
		settle(out)
		sum, most := 0.0, 0.0
		for place, i := range s.eligible {
			if out[place] == 0 { // nothing is known of anyone
				out[place] = 1
			}
			out[place] = 1 / out[place]
			sum += float64(out[place] * s.route.compiled[i].weightF)
		}
		for place := range out {
			out[place] = min(float64(loadLead*out[place])/sum, mostLead)
			if out[place] > most {
				most = out[place]
			}
		}
		for place, i := range s.eligible {
			depth := max(s.loadOf(i).Depth, 0)
			out[place] = (float64(depth)+loadExtra)/s.route.compiled[i].weightF + (most - out[place])
		}
	},
}

package router

import "math/bits"

// consistentHashing keeps a key where it was.
var consistentHashing = strategy{
	doc: StrategyDoc{
		Name: "consistent_hashing",
		Summary: "the same key (Sluice-Affinity, else the job's ID) to the same candidate while it has room; " +
			"a change of candidates moves only the keys it must",
		Weights: "share of the keys, and of the bound",
		Params:  []string{"bound"},
	},
	scorer: &hashScorer,
	picker: boundedPicker,
}

// hashScorer is weighted rendezvous hashing: -log(h)/weight is the smallest
// for a candidate with probability proportional to its weight, and whoever is
// there or not changes nobody else's score.
var hashScorer = scorer{
	name: "affinity",
	doc:  "-log2(hash of tenant, key and candidate) / weight",
	score: func(s *scratch, out []float64) {
		key := s.in.Meta.Affinity
		if key == "" {
			key = s.in.Meta.ID
		}
		h := mix(hashString(key) ^ mix(hashString(s.in.Meta.Tenant)))
		for place, i := range s.eligible {
			c := &s.route.compiled[i]
			out[place] = negLog2(mix(h^c.hash)) * c.inverse
		}
	},
}

// negLog2 is -log2((x+1)/2^64) to nine digits. It is computed here, without
// fused or assembled arithmetic, to be the same on every machine (I1).
func negLog2(x uint64) float64 {
	x |= 1
	zeros := bits.LeadingZeros64(x)
	m := float64(x<<zeros>>11) * (1.0 / (1 << 53)) // in [0.5, 1)
	e := float64(zeros)
	if m < 0.70710678118654752 {
		m, e = m*2, e+1
	}
	t := (m - 1) / (m + 1)
	t2 := float64(t * t)
	sum := 1.0 / 11
	sum = float64(sum*t2) + 1.0/9
	sum = float64(sum*t2) + 1.0/7
	sum = float64(sum*t2) + 1.0/5
	sum = float64(sum*t2) + 1.0/3
	sum = float64(sum*t2) + 1
	const scale = 2.8853900817779268 // 2/ln 2
	return e - float64(float64(sum*t)*scale)
}

// boundedPicker takes the lowest score of those whose depth is below Bound
// times their fair share of all jobs, this one included. The shares of all
// add up to more than there are jobs, so someone always is.
var boundedPicker = picker{
	doc: "the lowest score below the bound on its depth",
	pick: func(s *scratch) int {
		depth := int64(0)
		for _, i := range s.eligible {
			depth += int64(max(s.loadOf(i).Depth, 0))
		}
		fair := float64(s.route.spec.Params.Bound*float64(depth+1)) / float64(total(s.shares))
		best := -1
		for place, i := range s.eligible {
			if float64(max(s.loadOf(i).Depth, 0)) >= float64(fair*float64(s.shares[place])) {
				s.verdicts[i].Excluded = OverBound
				continue
			}
			if best < 0 || s.scores[place] < s.scores[best] {
				best = place
			}
		}
		return max(best, 0)
	},
}

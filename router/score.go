package router

import "slices"

// scorer gives every eligible candidate a score, the lower the better, by its
// place among them. Scores are finite and not negative.
type scorer struct {
	name, doc string
	score     func(s *scratch, out []float64)
}

// scorers lists what strategy multi_dimensional can combine: the scorers of
// all other strategies.
func scorers() []*scorer {
	var list []*scorer
	for _, st := range registry {
		if st.scorer != nil && st.scorer != &combinedScorer && !slices.Contains(list, st.scorer) {
			list = append(list, st.scorer)
		}
	}
	return list
}

func findScorer(name string) *scorer {
	for _, s := range scorers() {
		if s.name == name {
			return s
		}
	}
	return nil
}

func scorerNames() []string { return Scorers() }

// Scorers are the names that Params.Scorers may use, sorted.
func Scorers() []string {
	var names []string
	for _, s := range scorers() {
		names = append(names, s.name)
	}
	slices.Sort(names)
	return names
}

// settle gives measurements that are not known the lowest score of those that
// are, so that they become known (I9); 0 if none is.
func settle(out []float64) {
	best, unknown := 0.0, false
	for _, v := range out {
		switch {
		case !known(v):
			unknown = true
		case best == 0 || v < best:
			best = v
		}
	}
	if !unknown {
		return
	}
	for place, v := range out {
		if !known(v) {
			out[place] = best
		}
	}
}

// extremes are the lowest and the highest of some scores. (The built-in min
// and max of floats are slower: they mind NaN, which no score is.)
func extremes(scores []float64) (lowest, highest float64) {
	lowest, highest = scores[0], scores[0]
	for _, v := range scores {
		if v < lowest {
			lowest = v
		}
		if v > highest {
			highest = v
		}
	}
	return lowest, highest
}

// resize makes a slice of n, in the memory of s if it is large enough.
func resize(s []float64, n int) []float64 {
	if cap(s) < n {
		return make([]float64, n)
	}
	return s[:n]
}

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

// noted takes one more score into the lowest of those that are known, 0 if none
// is, and whether one is not known.
func noted(best float64, unknown bool, v float64) (float64, bool) {
	switch {
	case !known(v):
		return best, true
	case v < best || best == 0:
		return v, unknown
	}
	return best, unknown
}

// settle gives measurements that are not known the lowest score of those that
// are, as noted, so that they become known (I9).
func settle(out []float64, best float64, unknown bool) {
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
	if len(scores)%2 == 1 {
		scores = scores[1:]
	}
	for ; len(scores) >= 2; scores = scores[2:] {
		a, b := scores[0], scores[1]
		if a < lowest {
			lowest = a
		} else if a > highest {
			highest = a
		}
		if b < lowest {
			lowest = b
		} else if b > highest {
			highest = b
		}
	}
	return lowest, highest
}

// atMost is the lower of two: see extremes.
func atMost(v, bound float64) float64 {
	if v > bound {
		return bound
	}
	return v
}

// resize makes a slice of n, in the memory of s if it is large enough.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

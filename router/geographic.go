package router

import "strings"

// geographic stays near the user.
var geographic = strategy{
	doc: StrategyDoc{
		Name:    "geographic",
		Summary: "the region nearest to the user's that has room; the next takes what spills over",
		Weights: "share within a distance",
		Params:  []string{"nearness"},
	},
	scorer: &regionScorer,
	picker: bestPicker,
}

var regionScorer = scorer{
	name: "region",
	doc:  "steps from the user's region: 0 the same, then by nearness",
	score: func(s *scratch, out []float64) {
		from := s.in.Meta.Region
		near := s.route.spec.Params.Nearness[from]
		s.distances = s.distances[:0]
		for _, to := range s.route.traits.regions {
			s.distances = append(s.distances, distance(from, to, near))
		}
		for place, i := range s.eligible {
			out[place] = s.distances[s.route.compiled[i].region]
		}
	},
}

// distance between regions, near being what is listed for from. Whoever does
// not say where it is, is equally far from everyone.
func distance(from, to string, near []string) float64 {
	if from == "" || from == to {
		return 0
	}
	if len(near) > 0 {
		for i, name := range near {
			if name == to {
				return float64(i + 1)
			}
		}
		return float64(len(near) + 1)
	}
	a, _, _ := strings.Cut(from, "-")
	b, _, _ := strings.Cut(to, "-")
	if a == b {
		return 1
	}
	return 2
}

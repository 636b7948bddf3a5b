package router

// scorer gives every eligible candidate a score, the lower the better. Scores
// are finite and not negative.
type scorer struct {
	name, doc string
	score     func(s *scratch)
}

// scorers lists every scorer, one line each.
var scorers = [...]*scorer{
	&loadScorer,
}

func findScorer(name string) *scorer {
	for _, s := range scorers {
		if s.name == name {
			return s
		}
	}
	return nil
}

func scorerNames() []string {
	names := make([]string, 0, len(scorers))
	for _, s := range scorers {
		names = append(names, s.name)
	}
	return names
}

// loadScorer compares what would be at each pool, by weight.
var loadScorer = scorer{
	name: "load",
	doc:  "(queued + running + 1) / weight",
	score: func(s *scratch) {
		for _, i := range s.eligible {
			depth := max(s.loadOf(i).Depth, 0)
			s.verdicts[i].Score = float64(int64(depth)+1) / s.route.compiled[i].weightF
		}
	},
}

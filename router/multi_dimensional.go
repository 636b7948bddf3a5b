package router

import "math"

// multiDimensional weighs any scorers against each other.
var multiDimensional = strategy{
	doc: StrategyDoc{
		Name:      "multi_dimensional",
		Summary:   "the lowest sum of scores, each scaled to 0 (best) to 1 (worst of the eligible) and weighted",
		Weights:   "share among those within the tolerance of the best",
		Params:    []string{"scorers", "tolerance", "explore"},
		LoadAware: true,
	},
	scorer:  &combinedScorer,
	picker:  bestPicker,
	explore: 50,
}

// dimension is a scorer and what it counts.
type dimension struct {
	scorer *scorer
	weight float64
}

// dimensions are the scorers that params name, by name (I2).
func dimensions(p *Params) []dimension {
	list := p.Scorers
	if len(list) == 0 {
		list = []ScorerWeight{{"cost", 1}, {"load", 1}, {"performance", 1}}
	}
	var out []dimension
	for _, s := range list {
		out = append(out, dimension{findScorer(s.Scorer), s.Weight})
	}
	return out
}

var combinedScorer = scorer{
	name: "combined",
	doc:  "sum of weight × (score - lowest) / (highest - lowest)",
	score: func(s *scratch, out []float64) {
		clear(out)
		for _, d := range s.route.dimensions {
			s.part = resize(s.part, len(out))
			d.scorer.score(s, s.part)
			addScaled(out, s.part, d.weight)
		}
	},
}

// addScaled adds scores, scaled to [0, 1], times weight, to sum. The highest
// gives the weight itself, whatever is lost by rounding: two of which each is
// the best in one of two scorers are equal.
func addScaled(sum, scores []float64, weight float64) {
	lowest, highest := extremes(scores)
	if highest == lowest {
		return
	}
	step := weight / (highest - lowest)
	if step > math.MaxFloat64 { // as good as equal
		return
	}
	sum = sum[:len(scores)]
	for place, v := range scores {
		scaled := float64((v - lowest) * step)
		if v == highest {
			scaled = weight
		}
		sum[place] += scaled
	}
}

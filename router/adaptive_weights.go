package router

// adaptiveWeights follows the factors that Adapt moves.
var adaptiveWeights = strategy{
	doc: StrategyDoc{
		Name:    "adaptive_weights",
		Summary: "by turns in proportion to weights that move with the measured score, step by step, never to zero",
		Weights: "share, times a factor that moves",
	},
	picker: smoothPicker,
	share: func(s *scratch, i int32) uint64 {
		factor := uint64(NeutralFactor)
		if f := s.statsOf(i).Factor; f > 0 {
			factor = uint64(min(f, MaxFactor))
		}
		return uint64(s.route.compiled[i].weight) * factor
	},
}

package router

// roundRobin keeps a fixed order.
var roundRobin = strategy{
	doc: StrategyDoc{
		Name:    "round_robin",
		Summary: "by turns in a fixed order, one after the other",
		Weights: "number of rounds of a cycle that the candidate takes part in",
		Shares:  true, Smooth: true,
	},
	picker: roundPicker,
}

// roundPicker goes round in the order of the candidates. A cycle has as many
// turns as the sum of the weights; in its first round everyone has a turn,
// and who has had as many as its weight sits out the rest.
var roundPicker = picker{
	doc: "by turns, in rounds of a fixed order",
	pick: func(s *scratch) int {
		turn := s.in.Sequence % total(s.shares)
		floor, before := level(s, turn)
		active := uint64(0)
		for _, w := range s.shares {
			if w > floor {
				active++
			}
		}
		turn = (turn - before) % active
		for place, w := range s.shares {
			if w <= floor {
				continue
			}
			if turn == 0 {
				return place
			}
			turn--
		}
		return 0
	},
}

// level is the highest of 0 and the route's distinct weights whose rounds are
// all over at the turn, and the number of turns in those rounds. Between two
// levels, every round has the same candidates.
func level(s *scratch, turn uint64) (floor, before uint64) {
	levels := s.route.traits.levels
	lo, hi := 0, len(levels) // levels[:lo] are over, levels[hi:] are not
	for lo < hi {
		mid := (lo + hi) / 2
		over := uint64(0)
		for _, w := range s.shares {
			over += min(w, uint64(levels[mid]))
		}
		if over <= turn {
			lo, floor, before = mid+1, uint64(levels[mid]), over
		} else {
			hi = mid
		}
	}
	return floor, before
}

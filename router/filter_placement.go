package router

import (
	"slices"

	"github.com/sluicehq/sluice/sdk/wire"
)

// placementFilter holds jobs to where they are placed. One that may go to a
// provider's batch API or not goes there while there is time, if that is cheaper
// and has not failed it; then other candidates are not for it, so that it waits
// for room there.
var placementFilter = filter{
	reasons: []Reason{Misplaced},
	applies: func(s *scratch) bool {
		placed := s.in.Meta.Placed()
		if !s.route.traits.bundles && placed != wire.AtProvider {
			return false
		}
		s.bundled, s.cheapest = false, -1
		for _, i := range s.eligible {
			c := &s.route.compiled[i]
			if !c.bundles || s.unbundled(i) {
				continue
			}
			cost := s.roughCost(c)
			if !s.bundled || cost < s.cheapest {
				s.cheapest = cost
			}
			s.bundled = true
		}
		return true
	},
	test: func(s *scratch, i int32) Reason {
		c := &s.route.compiled[i]
		switch {
		case c.bundles && !s.unbundled(i):
		case c.bundles, s.in.Meta.Placed() == wire.AtProvider:
			return Misplaced
		case s.bundled && s.in.Meta.Placed() == wire.Auto:
			if cost := s.roughCost(c); cost < 0 || s.cheapest < 0 || cost > s.cheapest {
				return Misplaced
			}
		}
		return Eligible
	},
}

// unbundled reports whether the batch API of candidate i is not for the job.
func (s *scratch) unbundled(i int32) bool {
	if !s.in.Meta.Bundles(s.in.Now) {
		return true
	}
	p := s.in.Progress
	return p != nil && s.in.Meta.Placed() == wire.Auto && slices.Contains(p.Tried, s.route.candidates[i].PoolName)
}

// roughCost is what an attempt at c costs by the job's estimate, without a
// cache; -1: not known.
func (s *scratch) roughCost(c *candidate) wire.NanoUSD {
	if c.price == nil {
		return -1
	}
	output := s.job.output
	if c.maxOutput > 0 {
		output = min(output, c.maxOutput)
	}
	return c.price.Cost(wire.Usage{Input: s.job.input, Output: output})
}

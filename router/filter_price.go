package router

import (
	"math"
	"math/bits"

	"github.com/sluicehq/sluice/sdk/wire"
)

// priceFilter holds a job to its Max-Cost, earlier attempts included. It
// compares the most that the attempt is expected to cost: input without any
// cached prefix, and all the output that the job may ask for.
var priceFilter = filter{
	reasons: []Reason{PriceUnknown, OverMaxCost},
	applies: func(s *scratch) bool { return s.in.Meta.MaxCost != nil },
	test: func(s *scratch, i int32) Reason {
		c := &s.route.compiled[i]
		left := *s.in.Meta.MaxCost
		if p := s.in.Progress; p != nil {
			if p.Unknown {
				return PriceUnknown
			}
			left -= p.Spent
		}
		switch {
		case c.price == nil:
			return PriceUnknown
		case s.worstCost(c) > left:
			return OverMaxCost
		}
		return Eligible
	},
}

// worstCost is the most that an attempt at c costs by the job's estimate. A
// model that can reason may spend its output on it.
func (s *scratch) worstCost(c *candidate) wire.NanoUSD {
	p := wire.Price{
		Input:  max(c.price.Input, c.price.CacheWrite),
		Output: max(c.price.Output, c.price.Reasoning),
	}
	output := s.job.output
	switch {
	case s.job.maxOutput > 0:
		output = s.job.maxOutput
	case c.maxOutput > 0:
		output = c.maxOutput
	}
	if c.maxOutput > 0 {
		output = min(output, c.maxOutput)
	}
	return p.Cost(wire.Usage{Input: s.job.input, Output: output})
}

// cheapMath reports whether no cost of the job on the route can overflow: it
// spares the divisions by which Price.Cost finds that out for each candidate.
func (r *Route) cheapMath(job *estimate) bool {
	hi, lo := bits.Mul64(uint64(job.input+job.output), uint64(r.traits.maxRate))
	return hi == 0 && lo < math.MaxInt64-999
}

package router

import "github.com/sluicehq/sluice/sdk/wire"

// cost takes the cheapest for this very job.
var cost = strategy{
	doc: StrategyDoc{
		Name:    "cost",
		Summary: "the least expected dollars for this job, by its tokens and what of them is probably cached",
		Weights: "share among those that cost the same",
		Params:  []string{"tolerance", "output_tokens"},
	},
	scorer: &costScorer,
	picker: bestPicker,
}

var costScorer = scorer{
	name: "cost",
	doc:  "expected cost in nano-dollars; an unknown price comes after every known one",
	score: func(s *scratch, out []float64) {
		compiled, stats, job, out := s.route.compiled, s.in.Stats, s.job, out[:len(s.eligible)]
		input := float64(job.input)
		for place, i := range s.eligible {
			c := &compiled[i]
			cached, output := int64(0), job.output
			if share := at(stats, c.target, &s.unmeasured).CacheShare; share > 0 && share <= 1 {
				cached = int64(share * input)
			}
			if c.pool == s.cached {
				cached = max(cached, job.cached)
			}
			if c.maxOutput > 0 {
				output = min(output, c.maxOutput)
			}
			switch {
			case s.cheap:
				pico := (job.input-cached)*c.rates.input + cached*c.rates.cacheRead + output*c.rates.output
				out[place] = float64(int64(uint64(pico+999) / 1000))
			case c.price != nil:
				out[place] = float64(c.price.Cost(wire.Usage{Input: job.input - cached, CacheRead: cached, Output: output}))
			default:
				out[place] = 0
			}
		}
		if s.route.traits.unpriced {
			s.lastUnpriced(out)
		}
	},
}

// lastUnpriced puts those without a price behind all others.
func (s *scratch) lastUnpriced(out []float64) {
	_, dearest := extremes(out)
	for place, i := range s.eligible {
		if s.route.compiled[i].price == nil {
			out[place] = float64(2*dearest) + 1
		}
	}
}

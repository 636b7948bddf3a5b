package observe

import "github.com/sluicehq/sluice/sdk/wire"

// Scores of a pool, each from 0 to 100; nil: not known.
type Scores struct {
	// Performance is the time of the fastest of its peers, for a usual answer,
	// divided by its own.
	Performance *float64 `json:"performance,omitempty"`
	// Reliability is the share of attempts that succeeded of late.
	Reliability *float64 `json:"reliability,omitempty"`
	// Cost is what the cheapest of its peers takes for a usual job, divided by
	// what it takes.
	Cost *float64 `json:"cost,omitempty"`
	// Quality is as reported, or else as configured.
	Quality *float64 `json:"quality,omitempty"`
}

// figures are what the scores of a pool are made of.
type figures struct {
	slow, success, cost, quality mean
}

// mean is a weighted one.
type mean struct{ sum, weight float64 }

func (m *mean) add(x, weight float64) { m.sum, m.weight = m.sum+x*weight, m.weight+weight }

func (m *mean) value() float64 { return m.sum / m.weight }

// usualJob is what costs are compared by.
var usualJob = wire.Usage{Input: 1000, Output: 300}

// figures are those of every pool, from what is known of its models.
func (f *fold) figures(now int64) []figures {
	t := f.setup.Table
	out := make([]figures, len(t.Pools()))
	seen := make([]bool, len(t.Targets()))
	for _, r := range t.Routes() {
		spec := r.Spec()
		for i, c := range r.Candidates() {
			if seen[c.Target] {
				continue
			}
			seen[c.Target] = true
			o, s := &out[c.Pool], f.stats(t.Targets()[c.Target], now)
			if s.Samples > 0 {
				o.success.add(s.Success, s.Samples)
			}
			if slow := slowness(&s); slow > 0 {
				o.slow.add(slow, s.Samples)
			}
			if c.Price != nil {
				o.cost.add(float64(c.Price.Cost(usualJob)), 1)
			}
			if s.Quality == 0 {
				s.Quality = spec.Candidates[i].Quality
			}
			if s.Quality > 0 {
				o.quality.add(s.Quality, 1)
			}
		}
	}
	return out
}

// scores are those of every pool among its peers.
func (f *fold) scores(now int64) []Scores {
	all := f.figures(now)
	out := make([]Scores, len(all))
	for _, group := range f.groups {
		var fastest, cheapest mean
		for _, i := range group {
			fastest.least(all[i].slow)
			cheapest.least(all[i].cost)
		}
		for _, i := range group {
			own, s := &all[i], &out[i]
			s.Performance = share(&fastest, &own.slow)
			s.Cost = share(&cheapest, &own.cost)
			if own.success.weight > 0 {
				s.Reliability = percent(own.success.value())
			}
			if own.quality.weight > 0 {
				s.Quality = percent(own.quality.value())
			}
		}
	}
	return out
}

// least makes m the lower one of two, of those that are known.
func (m *mean) least(x mean) {
	if x.weight > 0 && (m.weight == 0 || x.value() < m.value()) {
		*m = x
	}
}

// share is the best in relation to the own value.
func share(best, own *mean) *float64 {
	switch {
	case own.weight == 0:
		return nil
	case own.value() == 0:
		return percent(1)
	}
	return percent(best.value() / own.value())
}

func percent(x float64) *float64 {
	x = 100 * min(max(x, 0), 1)
	return &x
}

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

// figuresOf are a pool's figures, from what is known of its models.
func (f *fold) figuresOf(pool int, now int64) (out figures) {
	t := f.setup.Table
	seen := map[int]bool{}
	for _, r := range t.Routes() {
		for i, c := range r.Candidates() {
			if c.Pool != pool || seen[c.Target] {
				continue
			}
			seen[c.Target] = true
			s := f.stats(t.Targets()[c.Target], now)
			if s.Samples > 0 {
				out.success.add(s.Success, s.Samples)
			}
			if slow := slowness(&s); slow > 0 {
				out.slow.add(slow, s.Samples)
			}
			if c.Price != nil {
				out.cost.add(float64(c.Price.Cost(usualJob)), 1)
			}
			if s.Quality == 0 {
				s.Quality = r.Spec().Candidates[i].Quality
			}
			if s.Quality > 0 {
				out.quality.add(s.Quality, 1)
			}
		}
	}
	return out
}

// scores are those of a pool among its peers.
func (f *fold) scores(pool int, now int64) (out Scores) {
	own := f.figuresOf(pool, now)
	var group []int
	for _, g := range f.groups {
		for _, i := range g {
			if i == pool {
				group = g
			}
		}
	}
	fastest, cheapest := own.slow, own.cost
	for _, i := range group {
		if i == pool {
			continue
		}
		peer := f.figuresOf(i, now)
		if peer.slow.weight > 0 && (fastest.weight == 0 || peer.slow.value() < fastest.value()) {
			fastest = peer.slow
		}
		if peer.cost.weight > 0 && (cheapest.weight == 0 || peer.cost.value() < cheapest.value()) {
			cheapest = peer.cost
		}
	}
	out.Performance = share(&fastest, &own.slow)
	out.Cost = share(&cheapest, &own.cost)
	if own.success.weight > 0 {
		out.Reliability = percent(own.success.value())
	}
	if own.quality.weight > 0 {
		out.Quality = percent(own.quality.value())
	}
	return out
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

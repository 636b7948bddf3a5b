package observe

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/router"
)

// adaptEvery is how often adaptive weights move. The moments are those of the
// ledger's clock, so that every router that folds the same records has the same
// factors.
const (
	adaptEvery = int64(10 * time.Second)
	adaptMost  = 60 // periods without a record that are caught up with
)

// adaptStrategy is the strategy whose weights move.
const adaptStrategy = "adaptive_weights"

// adapting lists the targets whose factors move, in groups: those of each route
// of the strategy, and of routes that share one.
func adapting(t *router.Table) (groups [][]int) {
	for _, r := range t.Routes() {
		if r.Strategy() != adaptStrategy {
			continue
		}
		var group []int
		for _, c := range r.Candidates() {
			if c.Weight > 0 {
				group = append(group, c.Target)
			}
		}
		rest := groups[:0]
		for _, g := range groups {
			if slices.ContainsFunc(g, func(i int) bool { return slices.Contains(group, i) }) {
				group = append(group, g...)
			} else {
				rest = append(rest, g)
			}
		}
		slices.Sort(group)
		groups = append(rest, slices.Compact(group))
	}
	return groups
}

// adapt moves the factors at the ends of periods that lie before a time.
func (f *fold) adapt(at int64) {
	period := at / adaptEvery
	if f.adaptedAt == 0 || len(f.adaptive) == 0 {
		f.adaptedAt = period
		return
	}
	for p := max(f.adaptedAt, period-adaptMost) + 1; p <= period; p++ {
		for _, group := range f.adaptive {
			f.adaptGroup(group, p*adaptEvery)
		}
	}
	f.adaptedAt = max(f.adaptedAt, period)
}

func (f *fold) adaptGroup(group []int, now int64) {
	table := f.setup.Table
	factors, measured := make([]int32, len(group)), make([]router.Measured, len(group))
	for i, n := range group {
		k := f.key(table.Targets()[n])
		factors[i] = f.factors[k]
		s := f.tracks[k].Stats(trackConfig, now)
		measured[i] = router.Measured{Samples: int64(s.Samples), Score: slowness(&s) / max(s.Success, leastSuccess)}
	}
	for i, v := range router.Adapt(router.AdaptConfig{}, factors, measured, nil) {
		f.factors[f.key(table.Targets()[group[i]])] = v
	}
}

// leastSuccess keeps a target that always fails comparable.
const leastSuccess = 0.05

// usualAnswer is the tokens of the answer that pools are compared by.
const usualAnswer = 100

// slowness is how long a usual answer takes, in milliseconds; 0: not known.
func slowness(s *router.Stats) float64 { return s.TTFT.Mean + usualAnswer*s.PerToken.Mean }

func (f *fold) key(t router.Target) target {
	return target{f.setup.Table.Pools()[t.Pool].Name, t.Model}
}

// stats is what is known of a target, reported and moved values included.
func (f *fold) stats(t router.Target, now int64) router.Stats {
	k := f.key(t)
	s := f.tracks[k].Stats(trackConfig, now)
	s.Factor = f.factors[k]
	if q, ok := f.quality[k]; ok {
		s.Quality = max(q.Score, worstQuality)
	}
	return s
}

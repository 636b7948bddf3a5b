package router

import (
	"slices"
	"strings"
)

// registry lists every strategy, one line each.
var registry = [...]*strategy{
	&adaptiveWeights,
	&consistentHashing,
	&cost,
	&geographic,
	&healthBased,
	&latency,
	&leastConnections,
	&multiDimensional,
	&performance,
	&powerOfTwo,
	&priorityTiers,
	&quality,
	&random,
	&roundRobin,
	&throughput,
	&timeBased,
	&weightedRoundRobin,
}

// StrategyDoc describes a strategy, for `sluice route list`.
type StrategyDoc struct {
	Name    string
	Summary string
	Scorer  string // what it compares; empty: nothing
	Picker  string // how it chooses
	Weights string // what a candidate's weight does
	Params  []string
	// Shares says that jobs are split in proportion to the weights, whatever
	// was measured; Smooth that this holds exactly for every sum-of-weights
	// decisions in a row.
	Shares, Smooth bool
	// LoadAware says that depths are compared, so that weights show in what
	// is at the pools and not in each decision.
	LoadAware bool
}

// Strategies describes every strategy, sorted by name.
func Strategies() []StrategyDoc {
	docs := make([]StrategyDoc, 0, len(registry))
	for _, s := range registry {
		d := s.doc
		d.Picker = s.picker.doc
		if s.scorer != nil {
			d.Scorer = s.scorer.doc
		}
		docs = append(docs, d)
	}
	slices.SortFunc(docs, func(a, b StrategyDoc) int { return strings.Compare(a.Name, b.Name) })
	return docs
}

// strategy is a preset of a scorer and a picker.
type strategy struct {
	doc    StrategyDoc
	scorer *scorer // nil: nothing to compare
	picker picker
	// share is what a candidate's part of the jobs is in proportion to; nil:
	// its weight.
	share func(s *scratch, i int32) uint64
	// Defaults of Params.
	tolerance float64
	explore   int
}

// defaults fills in what the route does not say.
func (st *strategy) defaults(p *Params) {
	if p.Tolerance == 0 {
		p.Tolerance = st.tolerance
	}
	if p.Explore == 0 {
		p.Explore = st.explore
	}
}

// choose scores and picks; someone is eligible.
func (st *strategy) choose(s *scratch, out *Result) {
	s.scores = resize(s.scores, len(s.eligible))
	if st.scorer != nil {
		st.scorer.score(s, s.scores)
		scores, verdicts := s.scores[:len(s.eligible)], s.verdicts
		for place, i := range s.eligible {
			verdicts[i].Score = scores[place]
		}
	}
	s.split(st.share)
	place := 0
	if n := s.route.spec.Params.Explore; n > 0 && s.in.Sequence%uint64(n) == uint64(n)-1 {
		out.Explored = true
		place = pickRandom(s)
	} else {
		place = st.picker.pick(s)
	}
	out.Choice = int(s.eligible[place])
}

// split fills in the shares of the eligible.
func (s *scratch) split(share func(*scratch, int32) uint64) {
	s.shares = resize(s.shares, len(s.eligible))
	shares, weights := s.shares[:len(s.eligible)], s.route.weights
	if share == nil && len(shares) == len(weights) { // all are
		copy(shares, weights)
		return
	}
	for place, i := range s.eligible {
		if share != nil {
			shares[place] = share(s, i)
		} else {
			shares[place] = weights[i]
		}
	}
}

func findStrategy(name string) *strategy {
	for _, s := range registry {
		if s.doc.Name == name {
			return s
		}
	}
	return nil
}

func strategyNames() []string {
	names := make([]string, 0, len(registry))
	for _, s := range registry {
		names = append(names, s.doc.Name)
	}
	slices.Sort(names)
	return names
}

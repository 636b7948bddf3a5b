package router

import (
	"maps"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire"
)

// candidate is what Decide reads of a candidate. All of it is fixed. What
// every decision reads comes first, in one cache line.
type candidate struct {
	pool, target int32
	weight       int64
	weightF      float64
	inverse      float64 // 1 / weight
	hash         uint64  // of pool and model
	allowance    [numClasses]int32
	stopped      Reason // Draining or Down, by configuration
	bundles      bool
	endpoints    uint8
	capabilities Capability
	// Places in the lists of traits.
	region, schedule, access, labels int32

	price     *wire.Price
	context   int64
	maxOutput int64
	priority  float64
	quality   float64
	rates     rates // of price, 0 if it is not known
}

// rates are the prices that an expected cost is made of, in pico-dollars.
type rates struct{ input, cacheRead, output int64 }

// traits are the distinct properties of a route's candidates that a decision
// looks at once each, however many candidates share them.
type traits struct {
	access    []accessList
	labels    []map[string]string
	schedules []schedule
	regions   []string
	levels    []int64 // distinct weights, ascending
	// What all candidates have, so that a filter can be skipped.
	endpoints    uint8
	capabilities Capability
	bounded      bool // a context length is known for some
	restricted   bool // some have an access list
	scheduled    bool // some have a schedule
	unpriced     bool // the price of some is not known
	bundles      bool // some take bundles
	maxRate      int64
}

// accessList says who may use a pool. Empty lists allow everyone.
type accessList struct{ tenants, tiers []string }

// normalised is a copy of the specification with candidates sorted and
// defaults applied.
func normalised(r *RouteSpec) RouteSpec {
	s := *r
	s.Candidates = slices.Clone(r.Candidates)
	slices.SortFunc(s.Candidates, func(a, b CandidateSpec) int {
		if c := strings.Compare(a.Pool, b.Pool); c != 0 {
			return c
		}
		return strings.Compare(a.Model, b.Model)
	})
	for i := range s.Candidates {
		c := &s.Candidates[i]
		if c.Price != nil {
			price := *c.Price
			c.Price = &price
		}
		if c.Schedule != nil {
			c.Schedule = &Schedule{Location: c.Schedule.Location, Windows: slices.Clone(c.Schedule.Windows)}
		}
	}
	s.Require = slices.Clone(r.Require)
	s.Params.Nearness = maps.Clone(r.Params.Nearness)
	for from, near := range s.Params.Nearness { // in any order: each is cloned
		s.Params.Nearness[from] = slices.Clone(near)
	}
	if s.Params.OutputTokens == 0 {
		s.Params.OutputTokens = 512
	}
	if s.Params.Percentile == 0 {
		s.Params.Percentile = 90
	}
	if s.Params.Bound == 0 {
		s.Params.Bound = 1.25
	}
	s.Params.Scorers = slices.Clone(r.Params.Scorers)
	slices.SortFunc(s.Params.Scorers, func(a, b ScorerWeight) int { return strings.Compare(a.Scorer, b.Scorer) })
	return s
}

// compile fills in what Decide reads of a route.
func (t *Table) compile(r *Route) {
	r.strategy = findStrategy(r.spec.Strategy)
	r.strategy.defaults(&r.spec.Params)
	r.dimensions = dimensions(&r.spec.Params)
	r.traits.endpoints, r.traits.capabilities = allEndpoints, ^Capability(0)
	for i := range r.spec.Candidates {
		spec := &r.spec.Candidates[i]
		pool := t.index[spec.Pool]
		target := t.TargetIndex(pool, spec.Model)
		r.candidates = append(r.candidates, Candidate{
			Pool: pool, PoolName: spec.Pool, Model: spec.Model, Weight: spec.Weight, Price: spec.Price, Target: target,
		})
		r.compiled = append(r.compiled, t.candidate(r, spec, pool, target))
		c := &r.compiled[i]
		r.weights = append(r.weights, uint64(spec.Weight))
		r.addTraits(c)
		v := Verdict{}
		switch {
		case spec.Weight == 0:
			v.Excluded = ZeroWeight
		case !hasLabels(t.pools[pool].Labels, r.spec.Require):
			v.Excluded = WrongLabels
		default:
			r.open = append(r.open, int32(i))
		}
		r.initial = append(r.initial, v)
	}
	slices.Sort(r.traits.levels)
	r.traits.levels = slices.Compact(r.traits.levels)
}

func (t *Table) candidate(r *Route, spec *CandidateSpec, pool, target int) candidate {
	p := &t.pools[pool]
	c := candidate{
		pool: int32(pool), target: int32(target), price: spec.Price, context: spec.Context,
		weight: int64(spec.Weight), weightF: float64(spec.Weight), inverse: 1 / float64(max(spec.Weight, 1)),
		hash:      mix(hashString(spec.Pool) ^ mix(hashString(spec.Model))),
		maxOutput: spec.MaxOutput, priority: float64(spec.Priority), quality: spec.Quality,
		bundles: p.Bundles, endpoints: endpointSet(p.Endpoints), capabilities: spec.Capabilities, allowance: t.allowance[pool],
		access:   place(&r.traits.access, accessList{p.Tenants, p.TenantTiers}, equalAccess),
		labels:   place(&r.traits.labels, p.Labels, maps.Equal[map[string]string, map[string]string]),
		region:   place(&r.traits.regions, p.Region, func(a, b string) bool { return a == b }),
		schedule: place(&r.traits.schedules, compileSchedule(spec.Schedule), equalSchedules),
	}
	if spec.Price != nil {
		c.rates = rates{int64(spec.Price.Input), int64(spec.Price.CacheRead), int64(spec.Price.Output)}
	}
	if c.capabilities == 0 {
		c.capabilities = p.Capabilities
	}
	if c.capabilities == 0 {
		c.capabilities = ^Capability(0)
	}
	switch {
	case p.Draining:
		c.stopped = Draining
	case p.Down:
		c.stopped = Down
	}
	return c
}

func (r *Route) addTraits(c *candidate) {
	tr := &r.traits
	tr.endpoints &= c.endpoints
	tr.capabilities &= c.capabilities
	tr.bundles = tr.bundles || c.bundles
	tr.bounded = tr.bounded || c.context > 0
	tr.restricted = tr.restricted || !tr.access[c.access].open()
	tr.scheduled = tr.scheduled || tr.schedules[c.schedule].windows != nil
	if c.weight > 0 {
		tr.levels = append(tr.levels, c.weight)
	}
	tr.unpriced = tr.unpriced || c.price == nil
	if p := c.price; p != nil {
		tr.maxRate = max(tr.maxRate, int64(p.Input), int64(p.CacheRead), int64(p.CacheWrite), int64(p.Output), int64(p.Reasoning))
	}
}

// place is the index of v in list, where it is added if it is new.
func place[T any](list *[]T, v T, equal func(a, b T) bool) int32 {
	for i := range *list {
		if equal((*list)[i], v) {
			return int32(i)
		}
	}
	*list = append(*list, v)
	return int32(len(*list) - 1)
}

func equalAccess(a, b accessList) bool {
	return slices.Equal(a.tenants, b.tenants) && slices.Equal(a.tiers, b.tiers)
}

func (a *accessList) open() bool { return len(a.tenants) == 0 && len(a.tiers) == 0 }

func hasLabels(labels map[string]string, want []Label) bool {
	for _, l := range want {
		if v, ok := labels[l.Name]; !ok || v != l.Value {
			return false
		}
	}
	return true
}

// allEndpoints has a bit for each endpoint of the contract.
const allEndpoints = 1<<5 - 1

// endpointBit is the endpoint's bit, 0 for one that is not known.
func endpointBit(e wire.Endpoint) uint8 {
	switch e {
	case wire.ChatCompletions:
		return 1 << 0
	case wire.Responses:
		return 1 << 1
	case wire.Embeddings:
		return 1 << 2
	case wire.Completions:
		return 1 << 3
	case wire.Messages:
		return 1 << 4
	}
	return 0
}

func endpointSet(list []wire.Endpoint) uint8 {
	if len(list) == 0 {
		return allEndpoints
	}
	var set uint8
	for _, e := range list {
		set |= endpointBit(e)
	}
	return set
}

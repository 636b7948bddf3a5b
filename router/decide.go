package router

import "github.com/sluicehq/sluice/sdk/wire"

// Input is what a decision is for. The caller owns it; Decide does not keep
// it and changes nothing in it.
type Input struct {
	Meta     *wire.Meta     `json:"meta,omitzero"`
	Progress *wire.Progress `json:"progress,omitzero"` // nil: no attempt yet
	Now      int64          `json:"now,omitzero"`      // Unix nanoseconds
	// Sequence is the route's decision counter: what round robins turn on.
	// Routers that run side by side start theirs at different places.
	Sequence uint64 `json:"sequence,omitzero"`
	// Random is entropy from the caller: what random picks and ties turn on.
	Random uint64 `json:"random,omitzero"`
	// Stats are measurements by target; those beyond its end are not known.
	Stats []Stats `json:"stats,omitzero"`
	// Tier of the tenant.
	Tier string `json:"tier,omitzero"`
	// Aged jobs find a pool full no earlier than the most urgent class does.
	Aged bool `json:"aged,omitzero"`
	// Needs are capabilities beside those that Meta tells.
	Needs Capability `json:"needs,omitzero"`
	// Require and Prefer are labels that rules ask for.
	Require []Label `json:"require,omitzero"`
	Prefer  []Label `json:"prefer,omitzero"`
	// Barred are candidates that the caller rules out, by their place in
	// Route.Candidates, and why; Eligible for the others. Those beyond its end
	// are not barred.
	Barred []Reason `json:"barred,omitzero"`
	// InputTokens and OutputTokens are estimates for this job; 0: input from
	// the body's size, output from the route's expectation.
	InputTokens  int64 `json:"input_tokens,omitzero"`
	OutputTokens int64 `json:"output_tokens,omitzero"`
	// CachedPool is where a prefix of CachedTokens is probably cached.
	CachedPool   string `json:"cached_pool,omitzero"`
	CachedTokens int64  `json:"cached_tokens,omitzero"`
}

// Verdict is what a decision found about a candidate (I3).
type Verdict struct {
	Score    float64 // lower is better; meaning depends on the strategy
	Excluded Reason
}

// Result is what Decide found. Its buffers are reused by the next Decide with
// the same Result, so that none is allocated (I8). It must not be copied, and
// serves one decision at a time.
type Result struct {
	// Choice is an index into Route.Candidates, -1 if there is none.
	Choice int
	// Full: none was chosen, but waiting may help.
	Full bool
	// Until is the earliest time at which the clock alone makes a candidate
	// available, 0 if that is not known (a slot may be free at any moment).
	Until int64
	// Explored: the choice was made by weight alone to renew measurements.
	Explored bool
	// Candidates has a verdict for each of Route.Candidates.
	Candidates []Verdict

	s scratch
}

// Decide chooses a candidate of the route for the job. It is a function of
// its arguments (I1). Pools beyond the end of load count as idle.
func (t *Table) Decide(route *Route, load []Load, in *Input, out *Result) {
	s := out.begin(t, route, load, in)
	s.filter()
	if len(s.eligible) == 0 {
		out.Choice = -1
		s.waiting(out)
	} else {
		route.strategy.choose(s, out)
	}
	s.end()
}

// scratch is a decision in the making. It lives in a Result, so that scorers
// and pickers can be called through the registry without allocating.
type scratch struct {
	table *Table
	route *Route
	load  []Load
	in    *Input

	verdicts []Verdict
	eligible []int32   // candidates no filter has excluded, ascending
	shares   []uint64  // by place in eligible: what pickers split jobs by
	scores   []float64 // by place in eligible
	part     []float64 // likewise, of one of the scorers that are combined

	class      int
	entropy    uint64
	job        estimate
	cheap      bool   // costs cannot overflow
	ejected    bool   // somebody eligible is
	cached     int32  // index of the pool with the cached prefix, -1: none
	labels     []bool // by place in traits
	preferred  []bool
	minutes    []int32 // minute of the week, by place in traits.schedules
	distances  []float64
	tried      []int32      // indices of pools
	bundled    bool         // a provider's batch API may take the job
	cheapest   wire.NanoUSD // of those, -1: not known
	idle       Load
	unmeasured Stats
}

// estimate is the size of a job in tokens.
type estimate struct {
	input, cached int64
	output        int64 // expected
	maxOutput     int64 // asked for as most, 0: not said
}

// maxTokens bounds estimates, so that sums of them cannot overflow.
const maxTokens = 1 << 40

func (out *Result) begin(t *Table, route *Route, load []Load, in *Input) *scratch {
	out.Choice, out.Full, out.Until, out.Explored = -1, false, 0, false
	out.Candidates = append(out.Candidates[:0], route.initial...)
	s := &out.s
	s.table, s.route, s.load, s.in, s.verdicts = t, route, load, in, out.Candidates
	s.eligible = append(s.eligible[:0], route.open...)
	s.class = classIndex(in.Meta.Class)
	if in.Aged {
		s.class = 0
	}
	s.entropy = mix(mix(in.Random) + in.Sequence*0xD6E8FEB86659FD93)
	s.job = route.estimate(in)
	s.cheap = route.cheapMath(&s.job)
	s.cached = -1
	if in.CachedPool != "" {
		s.cached = int32(t.PoolIndex(in.CachedPool))
	}
	return s
}

// end forgets what belongs to the caller.
func (s *scratch) end() {
	s.table, s.route, s.load, s.in, s.verdicts = nil, nil, nil, nil, nil
}

// estimate is what is known of the job's size beforehand.
func (r *Route) estimate(in *Input) estimate {
	e := estimate{input: in.InputTokens, output: in.OutputTokens, maxOutput: clampTokens(in.Meta.MaxTokens)}
	if e.input <= 0 {
		e.input = in.Meta.InputTokens()
	}
	if e.output <= 0 {
		e.output = r.spec.Params.OutputTokens
	}
	e.input, e.output = clampTokens(e.input), clampTokens(e.output)
	if e.maxOutput > 0 {
		e.output = min(e.output, e.maxOutput)
	}
	e.cached = min(clampTokens(in.CachedTokens), e.input)
	return e
}

func clampTokens(n int64) int64 { return min(max(n, 0), maxTokens) }

// loadOf is the load of candidate i's pool.
func (s *scratch) loadOf(i int32) *Load { return at(s.load, s.route.compiled[i].pool, &s.idle) }

// statsOf is what was measured of candidate i.
func (s *scratch) statsOf(i int32) *Stats {
	return at(s.in.Stats, s.route.compiled[i].target, &s.unmeasured)
}

// at is what list has at place i, or what stands for those beyond its end.
func at[T any](list []T, i int32, beyond *T) *T {
	if int(i) < len(list) {
		return &list[i]
	}
	return beyond
}

// waiting says whether and until when waiting helps a job without a candidate.
func (s *scratch) waiting(out *Result) {
	for i := range out.Candidates {
		r := out.Candidates[i].Excluded
		if !r.Temporary() {
			continue
		}
		out.Full = true
		if at := s.reopens(int32(i), r); at > s.in.Now && (out.Until == 0 || at < out.Until) {
			out.Until = at
		}
	}
}

// reopens is when the clock ends the reason, 0 if it does not.
func (s *scratch) reopens(i int32, r Reason) int64 {
	l := s.loadOf(i)
	switch r {
	case CircuitOpen:
		return l.OpenUntil
	case RateLimited:
		return l.limitedUntil(s.in.Now)
	case OffSchedule:
		place := s.route.compiled[i].schedule
		const minute = int64(60e9)
		wait := s.route.traits.schedules[place].wait(s.minutes[place])
		return s.in.Now - s.in.Now%minute + int64(wait)*minute
	}
	return 0
}

// Decision is the result as the ledger records it. It must be called with
// the arguments of the Decide that filled out.
func (out *Result) Decision(route *Route, load []Load, in *Input) *wire.Decision {
	d := &wire.Decision{Route: route.name, Strategy: route.Strategy(), Sequence: in.Sequence}
	d.Candidates = make([]wire.Candidate, len(out.Candidates))
	for i, v := range out.Candidates {
		c := &route.candidates[i]
		d.Candidates[i] = wire.Candidate{
			Pool: c.PoolName, Model: c.Model, Weight: c.Weight, Score: v.Score, Excluded: v.Excluded.String(),
		}
		if c.Pool < len(load) {
			d.Candidates[i].Depth = int(load[c.Pool].Depth)
		}
	}
	if out.Choice >= 0 {
		d.Pool, d.Model = route.candidates[out.Choice].PoolName, route.candidates[out.Choice].Model
	}
	return d
}

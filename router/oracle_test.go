package router

import (
	"flag"
	"math"
	"math/big"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

var oracleCases = flag.Int("oracle", 100_000, "random snapshots that the oracle decides too")

// oracle is a second implementation of the router: slow, obvious, from the
// uncompiled case, with nothing shared but mix and hashString, which are part
// of the definition.
type oracle struct {
	*snapshot
	cands  []CandidateSpec
	reason []Reason
	score  []float64
}

func (o *oracle) pool(i int) (*Pool, *Load) {
	for j := range o.pools {
		if o.pools[j].Name == o.cands[i].Pool {
			return &o.pools[j], &o.load[j]
		}
	}
	panic("no pool")
}

func (o *oracle) stat(i int) Stats { return o.stats[o.cands[i].Pool+"/"+o.cands[i].Model] }

func (o *oracle) eligible() []int {
	var list []int
	for i, r := range o.reason {
		if r == Eligible {
			list = append(list, i)
		}
	}
	return list
}

// tokens are the job's estimated input, expected output and cached prefix.
func (o *oracle) tokens() (input, output, cached int64) {
	m := o.in.Meta
	input, output = o.in.InputTokens, o.in.OutputTokens
	if input == 0 {
		input = int64(m.BodyBytes+3) / 4
	}
	if output == 0 {
		output = o.spec.Params.OutputTokens
	}
	if output == 0 {
		output = 512
	}
	if m.MaxTokens > 0 && m.MaxTokens < output {
		output = m.MaxTokens
	}
	return input, output, min(o.in.CachedTokens, input)
}

func lacks(p *Pool, labels []Label) bool {
	for _, l := range labels {
		if p.Labels[l.Name] != l.Value {
			return true
		}
	}
	return false
}

// hard is the first reason of candidate i that is not soft.
func (o *oracle) hard(i int) Reason {
	switch r := o.never(i); {
	case r != Eligible:
		return r
	case o.misplaced(i):
		return Misplaced
	}
	return o.passing(i)
}

// never is the first reason of candidate i that the job cannot wait out,
// wherever it is placed.
func (o *oracle) never(i int) Reason {
	c, m := o.cands[i], o.in.Meta
	p, _ := o.pool(i)
	input, output, _ := o.tokens()
	caps, needs := c.Capabilities, o.in.Needs
	if caps == 0 {
		caps = p.Capabilities
	}
	if m.Stream {
		needs |= Streaming
	}
	switch {
	case c.Weight == 0:
		return ZeroWeight
	case lacks(p, o.spec.Require):
		return WrongLabels
	case p.Tenants != nil && !slices.Contains(p.Tenants, m.Tenant):
		return WrongTenant
	case p.TenantTiers != nil && !slices.Contains(p.TenantTiers, o.in.Tier):
		return WrongTier
	case lacks(p, o.in.Require):
		return WrongLabels
	case p.Endpoints != nil && !slices.Contains(p.Endpoints, m.Endpoint):
		return NoEndpoint
	case caps != 0 && caps&needs != needs:
		return NoCapability
	case c.Context > 0 && input+m.MaxTokens > c.Context:
		return TooLong
	}
	if m.MaxCost != nil {
		if c.Price == nil || o.in.Progress != nil && o.in.Progress.Unknown {
			return PriceUnknown
		}
		if m.MaxTokens > 0 {
			output = m.MaxTokens
		} else if c.MaxOutput > 0 {
			output = c.MaxOutput
		}
		if c.MaxOutput > 0 && output > c.MaxOutput {
			output = c.MaxOutput
		}
		pico := input*int64(max(c.Price.Input, c.Price.CacheWrite)) + output*int64(max(c.Price.Output, c.Price.Reasoning))
		spent := wire.NanoUSD(0)
		if o.in.Progress != nil {
			spent = o.in.Progress.Spent
		}
		if wire.NanoUSD((pico+999)/1000)+spent > *m.MaxCost {
			return OverMaxCost
		}
	}
	if r := o.barred(i); r == PriceUnknown || r == BeyondBudget {
		return r
	}
	if o.in.Progress != nil && slices.Contains(o.in.Progress.Misfits, o.cands[i].Pool+"/"+o.cands[i].Model) {
		return Misfit
	}
	return Eligible
}

// passing is the first reason of candidate i that may pass.
func (o *oracle) passing(i int) Reason {
	p, l := o.pool(i)
	input, output, _ := o.tokens()
	limited := o.in.Now < l.LimitedUntil
	for _, q := range []struct {
		Quota
		n int64
	}{{l.Requests, 1}, {l.Tokens, input + output}} {
		if q.Limit > 0 && q.Used > 0 && q.Used+q.n > q.Limit {
			limited = true
		}
	}
	switch {
	case !o.onSchedule(i):
		return OffSchedule
	case o.barred(i) == OverBudget:
		return OverBudget
	case p.Draining:
		return Draining
	case p.Down:
		return Down
	case l.Draining:
		return Draining
	case l.Down:
		return Down
	case l.Unhealthy:
		return Unhealthy
	case l.Circuit == Open && o.in.Now < l.OpenUntil:
		return CircuitOpen
	case l.Circuit == HalfOpen && l.Probes < 1:
		return CircuitOpen
	case limited:
		return RateLimited
	case o.in.Aged && int(l.Depth) < p.Allowance(wire.Interactive):
		return Eligible
	case int(l.Depth) >= p.Allowance(o.in.Meta.Class):
		return Full
	}
	return Eligible
}

// onSchedule asks the calendar.
func (o *oracle) onSchedule(i int) bool {
	s := o.cands[i].Schedule
	if s == nil {
		return true
	}
	zone := s.Location
	if zone == nil {
		zone = time.UTC
	}
	now := time.Unix(0, o.in.Now).In(zone)
	minute := now.Hour()*60 + now.Minute()
	on := func(w Hours, day time.Weekday) bool { return w.Days == 0 || w.Days&(1<<day) != 0 }
	for _, w := range s.Windows {
		overnight := w.To <= w.From
		today := minute >= w.From && (overnight || minute < w.To)
		if on(w, now.Weekday()) && today || on(w, (now.Weekday()+6)%7) && overnight && minute < w.To {
			return true
		}
	}
	return false
}

// soft excludes by a predicate unless nobody would remain.
func (o *oracle) soft(r Reason, out func(i int) bool) {
	var hit, remain []int
	for _, i := range o.eligible() {
		if out(i) {
			hit = append(hit, i)
		} else {
			remain = append(remain, i)
		}
	}
	if len(remain) > 0 {
		for _, i := range hit {
			o.reason[i] = r
		}
	}
}

// decide returns the chosen candidate, -1 if none.
func (o *oracle) decide() (choice int, explored bool) {
	o.cands = slices.Clone(o.spec.Candidates)
	sort.Slice(o.cands, func(i, j int) bool {
		a, b := o.cands[i], o.cands[j]
		return a.Pool < b.Pool || a.Pool == b.Pool && a.Model < b.Model
	})
	o.reason, o.score = make([]Reason, len(o.cands)), make([]float64, len(o.cands))
	for i := range o.cands {
		o.reason[i] = o.hard(i)
	}
	o.soft(Ejected, func(i int) bool { _, l := o.pool(i); return l.Ejected })
	o.soft(Tried, func(i int) bool {
		return o.in.Progress != nil && slices.Contains(o.in.Progress.Tried, o.cands[i].Pool)
	})
	o.soft(NotPreferred, func(i int) bool { p, _ := o.pool(i); return lacks(p, o.in.Prefer) })
	left := o.eligible()
	if len(left) == 0 {
		return -1, false
	}
	o.scoreAll(left)
	every := o.spec.Params.Explore
	measured := []string{"latency", "performance", "throughput", "multi_dimensional"}
	if every == 0 && slices.Contains(measured, o.spec.Strategy) {
		every = 50
	}
	if every > 0 && o.in.Sequence%uint64(every) == uint64(every-1) {
		return o.draw(left, o.entropy()), true
	}
	return o.pick(left), false
}

func (o *oracle) entropy() uint64 {
	return mix(mix(o.in.Random) + o.in.Sequence*0xD6E8FEB86659FD93)
}

// share is what the candidate's part of the jobs is in proportion to.
func (o *oracle) share(i int) int64 {
	w := int64(o.cands[i].Weight)
	switch o.spec.Strategy {
	case "health_based":
		ok := rateOf(o.stat(i))
		return w * max(1, int64(1000*float64(ok*ok)))
	case "adaptive_weights":
		if f := int64(o.stat(i).Factor); f > 0 {
			return w * min(f, 100_000)
		}
		return w * 1000
	}
	return w
}

// spread finds the candidate at a position when all shares are laid out.
func (o *oracle) spread(list []int, position *big.Int) int {
	end := new(big.Int)
	for _, i := range list {
		if end.Add(end, big.NewInt(o.share(i))); position.Cmp(end) < 0 {
			return i
		}
	}
	panic("position beyond the end")
}

func (o *oracle) sum(list []int) *big.Int {
	w := new(big.Int)
	for _, i := range list {
		w.Add(w, big.NewInt(o.share(i)))
	}
	return w
}

// draw maps 64 random bits to the shares.
func (o *oracle) draw(list []int, random uint64) int {
	x := new(big.Int).Mul(new(big.Int).SetUint64(random), o.sum(list))
	return o.spread(list, x.Rsh(x, 64))
}

func (o *oracle) pick(left []int) int {
	switch o.spec.Strategy {
	case "random":
		return o.draw(left, o.entropy())
	case "round_robin":
		return o.round(left)
	case "weighted_round_robin", "health_based", "adaptive_weights":
		return o.smooth(left)
	case "power_of_two":
		a := o.draw(left, o.entropy())
		if len(left) == 1 {
			return a
		}
		others := slices.DeleteFunc(slices.Clone(left), func(i int) bool { return i == a })
		if b := o.draw(others, mix(o.entropy())); o.score[b] < o.score[a] {
			return b
		}
		return a
	case "consistent_hashing":
		return o.hashed(left)
	}
	return o.best(left)
}

func (o *oracle) best(left []int) int {
	tolerance := o.spec.Params.Tolerance
	if tolerance == 0 && slices.Contains([]string{"latency", "performance", "throughput"}, o.spec.Strategy) {
		tolerance = 0.1
	}
	lowest := math.Inf(1)
	for _, i := range left {
		lowest = math.Min(lowest, o.score[i])
	}
	var equal []int
	for _, i := range left {
		if o.score[i] <= lowest+float64(lowest*max(tolerance, 0)) {
			equal = append(equal, i)
		}
	}
	return o.draw(equal, o.entropy())
}

// round plays a whole cycle, round by round.
func (o *oracle) round(left []int) int {
	var turns []int
	for round := int64(1); ; round++ {
		before := len(turns)
		for _, i := range left {
			if o.share(i) >= round {
				turns = append(turns, i)
			}
		}
		if len(turns) == before {
			return turns[o.in.Sequence%uint64(len(turns))]
		}
	}
}

// smooth walks from W/φ outwards for the stride.
func (o *oracle) smooth(left []int) int {
	w := o.sum(left)
	g := new(big.Int).Mul(w, new(big.Int).SetUint64(0x9E3779B97F4A7C15))
	g.Rsh(g, 64)
	coprime := func(x *big.Int) bool {
		return x.Sign() > 0 && new(big.Int).GCD(nil, nil, x, w).Cmp(big.NewInt(1)) == 0
	}
	for d := int64(0); ; d++ {
		up, down := new(big.Int).Add(g, big.NewInt(d+1)), new(big.Int).Sub(g, big.NewInt(d))
		if coprime(up) {
			g = up
			break
		}
		if coprime(down) {
			g = down
			break
		}
	}
	x := new(big.Int).SetUint64(o.in.Sequence)
	x.Mod(x, w).Mul(x, g).Mod(x, w)
	return o.spread(left, x)
}

// hashed goes through the candidates in the order of their scores.
func (o *oracle) hashed(left []int) int {
	bound := o.spec.Params.Bound
	if bound == 0 {
		bound = 1.25
	}
	jobs := 1.0
	for _, i := range left {
		_, l := o.pool(i)
		jobs += float64(l.Depth)
	}
	w, _ := new(big.Float).SetInt(o.sum(left)).Float64()
	order := slices.Clone(left)
	sort.Slice(order, func(a, b int) bool { return o.score[order[a]] < o.score[order[b]] })
	choice := -1
	for _, i := range order {
		_, l := o.pool(i)
		if float64(l.Depth) >= bound*jobs/w*float64(o.share(i)) {
			o.reason[i] = OverBound
		} else if choice < 0 {
			choice = i
		}
	}
	return choice
}

func TestOracle(t *testing.T) {
	rng, seed := newRand(t)
	names := strategyNames()
	reasons, chosen := map[Reason]int{}, 0
	for n := range *oracleCases {
		c := randomCase(rng, names[n%len(names)])
		table, route := c.table(t)
		var r Result
		table.Decide(route, c.load, &c.in, &r)
		o := oracle{snapshot: c}
		choice, explored := o.decide()
		if fault := o.compare(&r, choice, explored); fault != "" {
			t.Fatalf("seed %d, case %d, %s: %s\n%+v\n%+v\n%+v\nrouter: %+v\noracle: %v %v", seed, n, c.spec.Strategy,
				fault, c.spec, c.load, c.in, r.Candidates, o.reason, o.score)
		}
		for _, v := range r.Candidates {
			reasons[v.Excluded]++
		}
		if choice >= 0 {
			chosen++
		}
	}
	t.Logf("%d cases, %d with a choice; reasons: %v", *oracleCases, chosen, reasons)
	for r := Eligible; r < numReasons && *oracleCases >= 10_000; r++ {
		if reasons[r] == 0 {
			t.Errorf("no case with reason %q", r)
		}
	}
}

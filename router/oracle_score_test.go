package router

import (
	"fmt"
	"math"
	"sort"
	"strings"
)

// scoreAll scores the candidates that are left by the route's strategy.
func (o *oracle) scoreAll(left []int) {
	name := map[string]string{
		"cost": "cost", "geographic": "region", "health_based": "health", "latency": "latency", "least_connections": "load",
		"performance": "performance", "power_of_two": "peak_ewma", "priority_tiers": "priority", "quality": "quality",
		"throughput": "throughput", "time_based": "schedule", "consistent_hashing": "affinity",
	}[o.spec.Strategy]
	if o.spec.Strategy == "multi_dimensional" {
		o.combine(left)
		return
	}
	if name != "" {
		for i, v := range o.scores(name, left) {
			o.score[i] = v
		}
	}
}

// combine adds scaled scores, in the order of the scorers' names.
func (o *oracle) combine(left []int) {
	dims := append([]ScorerWeight(nil), o.spec.Params.Scorers...)
	if len(dims) == 0 {
		dims = []ScorerWeight{{"cost", 1}, {"load", 1}, {"performance", 1}}
	}
	sort.Slice(dims, func(i, j int) bool { return dims[i].Scorer < dims[j].Scorer })
	for _, d := range dims {
		scores := o.scores(d.Scorer, left)
		lowest, highest := math.Inf(1), math.Inf(-1)
		for _, v := range scores {
			lowest, highest = math.Min(lowest, v), math.Max(highest, v)
		}
		for _, i := range left {
			switch {
			case math.IsInf(d.Weight/(highest-lowest), 1):
			case highest > lowest && scores[i] == highest:
				o.score[i] += d.Weight
			case highest > lowest:
				o.score[i] += float64((scores[i] - lowest) * (d.Weight / (highest - lowest)))
			}
		}
	}
}

func sane(x float64) bool { return x > 0 && x < 1e15 }

func rateOf(s Stats) float64 {
	if !sane(s.Samples) || math.IsNaN(s.Success) || s.Success < 0 || s.Success > 1 {
		return 1
	}
	return (s.Success*s.Samples + 2) / (s.Samples + 2)
}

// scores are those of one scorer, by candidate. What was not measured gets
// the lowest score of those that were.
func (o *oracle) scores(scorer string, left []int) map[int]float64 {
	out, unknown := map[int]float64{}, map[int]bool{}
	lowest, highest := math.Inf(1), 0.0
	for _, i := range left {
		v, ok := o.one(scorer, i)
		if !ok {
			unknown[i] = true
			continue
		}
		out[i] = v
		lowest, highest = math.Min(lowest, v), math.Max(highest, v)
	}
	for i := range unknown {
		switch {
		case scorer == "cost":
			out[i] = 2*highest + 1
		case len(unknown) < len(left):
			out[i] = lowest
		case scorer == "peak_ewma":
			out[i] = 1
		default:
			out[i] = 0
		}
	}
	if scorer == "load" {
		o.lead(out, left)
	}
	if scorer == "peak_ewma" {
		for _, i := range left {
			_, l := o.pool(i)
			out[i] = out[i] * (float64(l.Depth) + 0.5) / float64(o.cands[i].Weight)
		}
	}
	return out
}

// lead is what fast candidates have over the others: their part of the next
// two jobs by speed, a quarter of their weight at most.
func (o *oracle) lead(out map[int]float64, left []int) {
	times, fastest := map[int]float64{}, math.Inf(1)
	for _, i := range left {
		usual := int64(512)
		if n := o.spec.Params.OutputTokens; n > 0 {
			usual = n
		}
		if s := o.stat(i); sane(whole(s.TTFT.Mean, s.PerToken.Mean, usual)) {
			times[i] = whole(s.TTFT.Mean, s.PerToken.Mean, usual)
			fastest = math.Min(fastest, times[i])
		}
	}
	if len(times) == 0 {
		return
	}
	all, most := 0.0, 0.0
	for _, i := range left {
		if times[i] == 0 {
			times[i] = fastest
		}
		all += 1 / times[i] * float64(o.cands[i].Weight)
	}
	for _, i := range left {
		times[i] = math.Min(2*(1/times[i])/all, 0.25)
		most = math.Max(most, times[i])
	}
	for _, i := range left {
		out[i] += most - times[i]
	}
}

// one is a candidate's own score; false if it is not known.
func (o *oracle) one(scorer string, i int) (float64, bool) {
	c, s := o.cands[i], o.stat(i)
	_, l := o.pool(i)
	_, output, _ := o.tokens()
	switch scorer {
	case "load":
		return (float64(l.Depth) + 2.0/3) / float64(c.Weight), true
	case "latency":
		q := map[int][2]float64{50: {s.TTFT.P50, s.PerToken.P50}, 0: {s.TTFT.P90, s.PerToken.P90}, 90: {s.TTFT.P90, s.PerToken.P90},
			95: {s.TTFT.P95, s.PerToken.P95}, 99: {s.TTFT.P99, s.PerToken.P99}}[o.spec.Params.Percentile]
		t := whole(q[0], q[1], output)
		return t, sane(t)
	case "performance":
		t := whole(s.TTFT.Mean, s.PerToken.Mean, output)
		if sane(s.TTFT.Mean) {
			t += s.TTFT.Mean
		}
		if sane(s.Samples) && s.Success >= 0 && s.Success <= 1 {
			t = t * (s.Samples + 2) / (s.Success*s.Samples + 2)
		}
		return t, sane(t)
	case "throughput":
		return 1000 / s.Throughput, sane(1000 / s.Throughput)
	case "peak_ewma":
		return s.PeakEWMA, sane(s.PeakEWMA)
	case "cost":
		return o.cost(i)
	case "quality":
		for _, q := range []float64{s.Quality, c.Quality} {
			if q > 0 && q <= 1 {
				return 1 - q, true
			}
		}
		return 0.5, true
	case "health":
		return 1 - rateOf(s), true
	case "priority":
		return float64(c.Priority), true
	case "schedule":
		if c.Schedule == nil {
			return 1, true
		}
		return 0, true
	case "region":
		return o.distance(i), true
	case "affinity":
		return o.rendezvous(i), true
	}
	panic("no scorer " + scorer)
}

func whole(ttft, perToken float64, output int64) float64 {
	t := 0.0
	if sane(ttft) {
		t += ttft
	}
	if sane(perToken) {
		t += perToken * float64(output)
	}
	return t
}

func (o *oracle) cost(i int) (float64, bool) {
	c, share := o.cands[i], o.stat(i).CacheShare
	if c.Price == nil {
		return 0, false
	}
	input, output, prefix := o.tokens()
	cached := int64(0)
	if o.in.CachedPool == c.Pool {
		cached = prefix
	}
	if share > 0 && share <= 1 && int64(share*float64(input)) > cached {
		cached = int64(share * float64(input))
	}
	if c.MaxOutput > 0 && output > c.MaxOutput {
		output = c.MaxOutput
	}
	pico := (input-cached)*int64(c.Price.Input) + cached*int64(c.Price.CacheRead) + output*int64(c.Price.Output)
	return math.Ceil(float64(pico) / 1000), true
}

func (o *oracle) distance(i int) float64 {
	from := o.in.Meta.Region
	p, _ := o.pool(i)
	if from == "" || from == p.Region {
		return 0
	}
	if near := o.spec.Params.Nearness[from]; len(near) > 0 {
		for i, name := range near {
			if name == p.Region {
				return float64(i) + 1
			}
		}
		return float64(len(near)) + 1
	}
	if strings.Split(from, "-")[0] == strings.Split(p.Region, "-")[0] {
		return 1
	}
	return 2
}

func (o *oracle) rendezvous(i int) float64 {
	key := o.in.Meta.Affinity
	if key == "" {
		key = o.in.Meta.ID
	}
	h := mix(hashString(key) ^ mix(hashString(o.in.Meta.Tenant)))
	h = mix(h ^ mix(hashString(o.cands[i].Pool)^mix(hashString(o.cands[i].Model))))
	return negLog2(h) * (1 / float64(o.cands[i].Weight)) // negLog2 is checked in TestNegLog2
}

// compare says how a result differs from the oracle's.
func (o *oracle) compare(r *Result, choice int, explored bool) string {
	var b strings.Builder
	if r.Choice != choice || r.Explored != explored {
		fmt.Fprintf(&b, "chose %d (explored %v), oracle %d (%v)", r.Choice, r.Explored, choice, explored)
	}
	full := false
	for i, v := range r.Candidates {
		if v.Excluded != o.reason[i] {
			fmt.Fprintf(&b, "; candidate %d: %q, oracle %q", i, v.Excluded, o.reason[i])
		}
		if d := math.Abs(v.Score - o.score[i]); !(d <= 1e-7*math.Max(1, o.score[i])) {
			fmt.Fprintf(&b, "; candidate %d: score %v, oracle %v", i, v.Score, o.score[i])
		}
		full = full || choice < 0 && o.reason[i] >= OffSchedule
	}
	if r.Full != full {
		fmt.Fprintf(&b, "; full %v, oracle %v", r.Full, full)
	}
	return b.String()
}

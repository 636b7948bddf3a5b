package router

import (
	"math"
	"slices"
	"strings"
)

// checkRoute reports what is wrong with a route; false: nothing of it can be
// used.
func (t *Table) checkRoute(r *RouteSpec, f faults) bool {
	_, twice := t.routes[r.Name]
	f.check(r.Name != "", ".model", r.Name, "a name")
	f.check(!twice, ".model", r.Name, "unique")
	f.check(findStrategy(r.Strategy) != nil, ".strategy", r.Strategy, "one of "+strings.Join(strategyNames(), ", "))
	n := len(r.Candidates)
	f.check(n > 0 && n <= MaxCandidates, ".candidates", n, "a list of 1 to 4096")
	seen := map[[2]string]bool{}
	for i := range r.Candidates {
		c := &r.Candidates[i]
		key := [2]string{c.Pool, c.Model}
		cf := f.at(".candidates[%d]", i)
		t.checkCandidate(c, cf)
		cf.check(!seen[key], "", c.Pool+"/"+c.Model, "listed once")
		seen[key] = true
	}
	checkParams(&r.Params, f)
	return !twice
}

func (t *Table) checkCandidate(c *CandidateSpec, f faults) {
	f.check(t.PoolIndex(c.Pool) >= 0, ".pool", c.Pool, "the name of a pool")
	f.check(c.Model != "", ".model", c.Model, "the name of a model")
	f.check(c.Weight >= 0 && c.Weight <= MaxWeight, ".weight", c.Weight, "from 0 to 1000000")
	f.check(c.Priority >= 0 && c.Priority <= MaxPriority, ".priority", c.Priority, "from 0 to 1000000")
	f.check(c.Quality >= 0 && c.Quality <= 1, ".quality", c.Quality, "from 0 to 1")
	f.check(c.Context >= 0, ".context", c.Context, "0 or more")
	f.check(c.MaxOutput >= 0, ".max_output", c.MaxOutput, "0 or more")
	if p := c.Price; p != nil {
		lowest := min(p.Input, p.CacheRead, p.CacheWrite, p.Output, p.Reasoning)
		f.check(lowest >= 0, ".price", int64(lowest), "0 or more")
	}
	if c.Schedule == nil {
		return
	}
	f.check(len(c.Schedule.Windows) > 0, ".schedule", "no windows", "at least one window")
	for i, w := range c.Schedule.Windows {
		wf := f.at(".schedule.windows[%d]", i)
		wf.check(w.Days < 1<<7, ".days", w.Days, "a set of seven days")
		wf.check(w.From >= 0 && w.From < minutesPerDay, ".from", w.From, "a minute of the day, 0 to 1439")
		wf.check(w.To >= 0 && w.To <= minutesPerDay, ".to", w.To, "a minute of the day, 0 to 1440")
	}
}

func checkParams(p *Params, f faults) {
	ok := p.Percentile == 0 || slices.Contains([]int{50, 90, 95, 99}, p.Percentile)
	f.check(ok, ".percentile", p.Percentile, "50, 90, 95 or 99")
	f.check(p.Tolerance <= 100, ".tolerance", p.Tolerance, "at most 100") // false for NaN
	f.check(p.Bound == 0 || p.Bound >= 1 && p.Bound <= 1000, ".bound", p.Bound, "from 1 to 1000")
	f.check(p.OutputTokens >= 0 && p.OutputTokens <= 1e9, ".output_tokens", p.OutputTokens, "from 0 to 1000000000")
	names := map[string]bool{}
	for i, s := range p.Scorers {
		sf := f.at(".scorers[%d]", i)
		sf.check(findScorer(s.Scorer) != nil, ".scorer", s.Scorer, "one of "+strings.Join(scorerNames(), ", "))
		sf.check(!names[s.Scorer], ".scorer", s.Scorer, "listed once")
		sf.check(s.Weight >= 0 && s.Weight <= math.MaxInt32, ".weight", s.Weight, "0 or more")
		names[s.Scorer] = true
	}
}

package router

import (
	"maps"
	"slices"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Capture is everything that a decision saw, as a value that can be stored
// (it has a JSON form without loss) and decided again. It holds the pools of
// the route's candidates only.
type Capture struct {
	Pools []Pool    `json:"pools"`
	Route RouteSpec `json:"route"`
	// Offsets are, by candidate, its schedule's seconds east of UTC then.
	Offsets []int  `json:"offsets,omitempty"`
	Load    []Load `json:"load"`  // by pool
	Input   Input  `json:"input"` // Stats by candidate
}

// Capture keeps what Decide sees of its arguments. The result shares nothing
// with them that may change.
func (t *Table) Capture(route *Route, load []Load, in *Input) *Capture {
	c := &Capture{Route: normalised(&route.spec), Input: in.clone()}
	c.Input.Stats = nil
	for i := range route.candidates {
		cand := &route.candidates[i]
		// Candidates are sorted by pool, so equal ones are neighbours, and
		// targets of a table of these pools come in the order of candidates.
		if n := len(c.Pools); n == 0 || c.Pools[n-1].Name != cand.PoolName {
			c.Pools = append(c.Pools, t.pools[cand.Pool])
			l := Load{}
			if cand.Pool < len(load) {
				l = load[cand.Pool]
			}
			c.Load = append(c.Load, l)
		}
		s := Stats{}
		if cand.Target < len(in.Stats) {
			s = in.Stats[cand.Target]
		}
		c.Input.Stats = append(c.Input.Stats, s)
	}
	c.captureOffsets()
	return c
}

func (c *Capture) captureOffsets() {
	for i := range c.Route.Candidates {
		s := c.Route.Candidates[i].Schedule
		if s == nil {
			continue
		}
		if c.Offsets == nil {
			c.Offsets = make([]int, len(c.Route.Candidates))
		}
		if s.Location != nil {
			_, c.Offsets[i] = time.Unix(0, c.Input.Now).In(s.Location).Zone()
		}
		s.Location = nil
	}
}

// Replay decides again what was captured. The result is the same, bit for
// bit, as the one that the captured arguments gave; its Candidates and Choice
// are in the order of the captured route's.
func Replay(c *Capture) (*Result, *wire.Decision, error) {
	spec := normalised(&c.Route)
	for i := range spec.Candidates {
		if s := spec.Candidates[i].Schedule; s != nil && i < len(c.Offsets) {
			s.Location = time.FixedZone("captured", c.Offsets[i])
		}
	}
	table, err := NewTable(c.Pools, []RouteSpec{spec})
	if err != nil {
		return nil, nil, err
	}
	route := table.sorted[0]
	in := c.Input.clone()
	if in.Meta == nil {
		in.Meta = &wire.Meta{}
	}
	out := &Result{}
	table.Decide(route, c.Load, &in, out)
	return out, out.Decision(route, c.Load, &in), nil
}

// clone is a deep copy.
func (in *Input) clone() Input {
	c := *in
	if in.Meta != nil {
		m := *in.Meta
		m.Labels = maps.Clone(m.Labels)
		if m.MaxCost != nil {
			v := *m.MaxCost
			m.MaxCost = &v
		}
		c.Meta = &m
	}
	if in.Progress != nil {
		p := *in.Progress
		p.Tried, p.Misfits = slices.Clone(p.Tried), slices.Clone(p.Misfits)
		c.Progress = &p
	}
	c.Stats, c.Require, c.Prefer = slices.Clone(in.Stats), slices.Clone(in.Require), slices.Clone(in.Prefer)
	c.Barred = slices.Clone(in.Barred)
	return c
}

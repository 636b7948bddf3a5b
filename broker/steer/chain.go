package steer

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Step is one step of a route's fallback chain: another route, a shorter
// output, both, or a wait.
type Step struct {
	Route     string // decides instead; empty: the route itself
	MaxTokens int64  // most output tokens; 0: as the job says
	// Wait, if it is not 0, is all of the step: later steps count only once
	// the job has waited that long since it could first run.
	Wait time.Duration
}

// Choice is what Plan.Decide found. Its buffers are reused by the next Decide
// with the same Choice, so it serves one decision at a time.
type Choice struct {
	// Try is the decision: the one that chose or, if none could, the first.
	Try
	Left int  // steps behind it that lead to an attempt
	Next bool // and the first of them may do so now
	// Full, Crowded, Until and Opens are about a job without a candidate:
	// waiting may help; a pool's depth is among the reasons; the earliest time
	// at which the clock alone helps, 0 if that is not known; and the same
	// without the waits of the chain.
	Full, Crowded bool
	Until, Opens  int64

	// Bar, if it is set, is asked before every try which candidates are ruled
	// out (router.Input.Barred). Each is called after every try.
	Bar  func(*Try) []router.Reason
	Each func(*Try)

	first, other Try
	buffers      [2]router.Result
}

// Try is one decision of the router.
type Try struct {
	Route  *router.Route
	Result *router.Result
	Input  router.Input // what Result was decided on
	// Step of the fallback chain, from 1; 0: the course's route itself.
	Step      int
	MaxTokens int64 // that the step allows; 0: as the job says
}

// Decide runs the router on the course's route, which must be in the table,
// and where that leads nowhere on the steps of its fallback chain, in order.
// turn is the decision counter of a route that a step names. Decide is a
// function of its arguments (I1) and changes out only.
//
// A step is taken when everything before it is unavailable: every candidate
// is excluded, or those that are not have failed the job before. Candidates
// that are merely full are waited for, until a wait step of the chain has passed. What
// failures have used up of the chain is in the job's progress.
func (p *Plan) Decide(t *router.Table, load []router.Load, c *Course, in router.Input, turn func(route string) uint64, out *Choice) {
	base, _ := t.Route(c.Route)
	steps := p.chain(c)
	at, patient := min(in.Progress.Steps, len(steps)), !waited(steps, &in)
	out.Full, out.Crowded, out.Until, out.Opens, out.Left = false, false, 0, 0, 0
	out.first = Try{Route: base, Result: &out.buffers[0], Input: in, Step: at}
	out.first.Result.Choice, out.first.Result.Candidates = -1, out.first.Result.Candidates[:0]
	next := &out.first
	for i := at; i <= len(steps); i++ {
		if i > 0 && steps[i-1].Wait > 0 {
			if until := waitEnd(in.Meta, steps[i-1].Wait); in.Now < until {
				out.waits(true, until)
				break
			}
			continue
		}
		if !next.aim(t, base, steps, i, &in, turn) {
			continue // a route that is gone
		}
		out.decide(t, load, next)
		if out.Each != nil {
			out.Each(next)
		}
		if next.Result.Choice >= 0 && (next != &out.first || !next.tried() || left(steps, i) == 0) {
			out.Try = *next
			out.behind(steps, i)
			return
		}
		if crowded := out.exclusions(next.Result); crowded && patient {
			if j := slices.IndexFunc(steps[i:], func(s Step) bool { return s.Wait > 0 }); j >= 0 {
				out.waits(true, waitEnd(in.Meta, steps[i+j].Wait))
			}
			break
		}
		next = &out.other
		out.other = Try{Result: &out.buffers[1]}
	}
	if next == &out.first && !out.Full { // every step that was left is gone
		next.aim(t, base, steps, 0, &in, turn)
		out.decide(t, load, next)
		out.exclusions(next.Result)
	}
	out.Try = out.first // perhaps one that failed before: nothing else is there
	out.behind(steps, at)
}

func (out *Choice) decide(t *router.Table, load []router.Load, y *Try) {
	if out.Bar != nil {
		y.Input.Barred = out.Bar(y)
	}
	t.Decide(y.Route, load, &y.Input, y.Result)
}

// behind notes which steps there are behind step i.
func (out *Choice) behind(steps []Step, i int) {
	out.Left, out.Next = left(steps, i), false
	for _, s := range steps[i:] {
		if s.Wait == 0 {
			out.Next = true
			return
		}
		if out.Input.Now < waitEnd(out.Input.Meta, s.Wait) {
			return
		}
	}
}

// aim points a try at step i; false: its route is gone.
func (y *Try) aim(t *router.Table, base *router.Route, steps []Step, i int, in *router.Input, turn func(string) uint64) bool {
	y.Route, y.Input, y.Step, y.MaxTokens = base, *in, i, 0
	if i == 0 {
		return true
	}
	s := &steps[i-1]
	if s.Route != "" && s.Route != base.Name() {
		var ok bool
		if y.Route, ok = t.Route(s.Route); !ok {
			y.Route = base
			return false
		}
		y.Input.Sequence = turn(s.Route)
	}
	if s.MaxTokens > 0 {
		y.MaxTokens = s.MaxTokens
		meta := *in.Meta
		if meta.MaxTokens == 0 || meta.MaxTokens > s.MaxTokens {
			meta.MaxTokens = s.MaxTokens
		}
		y.Input.Meta = &meta
	}
	return true
}

// tried reports whether an earlier attempt failed at the chosen pool: the
// router chooses such a one only where no other is left.
func (y *Try) tried() bool {
	return slices.Contains(y.Input.Progress.Tried, y.Route.Candidates()[y.Result.Choice].PoolName)
}

// Decision is the try as the ledger records it; load is the one that was
// decided on.
func (y *Try) Decision(load []router.Load) *wire.Decision {
	d := y.Result.Decision(y.Route, load, &y.Input)
	d.Fallback = y.Step
	return d
}

// Candidate is the one that was chosen, nil if there is none.
func (y *Try) Candidate() *router.Candidate {
	if y.Result.Choice < 0 {
		return nil
	}
	return &y.Route.Candidates()[y.Result.Choice]
}

// exclusions adds what a try without success says of waiting, and reports
// whether its candidates are merely full.
func (out *Choice) exclusions(r *router.Result) (crowded bool) {
	if r.Choice >= 0 {
		return false
	}
	for i := range r.Candidates {
		crowded = crowded || r.Candidates[i].Excluded == router.Full
	}
	out.Crowded = out.Crowded || crowded
	out.waits(r.Full, r.Until)
	if r.Until != 0 && (out.Opens == 0 || r.Until < out.Opens) {
		out.Opens = r.Until
	}
	return crowded
}

func (out *Choice) waits(full bool, until int64) {
	out.Full = out.Full || full
	if until != 0 && (out.Until == 0 || until < out.Until) {
		out.Until = until
	}
}

// waited reports whether a wait step of the chain has passed.
func waited(steps []Step, in *router.Input) bool {
	return slices.ContainsFunc(steps, func(s Step) bool { return s.Wait > 0 && in.Now >= waitEnd(in.Meta, s.Wait) })
}

// waitEnd is when a job has waited long enough.
func waitEnd(m *wire.Meta, wait time.Duration) int64 {
	return max(m.SubmittedAt, m.NotBefore) + int64(wait)
}

// left counts the steps behind step i that lead to an attempt.
func left(steps []Step, i int) (n int) {
	for _, s := range steps[i:] {
		if s.Wait == 0 {
			n++
		}
	}
	return n
}

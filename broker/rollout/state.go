package rollout

import (
	"fmt"
	"math"
	"time"

	"github.com/sluicehq/sluice/router"
)

// Versions of a route, as decisions record them.
const (
	Blue  = "blue"  // the old one
	Green = "green" // the new one
)

// Spec says how a rollout goes.
type Spec struct {
	Name  string
	Steps []int         // percent of the jobs, rising, the last 100
	Every time.Duration // a step lasts at least so long
	// MinSamples is how many attempts of a version must have ended, of late and
	// in a step, before anything is concluded from them.
	MinSamples int
	// MaxErrors is by how much green's share of failed attempts may be above
	// blue's, from 0 to 1; MaxSlowdown by what part of blue's median latency
	// green's may be above it, 0.5 being half as slow again.
	MaxErrors, MaxSlowdown float64
}

// Phase is what a rollout is doing.
type Phase string

// The phases. Paused keeps its share unless it must be rolled back; RolledBack
// has none, Done all.
const (
	Shifting   Phase = "shifting"
	Paused     Phase = "paused"
	Done       Phase = "done"
	RolledBack Phase = "rolled_back"
)

// State is how far a rollout is. All routers share it.
type State struct {
	Phase  Phase  `json:"phase"`
	Step   int    `json:"step"`
	Began  int64  `json:"began"` // Unix nanoseconds: outcomes of earlier attempts do not count (I4)
	Since  int64  `json:"since"` // of the step or phase
	Reason string `json:"reason,omitempty"`
}

// Share is the percentage of jobs that go to green.
func (s *State) Share(spec *Spec) int {
	switch {
	case s.Phase == Done:
		return 100
	case s.Phase == RolledBack || s.Phase == "" || len(spec.Steps) == 0:
		return 0 // I2
	}
	return spec.Steps[min(max(s.Step, 0), len(spec.Steps)-1)]
}

// Vitals are how a version does.
type Vitals struct {
	Samples float64 `json:"samples"` // attempts of late, decayed
	Errors  float64 `json:"errors"`  // the share of them that failed
	// Recent is that share among about the last 2 × MinSamples, which a sudden
	// change shows in first.
	Recent float64 `json:"errors_recent"`
	Median float64 `json:"p50_ms"` // of the latencies of successes; 0: not known
	Fresh  int     `json:"fresh"`  // attempts that ended in this step
}

// track folds the outcomes of a version.
type track struct {
	failed  router.Mean
	recent  router.Mean // of the last few
	latency router.Histogram
	ends    int   // in the step
	since   int64 // of the step that ends counts in
}

// halfLife is how fast the outcomes of a rollout fade.
func (spec *Spec) halfLife() int64 {
	return int64(min(max(spec.Every, time.Minute), time.Hour))
}

func (t *track) add(spec *Spec, st *State, o router.Outcome) {
	fails := 0.0
	if !o.OK {
		fails = 1
	} else if o.LatencyMS > 0 {
		t.latency.Add(o.At, o.LatencyMS, spec.halfLife())
	}
	t.failed = t.failed.Add(o.At, fails, spec.halfLife())
	t.recent = t.recent.Last(float64(spec.recent())).Add(o.At, fails, spec.halfLife())
	if t.since != st.Since {
		t.since, t.ends = st.Since, 0
	}
	t.ends++
}

func (t *track) vitals(spec *Spec, st *State, now int64) (v Vitals) {
	v.Samples = t.failed.Samples(now, spec.halfLife())
	v.Errors, v.Recent, v.Median = t.failed.Value(), t.recent.Value(), t.latency.Quantile(0.5)
	if t.since == st.Since {
		v.Fresh = t.ends
	}
	return v
}

// Next is what a rollout does now, and whether that is anything new (I1).
func Next(spec *Spec, s State, blue, green Vitals, now int64) (State, bool) {
	if s.Phase != Shifting && s.Phase != Paused {
		return s, false
	}
	if why := spec.regression(blue, green); why != "" {
		s.Phase, s.Since, s.Reason = RolledBack, now, why
		return s, true
	}
	share := s.Share(spec)
	if s.Phase == Paused || now-s.Since < int64(spec.Every) || share > 0 && green.Fresh < spec.MinSamples {
		return s, false
	}
	s.Since = now
	if s.Step++; s.Step >= len(spec.Steps) {
		s.Phase, s.Step, s.Reason = Done, len(spec.Steps)-1, "every step went well"
	}
	return s, true
}

// regression says in what green is worse than it may be, "" if it is not.
func (spec *Spec) regression(blue, green Vitals) string {
	least := float64(spec.MinSamples)
	if green.Samples < least {
		return ""
	}
	for _, g := range []struct{ share, n float64 }{{green.Errors, green.Samples}, {green.Recent, min(green.Samples, float64(spec.recent()))}} {
		if g.share-blue.Errors > spec.MaxErrors && surely(g.share, g.n, blue.Errors, blue.Samples) {
			return fmt.Sprintf("%.1f%% of green's attempts fail, %.1f%% of blue's", 100*g.share, 100*blue.Errors)
		}
	}
	if blue.Samples >= least && blue.Median > 0 && green.Median > blue.Median*(1+spec.MaxSlowdown) {
		return fmt.Sprintf("green's median latency is %.0f ms, blue's %.0f ms", green.Median, blue.Median)
	}
	return ""
}

// surely reports whether two shares differ by more than chance makes them: by
// three standard errors. Without samples to compare with, n decides alone.
func surely(share, n, other, m float64) bool {
	if m < 1 {
		return true
	}
	p := (share*n + other*m) / (n + m)
	return share-other > 3*math.Sqrt(p*(1-p)*(1/n+1/m))
}

// recent is how many attempts Vitals.Recent is about.
func (spec *Spec) recent() int { return 2 * spec.MinSamples }

// Action is what an operator does to a rollout.
type Action string

// The actions: Start begins it again from its first step; Pause keeps the share
// as it is, Resume goes on; Switch sends all jobs to green at once, Back all to
// blue.
const (
	Start  Action = "start"
	Pause  Action = "pause"
	Resume Action = "resume"
	Switch Action = "switch"
	Back   Action = "back"
)

// Apply does an action. An error says that it cannot be done now.
func (s State) Apply(a Action, now int64) (State, error) {
	switch {
	case a == Start:
		return State{Phase: Shifting, Began: now, Since: now}, nil
	case a == Pause && s.Phase == Shifting:
		s.Phase = Paused
	case a == Resume && s.Phase == Paused:
		s.Phase = Shifting
	case a == Switch:
		s.Phase = Done
	case a == Back:
		s.Phase = RolledBack
	case a == Pause || a == Resume:
		return s, fmt.Errorf("the rollout is %s", s.Phase)
	default:
		return s, fmt.Errorf("no action is called %.40q: there are start, pause, resume, switch and back", string(a))
	}
	s.Since, s.Reason = now, "by an operator"
	return s, nil
}

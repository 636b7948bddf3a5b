package invoice

import (
	"math"
	"slices"
)

// Options say what a difference is.
type Options struct {
	// Relative is how far a figure may be off, as a share of the larger of the
	// two, from 0 to 1.
	Relative float64
	// Nanos is how far dollars may be off in any case, in nano-dollars.
	Nanos int64
	// Days from Since to Until, both included; "": the export's own.
	Since, Until string
	// Whole compares the sums of all days: a provider counts a call in the day
	// in which it began, Sluice in the day in which it ended.
	Whole bool
	// Aliases are names of models: theirs → ours.
	Aliases map[string]string
}

// State says how a line compares.
type State string

// The states of lines.
const (
	Same    State = "same"    // within the tolerance
	Differs State = "differs" // a figure is beyond it
	Unknown State = "unknown" // the provider has it, and our tables do not
	Unpaid  State = "unpaid"  // our tables have it, and the provider does not
)

// Line compares one day and model.
type Line struct {
	Key    Key
	State  State
	Theirs Figures
	Ours   Figures
	Beyond []Kind // figures that are off by more than the tolerance
}

// Report compares an export with our tables.
type Report struct {
	First, Last string
	Kinds       []Kind // figures that were compared
	Lines       []Line // in the order of days, and of names
	Theirs      Figures
	Ours        Figures
}

// Different counts the lines that are not the same.
func (r *Report) Different() int {
	n := 0
	for i := range r.Lines {
		if r.Lines[i].State != Same {
			n++
		}
	}
	return n
}

// Compare holds an export against our figures, grouped by [Export.By].
func Compare(e *Export, ours map[Key]*Figures, o Options) *Report {
	r := &Report{First: max(e.First, o.Since), Last: e.Last}
	if o.Until != "" {
		r.Last = min(r.Last, o.Until)
	}
	for kind := range kinds {
		if e.has[kind] {
			r.Kinds = append(r.Kinds, kind)
		}
	}
	a, b := r.window(e.lines, e, o), r.window(ours, e, o)
	if e.models() {
		a, b = matched(a, b, o.Aliases)
	}
	keys := map[Key]bool{}
	for _, m := range []map[Key]*Figures{a, b} {
		for k := range m {
			keys[k] = true
		}
	}
	for k := range keys {
		l := Line{Key: k}
		if f := a[k]; f != nil {
			l.Theirs = *f
		}
		if f := b[k]; f != nil {
			l.Ours = *f
		}
		if l.judge(r.Kinds, o) {
			r.Lines = append(r.Lines, l)
			r.Theirs.plus(&l.Theirs)
			r.Ours.plus(&l.Ours)
		}
	}
	slices.SortFunc(r.Lines, func(x, y Line) int { return x.Key.compare(y.Key) })
	return r
}

// window keeps the days that are compared, and makes the lines of both sides of
// one kind: what the export does not have is left out of ours (I1, I2).
func (r *Report) window(m map[Key]*Figures, e *Export, o Options) map[Key]*Figures {
	out := map[Key]*Figures{}
	for k, f := range m {
		if k.Day < r.First || k.Day > r.Last {
			continue
		}
		if o.Whole {
			k.Day = ""
		}
		g := *f
		if e.has[Input] && !e.has[CacheWrite] {
			g.N[Input] += g.N[CacheWrite]
		}
		for kind := range kinds {
			if !e.has[kind] {
				g.N[kind] = 0
			}
		}
		plus(out, k, &g)
	}
	return out
}

// judge sets the line's state, and reports whether there is anything in it.
func (l *Line) judge(compared []Kind, o Options) bool {
	var theirs, ours bool
	for _, k := range compared {
		x, y := l.Theirs.N[k], l.Ours.N[k]
		theirs, ours = theirs || x != 0, ours || y != 0
		allowed := o.Relative * math.Max(math.Abs(float64(x)), math.Abs(float64(y)))
		if k == Cost {
			allowed = max(allowed, float64(o.Nanos), float64(l.Theirs.slack))
		}
		if math.Abs(float64(x)-float64(y)) > allowed {
			l.Beyond = append(l.Beyond, k)
		}
	}
	switch {
	case len(l.Beyond) == 0:
		l.State = Same
	case !ours:
		l.State = Unknown
	case !theirs:
		l.State = Unpaid
	default:
		l.State = Differs
	}
	return theirs || ours
}

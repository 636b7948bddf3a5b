package account

// Kind says how a budget stands to a draw. A later one weighs more.
type Kind int

// The kinds.
const (
	Fits     Kind = iota
	Crowded       // there is room but for what others hold: in a moment
	Exceeded      // what is spent leaves no room: the policy acts
	Never         // the draw is above the whole limit
	Unpriced      // the price is not known, and the budget is in dollars
)

// String is the kind as explanations name it.
func (k Kind) String() string {
	return [...]string{Fits: "fits", Crowded: "crowded", Exceeded: "exceeded", Never: "never", Unpriced: "unpriced"}[k]
}

// Verdict is what all budgets say to a draw.
type Verdict struct {
	Kind Kind
	// Bound: some budget binds the draw, so it needs a hold.
	Bound bool
	// Budget stands in the way; nil if it fits. Of several that are exceeded
	// it is one with the strictest policy. It must not be changed.
	Budget *Budget
	// Until is when time alone makes room for an exceeded draw (Unix
	// nanoseconds); of several budgets the latest.
	Until int64
	// Bar: only this candidate is closed; others may take the job.
	Bar bool
}

// Judge asks what the budgets say to a draw for attempt n of a job, which
// may hold something already.
func (s *State) Judge(j Job, n int, draw *Draw) Verdict {
	return s.judge(s.standing(j, n), draw)
}

func (s *State) judge(old *hold, draw *Draw) Verdict {
	var own map[*counter]share
	if old != nil {
		own = s.shares(old)
	}
	var v Verdict
	for _, c := range s.index.find(&draw.Facts) {
		v.Bound = true
		v.weigh(c, draw, own[c])
	}
	return v
}

// weigh takes in what one budget says. own is what the attempt holds of it
// already, which the draw replaces where it is larger.
func (v *Verdict) weigh(c *counter, draw *Draw, own share) {
	b := &c.Budget
	n := b.Amount(draw)
	spent, held := c.at(draw.At)
	if own.n > 0 && c.slot(own.at) >= c.cache.start {
		held -= own.n
	}
	kind := Fits
	switch {
	case b.Unit == USD && draw.Unknown && !b.AllowUnknown:
		kind = Unpriced
	case n == 0:
	case n > b.Limit:
		kind = Never
	case c.behind:
		kind = Crowded // until it is known what has been spent
	case n > b.Limit-spent:
		kind = Exceeded
	case max(n, own.n) > b.Limit-spent-held:
		kind = Crowded
	}
	if kind == Fits || kind < v.Kind {
		return
	}
	if kind == Exceeded {
		until := c.opens(draw.At, n)
		if v.Kind == Exceeded {
			until = max(until, v.Until)
		}
		v.Until = until
	}
	if kind > v.Kind {
		v.Bar = kind >= Never
		if kind != Exceeded {
			v.Until = 0
		}
	}
	if kind > v.Kind || strictness(b.OnExceeded) > strictness(v.Budget.OnExceeded) {
		v.Budget = b
	}
	v.Kind = kind
	v.Bar = v.Bar || b.Scope.OfCandidate() || kind == Exceeded && b.OnExceeded == Cheaper
}

func strictness(p Policy) int {
	switch p {
	case Reject:
		return 2
	case Cheaper:
		return 1
	}
	return 0
}

// Plan says of each asked hold whether it can be taken, in their order and
// each after those before it, all budgets or none. The state stays as it is.
func (s *State) Plan(asks []Hold) []Verdict {
	type step struct {
		job      Job
		old, now *hold
	}
	var done []step
	out := make([]Verdict, len(asks))
	for i := range asks {
		h := &asks[i]
		old := s.standing(h.Job, h.N)
		if out[i] = s.judge(old, &h.Draw); out[i].Kind != Fits || !out[i].Bound {
			continue
		}
		now := merged(old, h, 0)
		s.replace(h.Job, old, now)
		done = append(done, step{h.Job, old, now})
	}
	for i := len(done) - 1; i >= 0; i-- {
		s.replace(done[i].job, done[i].now, done[i].old)
	}
	return out
}

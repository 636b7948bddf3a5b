package account

import "time"

// Standing is how a budget stands at a moment.
type Standing struct {
	Budget Budget
	Spent  int64
	Held   int64
	// Start and End are the window's, Unix nanoseconds; a rolling one ends
	// now, and a total at no time (0).
	Start, End int64
	// Forecast is what will be spent at the window's end at the pace of late;
	// of a rolling window, in a whole one. A total has none: -1.
	Forecast int64
	// Quick is the forecast by the last quarter of that time.
	Quick int64
	// Behind: what was spent is still being counted.
	Behind bool
}

// Left is what is neither spent nor held; below 0 where costs were above
// their holds, or the limit was lowered.
func (s *Standing) Left() int64 { return s.Budget.Limit - s.Spent - s.Held }

// Percent is the share of the limit that is spent, rounded down.
func (s *Standing) Percent() int64 {
	if s.Budget.Limit <= 0 {
		return 0
	}
	return int64(float64(s.Spent) / float64(s.Budget.Limit) * 100)
}

// lately is over how long a pace is measured.
func (w Window) lately() int64 {
	switch w.Span {
	case Hour:
		return 10 * int64(time.Minute)
	case Day:
		return 2 * int64(time.Hour)
	case Week, Month:
		return 24 * int64(time.Hour)
	}
	return 0
}

// Standings lists all budgets as they stand, by ID.
func (s *State) Standings(now int64) []Standing {
	var out []Standing
	for _, c := range s.order {
		out = append(out, c.standing(now))
	}
	return out
}

func (c *counter) standing(now int64) Standing {
	w := c.Budget.Window
	x := Standing{Budget: c.Budget, Behind: c.behind, Start: w.Start(now), Forecast: -1, Quick: -1}
	x.Spent, x.Held = c.at(now)
	if w.Span == Total {
		return x
	}
	left := w.length()
	if x.End = now; !w.Rolling {
		x.End = w.End(now)
		left = x.End - now
	}
	forecast := func(over int64) int64 {
		// Over whole slots: the first of them is older than asked for.
		from := w.Slot(now - over)
		n := float64(c.pace(now, over)) / float64(max(now-from, 1)) * float64(left)
		if !w.Rolling {
			n += float64(x.Spent)
		}
		return int64(min(n, 1<<62))
	}
	x.Forecast, x.Quick = forecast(w.lately()), forecast(w.lately()/4)
	return x
}

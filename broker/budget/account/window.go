package account

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Span is the length of a window.
type Span string

// The spans. A month is a calendar month, or 30 days where it rolls.
const (
	Hour  Span = "hour"
	Day   Span = "day"
	Week  Span = "week"
	Month Span = "month"
	Total Span = "total"
)

// Spans lists the words that a window may be.
func Spans() []string {
	return []string{string(Hour), string(Day), string(Week), string(Month), string(Total)}
}

// Window is the time that a limit is for. Calendar windows follow each other
// (hours start at full hours UTC, days at midnight in the zone, weeks on
// Mondays); a rolling one is the span before each moment.
type Window struct {
	Span    Span
	Rolling bool
	Zone    *time.Location // nil: UTC
}

// ParseWindow reads a span and a zone, such as Europe/Berlin ("": UTC).
func ParseWindow(span string, rolling bool, zone string) (Window, error) {
	w := Window{Span: Span(span), Rolling: rolling, Zone: time.UTC}
	switch w.Span {
	case Hour, Day, Week, Month:
	case Total:
		if rolling {
			return w, fmt.Errorf("a total does not roll")
		}
	default:
		return w, fmt.Errorf("must be %s", strings.Join(Spans(), ", "))
	}
	if zone != "" {
		at, err := time.LoadLocation(zone)
		if err != nil {
			return w, fmt.Errorf("must be a time zone such as Europe/Berlin")
		}
		w.Zone = at
	}
	return w, nil
}

// String is the window's name in a budget's ID.
func (w Window) String() string {
	if w.Rolling {
		return "rolling-" + string(w.Span)
	}
	return string(w.Span)
}

// forever is the end of a total.
const forever = int64(math.MaxInt64)

// length is that of a rolling window, about that of a calendar one.
func (w Window) length() int64 {
	switch w.Span {
	case Hour:
		return int64(time.Hour)
	case Day:
		return 24 * int64(time.Hour)
	case Week:
		return 7 * 24 * int64(time.Hour)
	case Month:
		return 30 * 24 * int64(time.Hour)
	}
	return forever
}

// slotLength is how finely sums are kept: what rolls out of a window does so
// by whole slots, late rather than early.
func (w Window) slotLength() int64 {
	switch w.Span {
	case Hour:
		return int64(time.Minute)
	case Day:
		return 15 * int64(time.Minute)
	case Week, Month:
		return 2 * int64(time.Hour)
	}
	return 0
}

// Start is the first moment (Unix nanoseconds) that counts at a time.
func (w Window) Start(at int64) int64 {
	if w.Span == Total {
		return 0
	}
	if w.Rolling {
		return floor(at-w.length(), w.slotLength())
	}
	if w.Span == Hour {
		return floor(at, int64(time.Hour))
	}
	t := time.Unix(0, at).In(w.zone())
	y, m, d := t.Date()
	switch w.Span {
	case Week:
		d -= (int(t.Weekday()) + 6) % 7
	case Month:
		d = 1
	}
	return w.midnight(y, m, d)
}

// End is the first moment after the window of a time. A rolling window has
// none: it is where a draw of that time will have rolled out.
func (w Window) End(at int64) int64 {
	if w.Span == Total {
		return forever
	}
	if w.Rolling {
		return floor(at, w.slotLength()) + w.slotLength() + w.length()
	}
	start := w.Start(at)
	if w.Span == Hour {
		return start + int64(time.Hour)
	}
	// From the middle of its first day, which is that day in any zone.
	t := time.Unix(0, start).In(w.zone()).Add(12 * time.Hour)
	y, m, d := t.Date()
	switch w.Span {
	case Week:
		d += 7
	case Month:
		m, d = m+1, 1
	default:
		d++
	}
	return w.midnight(y, m, d)
}

// Slot is where the sums keep what is of a time: its beginning.
func (w Window) Slot(at int64) int64 {
	n := w.slotLength()
	if n == 0 {
		return 0
	}
	if w.Rolling {
		return floor(at, n)
	}
	return max(floor(at, n), w.Start(at))
}

func (w Window) zone() *time.Location {
	if w.Zone == nil {
		return time.UTC
	}
	return w.Zone
}

// midnight is the first moment of a day, which some zones on some days do not
// begin at 00:00, and others pass twice.
func (w Window) midnight(y int, m time.Month, d int) int64 {
	naive := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	t := time.Date(y, m, d, 0, 0, 0, 0, w.zone())
	// Two offsets can be in force around that moment; the candidates are the
	// same wall clock by either, and the day's first moment is the earliest
	// that is of the day.
	best, last, found := t, t, false
	for _, near := range [...]time.Duration{-24 * time.Hour, 0, 24 * time.Hour} {
		_, offset := t.Add(near).Zone()
		c := time.Unix(naive.Unix()-int64(offset), 0).In(w.zone())
		if sameDay(c, naive) && (!found || c.Before(best)) && !sameDay(c.Add(-time.Nanosecond), naive) {
			best, found = c, true
		}
		if c.After(last) {
			last = c
		}
	}
	if !found { // the zone has skipped the whole day
		return last.UnixNano()
	}
	return best.UnixNano()
}

func sameDay(a, b time.Time) bool {
	ay, am, ad := a.Date()
	by, bm, bd := b.Date()
	return ay == by && am == bm && ad == bd
}

func floor(at, n int64) int64 {
	r := at % n
	if r < 0 {
		r += n
	}
	return at - r
}

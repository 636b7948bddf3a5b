package router

import (
	"slices"
	"time"
)

const (
	minutesPerDay  = 24 * 60
	minutesPerWeek = 7 * minutesPerDay
)

// schedule is a compiled Schedule: spans of minutes of the week, from Sunday
// midnight, cut at the week's end.
type schedule struct {
	location *time.Location
	windows  []span // nil: always
}

type span struct{ from, to int32 }

func compileSchedule(s *Schedule) schedule {
	if s == nil {
		return schedule{}
	}
	c := schedule{location: s.Location, windows: []span{}}
	if c.location == nil {
		c.location = time.UTC
	}
	for _, w := range s.Windows {
		for day := range 7 {
			if w.Days == 0 || w.Days>>day&1 == 1 {
				c.add(day*minutesPerDay+w.From, w.length())
			}
		}
	}
	return c
}

// length of the window in minutes.
func (w Hours) length() int {
	if w.To <= w.From {
		return w.To - w.From + minutesPerDay
	}
	return w.To - w.From
}

func (s *schedule) add(from, length int) {
	to := from + length
	s.windows = append(s.windows, span{int32(from), int32(min(to, minutesPerWeek))})
	if to > minutesPerWeek {
		s.windows = append(s.windows, span{0, int32(to - minutesPerWeek)})
	}
}

// minuteOfWeek is the local minute of the week at now.
func minuteOfWeek(now int64, location *time.Location) int32 {
	t := time.Unix(0, now).In(location)
	return int32(int(t.Weekday())*minutesPerDay + t.Hour()*60 + t.Minute())
}

// active reports whether minute lies in a window.
func (s *schedule) active(minute int32) bool {
	for _, w := range s.windows {
		if minute >= w.from && minute < w.to {
			return true
		}
	}
	return s.windows == nil
}

// wait is the number of minutes from minute to the next window's start, by
// the local clock.
func (s *schedule) wait(minute int32) int32 {
	best := int32(minutesPerWeek)
	for _, w := range s.windows {
		best = min(best, (w.from-minute+minutesPerWeek)%minutesPerWeek)
	}
	return best
}

// equalSchedules compares locations by identity: two zones may share a name.
func equalSchedules(a, b schedule) bool {
	return (a.windows == nil) == (b.windows == nil) && a.location == b.location && slices.Equal(a.windows, b.windows)
}

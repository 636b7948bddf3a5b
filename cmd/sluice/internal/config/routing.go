package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Capabilities are what models can do, as configurations name it.
func Capabilities() []string {
	return []string{"streaming", "tools", "vision", "audio", "json_schema", "thinking", "prompt_caching"}
}

func (v *validator) capabilities(key string, list []string) {
	for i, c := range list {
		v.oneOf(at(key, i), c, Capabilities())
	}
}

// candidate checks what the router looks at beside the weight.
func (v *validator) candidate(key string, c *Candidate) {
	v.number(key+".priority", int64(c.Priority), 0, 1_000_000)
	v.share(key+".quality", c.Quality, 1)
	v.number(key+".context", c.Context, 0, 1e12)
	v.number(key+".max_output", c.MaxOutput, 0, 1e12)
	v.capabilities(key+".capabilities", c.Capabilities)
	if _, err := time.LoadLocation(c.Schedule.Zone); err != nil {
		v.bad(key+".schedule.zone", c.Schedule.Zone, "must be a time zone such as Europe/Berlin")
	}
	for i, w := range c.Schedule.Windows {
		if _, err := ParseWindow(w); err != nil {
			v.bad(at(key+".schedule.windows", i), w, err.Error())
		}
	}
	if c.Schedule.Zone != "" && len(c.Schedule.Windows) == 0 {
		v.bad(key+".schedule.windows", "", "must have at least one window")
	}
}

// params checks a route's own settings.
func (v *validator) params(key string, r *Route) {
	p := &r.Params
	v.labels(key+".require", r.Require)
	key += ".params"
	if p.Percentile != 0 && !slices.Contains([]int{50, 90, 95, 99}, p.Percentile) {
		v.bad(key+".percentile", strconv.Itoa(p.Percentile), "must be 50, 90, 95 or 99")
	}
	if p.Tolerance > 100 {
		v.bad(key+".tolerance", fmt.Sprint(p.Tolerance), "must be at most 100")
	}
	if p.Bound != 0 && (p.Bound < 1 || p.Bound > 1000) {
		v.bad(key+".bound", fmt.Sprint(p.Bound), "must be from 1 to 1000")
	}
	v.number(key+".output_tokens", p.OutputTokens, 0, 1e9)
	for name, w := range p.Scorers {
		v.oneOf(key+".scorers."+name, name, v.src.Scorers)
		if n, err := strconv.ParseFloat(w, 64); err != nil || n < 0 || n > 1e9 {
			v.bad(key+".scorers."+name, w, "must be a weight, a number from 0")
		}
	}
}

// Window is when a schedule is open: on the days on which it starts (bit 0 is
// Sunday; 0 is every day), from one minute of the day to another.
type Window struct {
	Days     uint8
	From, To int
}

// ParseWindow reads "[days] [HH:MM-HH:MM]", days being such as Mon-Fri or
// Sat,Sun; what is left out is every day, or the whole day.
func ParseWindow(s string) (w Window, err error) {
	bad := fmt.Errorf("must be days and hours, such as Mon-Fri 08:00-18:00")
	for i, part := range strings.Fields(s) {
		from, to, hours := strings.Cut(part, "-")
		switch {
		case strings.Contains(part, ":"):
			var err1, err2 error
			w.From, err1 = minute(from)
			w.To, err2 = minute(to)
			if !hours || err1 != nil || err2 != nil || w.From == 24*60 || i > 1 {
				return w, bad
			}
		case i > 0:
			return w, bad
		default:
			if w.Days, err = days(part); err != nil {
				return w, bad
			}
		}
	}
	if strings.TrimSpace(s) == "" {
		return w, bad
	}
	return w, nil
}

func minute(s string) (int, error) {
	if s == "24:00" {
		return 24 * 60, nil
	}
	t, err := time.Parse("15:04", s)
	return t.Hour()*60 + t.Minute(), err
}

// days reads a list of days and ranges of days.
func days(s string) (set uint8, err error) {
	names := []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	for part := range strings.SplitSeq(strings.ToLower(s), ",") {
		from, to, isRange := strings.Cut(part, "-")
		i, j := slices.Index(names, from), slices.Index(names, to)
		if !isRange {
			j = i
		}
		if i < 0 || j < 0 {
			return 0, fmt.Errorf("no day is called %.20q", part)
		}
		for ; i != j; i = (i + 1) % 7 {
			set |= 1 << i
		}
		set |= 1 << j
	}
	return set, nil
}

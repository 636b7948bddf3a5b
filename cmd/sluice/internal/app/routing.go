package app

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/router"
)

// capabilities are the router's for the configuration's words, which have been
// checked.
func capabilities(words []string) (set router.Capability) {
	for _, w := range words {
		if i := slices.Index(config.Capabilities(), w); i >= 0 {
			set |= 1 << i
		}
	}
	return set
}

// params are the router's for the configuration's.
func params(p *config.Params) router.Params {
	out := router.Params{Percentile: p.Percentile, Tolerance: p.Tolerance, Explore: p.Explore, Bound: p.Bound, OutputTokens: p.OutputTokens}
	for region, list := range p.Nearness {
		if out.Nearness == nil {
			out.Nearness = map[string][]string{}
		}
		for near := range strings.SplitSeq(list, ",") {
			out.Nearness[region] = append(out.Nearness[region], strings.TrimSpace(near))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Scorers)) {
		weight, _ := strconv.ParseFloat(p.Scorers[name], 64) // checked when it was read
		out.Scorers = append(out.Scorers, router.ScorerWeight{Scorer: name, Weight: weight})
	}
	return out
}

// zones shares the locations of one table's schedules.
type zones map[string]*time.Location

func (z zones) of(s *config.Schedule) *router.Schedule {
	if len(s.Windows) == 0 {
		return nil
	}
	if z[s.Zone] == nil {
		at, err := time.LoadLocation(s.Zone)
		if err != nil { // checked when it was read
			at = time.UTC
		}
		z[s.Zone] = at
	}
	out := &router.Schedule{Location: z[s.Zone]}
	for _, text := range s.Windows {
		if w, err := config.ParseWindow(text); err == nil {
			out.Windows = append(out.Windows, router.Hours{Days: w.Days, From: w.From, To: w.To})
		}
	}
	return out
}

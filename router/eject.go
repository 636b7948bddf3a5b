package router

import "slices"

// Vital is how a pool does of late, compared with itself.
type Vital struct {
	Samples  float64 // decayed number of recent outcomes
	Success  float64 // share of them that succeeded
	Slowdown float64 // recent time per token divided by the usual; 1 is normal
}

// EjectConfig says what an outlier is. The zero value means the defaults.
type EjectConfig struct {
	// MinSamples that a judgement needs. Defaults to 5.
	MinSamples float64
	// Gap is how far a success rate may lie below the median of all.
	// Defaults to 0.25.
	Gap float64
	// Slowdown from which a pool is an outlier, unless the median is as slow.
	// Defaults to 3.
	Slowdown float64
	// MaxShare of the pools that may be out at once. Defaults to 0.5; never
	// all.
	MaxShare float64
	// For is how long a pool stays out the first time, nanoseconds; it
	// doubles each time up to eight-fold. Defaults to 2.5 seconds.
	For int64
}

func (c EjectConfig) withDefaults() EjectConfig {
	c.MinSamples = orDefault(c.MinSamples, 5)
	c.Gap = orDefault(c.Gap, 0.25)
	c.Slowdown = orDefault(c.Slowdown, 3)
	c.MaxShare = orDefault(c.MaxShare, 0.5)
	c.For = orDefault(c.For, 2_500_000_000)
	return c
}

// Ejection is the state of a pool among its peers.
type Ejection struct {
	Until int64 // Unix nanoseconds; out before it
	Times int32 // that it was ejected in a row
}

// Out reports whether the pool is out at a time.
func (e Ejection) Out(now int64) bool { return now < e.Until }

// Eject judges pools that are peers and updates their states in place; it
// returns how many are out. A pool whose time is over comes back whatever its
// vital says (its measurements are from before: see Track.Return), and its
// count falls with every judgement that it passes. At least one always stays.
func Eject(cfg EjectConfig, now int64, states []Ejection, vitals []Vital) int {
	cfg = cfg.withDefaults()
	n := min(len(states), len(vitals))
	out := 0
	for _, e := range states[:n] {
		if e.Out(now) {
			out++
		}
	}
	success, slowdown := medians(cfg, vitals[:n])
	most := min(int(cfg.MaxShare*float64(n)), n-1)
	for {
		worst, badness := -1, 0.0
		for i, v := range vitals[:n] {
			if b := v.badness(cfg, success, slowdown); b > badness && !states[i].Out(now) {
				worst, badness = i, b
			}
		}
		if worst < 0 || out >= most {
			break
		}
		e := &states[worst]
		e.Until = now + cfg.For<<min(e.Times, 3)
		e.Times = min(e.Times+1, 16)
		out++
	}
	for i, v := range vitals[:n] {
		if !states[i].Out(now) && v.Samples >= cfg.MinSamples && v.badness(cfg, success, slowdown) == 0 {
			states[i].Times = 0
		}
	}
	return out
}

// badness is above 0 for an outlier, the higher the worse.
func (v Vital) badness(cfg EjectConfig, success, slowdown float64) float64 {
	if v.Samples < cfg.MinSamples {
		return 0
	}
	b := 0.0
	if gap := success - v.Success; gap > cfg.Gap {
		b += gap * 1000
	}
	if known(v.Slowdown) && v.Slowdown > cfg.Slowdown*max(slowdown, 1) {
		b += v.Slowdown
	}
	return b
}

// medians of those with samples enough; the upper ones of an even number for
// success, the lower for slowdown, so that the better half is the measure.
func medians(cfg EjectConfig, vitals []Vital) (success, slowdown float64) {
	var ok, slow []float64
	for _, v := range vitals {
		if v.Samples >= cfg.MinSamples {
			ok = append(ok, v.Success)
			slow = append(slow, v.Slowdown)
		}
	}
	if len(ok) == 0 {
		return 1, 1
	}
	slices.Sort(ok)
	slices.Sort(slow)
	return ok[len(ok)/2], slow[(len(slow)-1)/2]
}

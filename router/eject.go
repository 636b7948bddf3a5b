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
	// Probes is how many jobs at once a pool gets after that, from each
	// router, until it is judged anew. Defaults to 1.
	Probes int32
	// Enough is the number of ended probes that this judgement needs; they
	// decay while the next is awaited. Defaults to 1.5, which takes two.
	Enough float64
}

func (c EjectConfig) withDefaults() EjectConfig {
	c.MinSamples = orDefault(c.MinSamples, 5)
	c.Gap = orDefault(c.Gap, 0.25)
	c.Slowdown = orDefault(c.Slowdown, 3)
	c.MaxShare = orDefault(c.MaxShare, 0.5)
	c.For = orDefault(c.For, 2_500_000_000)
	c.Probes = orDefault(c.Probes, 1)
	c.Enough = orDefault(c.Enough, 1.5)
	return c
}

// Ejection is the state of a pool among its peers.
type Ejection struct {
	Until int64 // Unix nanoseconds; out before it, 0: not ejected
	Times int32 // that it was ejected in a row
	// Probing: its time is over, and it has to prove itself.
	Probing bool
	// Returned says that the last Eject let it probe. Its Track must then
	// forget the past: see Track.Return.
	Returned bool
}

// Out reports whether the pool is out at a time.
func (e Ejection) Out(now int64) bool { return now < e.Until }

// Fill writes the ejection's part of a Load, after its depth and its
// Breaker's part. What probes is derived from the depth: nothing to count. A
// pool whose time is over probes from then on, and not from the next Eject.
func (e Ejection) Fill(cfg EjectConfig, now int64, l *Load) {
	l.Ejected = e.Out(now)
	if e.Until != 0 && !l.Ejected && l.Circuit == Closed {
		l.Circuit, l.Probes = HalfOpen, max(cfg.withDefaults().Probes-l.Depth, 0)
	}
}

// Eject judges pools that are peers and updates their states in place; it
// returns how many are out or probing, always fewer than there are. It is run
// every half second or so.
func Eject(cfg EjectConfig, now int64, states []Ejection, vitals []Vital) int {
	cfg = cfg.withDefaults()
	n := min(len(states), len(vitals))
	states, vitals = states[:n], vitals[:n]
	success, slowdown := medians(cfg, states, vitals)
	held := 0
	for i := range states {
		e, v := &states[i], vitals[i]
		e.probe(cfg, now, v, success, slowdown)
		switch {
		case e.Until != 0:
			held++
		case v.Samples >= cfg.MinSamples && v.badness(cfg.MinSamples, cfg, success, slowdown) == 0:
			e.Times = 0
		}
	}
	for most := min(int(cfg.MaxShare*float64(n)), n-1); held < most; held++ {
		worst, badness := -1, 0.0
		for i, v := range vitals {
			if b := v.badness(cfg.MinSamples, cfg, success, slowdown); b > badness && states[i].Until == 0 {
				worst, badness = i, b
			}
		}
		if worst < 0 {
			break
		}
		states[worst].eject(cfg, now)
	}
	return held
}

func (e *Ejection) eject(cfg EjectConfig, now int64) {
	*e = Ejection{Until: now + cfg.For<<min(e.Times, 3), Times: min(e.Times+1, 16)}
}

// probe moves a pool that was ejected on: to probing when its time is over,
// then in or out again by what the probes say.
func (e *Ejection) probe(cfg EjectConfig, now int64, v Vital, success, slowdown float64) {
	switch {
	case e.Until == 0 || e.Out(now):
		e.Returned = false
	case !e.Probing:
		e.Probing, e.Returned = true, true
	default:
		e.Returned = false
		if v.Samples < cfg.Enough {
			return
		}
		if v.badness(cfg.Enough, cfg, success, slowdown) > 0 {
			e.eject(cfg, now)
		} else {
			e.Probing, e.Until = false, 0
		}
	}
}

// badness is above 0 for an outlier, the higher the worse.
func (v Vital) badness(enough float64, cfg EjectConfig, success, slowdown float64) float64 {
	if v.Samples < enough {
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

// medians of those that are in and have samples enough; the upper ones of an even number for
// success, the lower for slowdown, so that the better half is the measure.
func medians(cfg EjectConfig, states []Ejection, vitals []Vital) (success, slowdown float64) {
	var ok, slow []float64
	for i, v := range vitals {
		if v.Samples >= cfg.MinSamples && states[i].Until == 0 {
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

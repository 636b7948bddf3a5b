package router

import (
	"math"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Outcome is an ended attempt, as measurements see it. What was not seen is 0.
type Outcome struct {
	At        int64 // Unix nanoseconds at its end
	OK        bool
	TTFTMS    float64
	LatencyMS float64
	Output    int64 // tokens, reasoning included
	Input     int64 // tokens, cached ones included
	CacheRead int64
}

// OutcomeOf reads an ended attempt. ok is false if it says nothing of the
// pool: the request was at fault, the job was cancelled, its worker vanished,
// or a rate limit held it off.
func OutcomeOf(a *wire.Attempt, at int64) (o Outcome, ok bool) {
	switch a.Status {
	case wire.Succeeded:
	case wire.Failed:
		switch a.ErrorCode {
		case wire.CodeProviderRefused, wire.CodeContextLength, wire.CodeContentFilter, wire.CodeUnsupported,
			wire.CodeUnsupportedParam, wire.CodeTooLarge,
			wire.CodeRateLimited, wire.CodeInterrupted, wire.CodeInternal:
			return o, false
		}
		return Outcome{At: at}, true
	default:
		return o, false
	}
	return Outcome{
		At: at, OK: true, TTFTMS: float64(a.TTFTMS), LatencyMS: float64(a.LatencyMS),
		Output: a.Usage.Output + a.Usage.Reasoning, CacheRead: a.Usage.CacheRead,
		Input: a.Usage.Input + a.Usage.CacheRead + a.Usage.CacheWrite,
	}, true
}

// Mean is a mean whose samples lose half their weight every half-life.
type Mean struct {
	Sum, Weight float64
	At          int64 // Unix nanoseconds of the last sample
}

// Add returns the mean with a sample more. A sample from before the last one
// counts as if it came with it.
func (m Mean) Add(at int64, x float64, halfLife int64) Mean {
	d := decay(at-m.At, halfLife)
	return Mean{Sum: m.Sum*d + x, Weight: m.Weight*d + 1, At: max(at, m.At)}
}

// Last is the mean when no more than limit samples count: the newest then
// always has a part of 1/limit. Whoever slows down also answers less often,
// and many fast samples would long hide the few slow ones.
func (m Mean) Last(limit float64) Mean {
	if m.Weight > limit {
		m.Sum, m.Weight = m.Sum*(limit/m.Weight), limit
	}
	return m
}

// Value is the mean, 0 without samples.
func (m Mean) Value() float64 {
	if m.Weight <= 0 {
		return 0
	}
	return m.Sum / m.Weight
}

// Samples is the decayed number of samples at a time.
func (m Mean) Samples(at, halfLife int64) float64 { return m.Weight * decay(at-m.At, halfLife) }

// decay is what is left of a weight after age.
func decay(age, halfLife int64) float64 {
	if age <= 0 || halfLife <= 0 {
		return 1
	}
	return math.Exp2(-float64(age) / float64(halfLife))
}

// Peak is a mean that rises at once to a higher sample and falls slowly: it
// distrusts whoever was slow a moment ago.
type Peak struct {
	Mean float64
	At   int64
}

// Add returns the peak with a sample more.
func (p Peak) Add(at int64, x float64, halfLife int64) Peak {
	if x >= p.Mean {
		return Peak{Mean: x, At: max(at, p.At)}
	}
	d := decay(at-p.At, halfLife)
	return Peak{Mean: p.Mean*d + x*(1-d), At: max(at, p.At)}
}

// Value is the peak at a time; without new samples it falls to nothing.
func (p Peak) Value(at, halfLife int64) float64 { return p.Mean * decay(at-p.At, halfLife) }

// TrackConfig says how fast measurements are forgotten. The zero value means
// the defaults.
type TrackConfig struct {
	// HalfLife of latencies and success, nanoseconds. Defaults to 1 minute.
	HalfLife int64
	// Recent is the half-life of what tells a sudden change. Defaults to 5
	// seconds.
	Recent int64
	// Baseline is the half-life of what is normal for the target. Defaults
	// to 10 minutes.
	Baseline int64
	// Forget is the decayed number of samples below which a target counts as
	// not known. Defaults to 0.01, about seven half-lives after one sample.
	Forget float64
}

func (c TrackConfig) withDefaults() TrackConfig {
	const second = int64(1e9)
	for _, d := range [...]struct {
		v  *int64
		to int64
	}{{&c.HalfLife, 60 * second}, {&c.Recent, 5 * second}, {&c.Baseline, 600 * second}} {
		if *d.v <= 0 {
			*d.v = d.to
		}
	}
	if !(c.Forget > 0) {
		c.Forget = 0.01
	}
	return c
}

// Track folds a target's outcomes into its Stats. It is a value: the same
// outcomes in the same order give the same Track.
type Track struct {
	OK, Speed, Cache       Mean
	MeanTTFT, MeanPerToken Mean
	RecentOK, RecentTime   Mean
	BaselineTime           Mean
	Peak                   Peak
	TTFT, PerToken         Histogram
}

// How many samples a Vital looks back on at most.
const (
	recentOutcomes = 50
	recentTimes    = 12
)

// Add folds one outcome.
func (t *Track) Add(cfg TrackConfig, o Outcome) {
	cfg = cfg.withDefaults()
	ok := 0.0
	if o.OK {
		ok = 1
	}
	t.OK = t.OK.Add(o.At, ok, cfg.HalfLife)
	t.RecentOK = t.RecentOK.Add(o.At, ok, cfg.Recent).Last(recentOutcomes)
	if !o.OK || !known(o.LatencyMS) {
		return
	}
	t.Peak = t.Peak.Add(o.At, o.LatencyMS, cfg.HalfLife)
	per := o.LatencyMS
	if known(o.TTFTMS) {
		t.TTFT.Add(o.At, o.TTFTMS, cfg.HalfLife)
		t.MeanTTFT = t.MeanTTFT.Add(o.At, o.TTFTMS, cfg.HalfLife)
		per -= o.TTFTMS
	}
	if o.Output > 0 && known(per) {
		t.Speed = t.Speed.Add(o.At, 1000*float64(o.Output)/per, cfg.HalfLife)
		per /= float64(o.Output)
		t.PerToken.Add(o.At, per, cfg.HalfLife)
		t.MeanPerToken = t.MeanPerToken.Add(o.At, per, cfg.HalfLife)
	}
	normal := o.LatencyMS / float64(o.Output+16) // so that short answers don't look slow
	t.RecentTime = t.RecentTime.Add(o.At, normal, cfg.Recent).Last(recentTimes)
	t.BaselineTime = t.BaselineTime.Add(o.At, normal, cfg.Baseline)
	if o.Input > 0 {
		t.Cache = t.Cache.Add(o.At, float64(o.CacheRead)/float64(o.Input), cfg.HalfLife)
	}
}

// Stats is what the track says at a time. What was measured too long ago
// counts as not known.
func (t *Track) Stats(cfg TrackConfig, now int64) Stats {
	cfg = cfg.withDefaults()
	s := Stats{Samples: t.OK.Samples(now, cfg.HalfLife)}
	if s.Samples < cfg.Forget {
		return Stats{}
	}
	s.Success = t.OK.Value()
	s.Throughput = t.Speed.Value()
	s.PeakEWMA = t.Peak.Value(now, cfg.HalfLife)
	s.CacheShare = t.Cache.Value()
	s.TTFT = t.TTFT.Quantiles(t.MeanTTFT.Value())
	s.PerToken = t.PerToken.Quantiles(t.MeanPerToken.Value())
	return s
}

// Vital is what the track says about a sudden change, for Eject.
func (t *Track) Vital(cfg TrackConfig, now int64) Vital {
	cfg = cfg.withDefaults()
	v := Vital{Samples: t.RecentOK.Samples(now, cfg.Recent), Success: t.RecentOK.Value(), Slowdown: 1}
	if b := t.BaselineTime.Value(); known(b) && known(t.RecentTime.Value()) {
		v.Slowdown = t.RecentTime.Value() / b
	}
	return v
}

// Return forgets what led to an ejection, so that a target that comes back is
// judged by what it does then.
func (t *Track) Return() { t.RecentOK, t.RecentTime, t.Peak = Mean{}, Mean{}, Peak{} }

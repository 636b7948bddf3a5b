package router

// Circuit is the state of a circuit breaker.
type Circuit uint8

// The states: jobs pass, none pass, a few pass as probes.
const (
	Closed Circuit = iota
	Open
	HalfOpen
)

// String is the state's name.
func (c Circuit) String() string {
	switch c {
	case Open:
		return "open"
	case HalfOpen:
		return "half_open"
	}
	return "closed"
}

// BreakerConfig says when a circuit opens and closes. The zero value means
// the defaults. Times are nanoseconds.
type BreakerConfig struct {
	// Consecutive failures open the circuit. Defaults to 5.
	Consecutive int32
	// FailureRate over the window opens it, with at least MinSamples in the
	// window. Default to 0.5 and 10.
	FailureRate float64
	MinSamples  float64
	// HalfLife of the window. Defaults to 10 seconds.
	HalfLife int64
	// OpenFor is how long the circuit stays open the first time; it doubles
	// with each time that its probes fail, up to MaxOpen. Default to 2 and
	// 20 seconds.
	OpenFor, MaxOpen int64
	// Probes may run at once while it is half open, and as many successes in
	// a row close it. Defaults to 3.
	Probes int32
	// ProbeTimeout frees the place of a probe of which nothing is heard.
	// Defaults to 2 minutes.
	ProbeTimeout int64
}

func (c BreakerConfig) withDefaults() BreakerConfig {
	const second = int64(1e9)
	c.Consecutive = orDefault(c.Consecutive, 5)
	c.FailureRate = orDefault(c.FailureRate, 0.5)
	c.MinSamples = orDefault(c.MinSamples, 10)
	c.HalfLife = orDefault(c.HalfLife, 10*second)
	c.OpenFor = orDefault(c.OpenFor, 2*second)
	c.MaxOpen = max(orDefault(c.MaxOpen, 20*second), c.OpenFor)
	c.Probes = orDefault(c.Probes, 3)
	c.ProbeTimeout = orDefault(c.ProbeTimeout, 120*second)
	return c
}

// orDefault is v, or def if v is not positive.
func orDefault[T int32 | int64 | float64](v, def T) T {
	if v > 0 {
		return v
	}
	return def
}

// EventKind says what happened to an attempt.
type EventKind uint8

// The kinds of events. AttemptIgnored is an end that says nothing of the pool.
const (
	AttemptStarted EventKind = iota
	AttemptSucceeded
	AttemptFailed
	AttemptIgnored
)

// Event is what a Breaker is told.
type Event struct {
	Kind    EventKind
	At      int64 // Unix nanoseconds
	Started int64 // when the attempt started
	// RetryAfter is when the provider asked to be called again, 0: it did not.
	RetryAfter int64
}

// Breaker is the state of a pool's circuit. It is a value: whoever folds the
// same events has the same circuit.
type Breaker struct {
	Circuit     Circuit
	Until       int64 // of an open circuit: when it half opens
	Since       int64 // of a half-open one: when it did; attempts from before say nothing
	Running     int32 // probes
	Passed      int32 // probes that succeeded since
	Trips       int32 // times it opened since it was last closed for long
	ClosedAt    int64
	Consecutive int32 // failures
	Failures    Mean  // 1 a failure, 0 a success
}

// At is the breaker when the clock has moved on.
func (b Breaker) At(cfg BreakerConfig, now int64) Breaker {
	cfg = cfg.withDefaults()
	if b.Circuit == Open && now >= b.Until {
		b.Circuit, b.Since, b.Running, b.Passed = HalfOpen, b.Until, 0, 0
	}
	if b.Circuit == HalfOpen && now-b.Since > cfg.ProbeTimeout {
		b.Since, b.Running, b.Passed = now, 0, 0
	}
	return b
}

// Fill writes the breaker's part of a Load.
func (b Breaker) Fill(cfg BreakerConfig, now int64, l *Load) {
	cfg = cfg.withDefaults()
	b = b.At(cfg, now)
	l.Circuit, l.OpenUntil, l.Probes = b.Circuit, 0, 0
	switch b.Circuit {
	case Open:
		l.OpenUntil = b.Until
	case HalfOpen:
		l.Probes = max(cfg.Probes-b.Running, 0)
	}
}

// Step is the breaker after an event.
func (b Breaker) Step(cfg BreakerConfig, e Event) Breaker {
	cfg = cfg.withDefaults()
	b = b.At(cfg, e.At)
	switch b.Circuit {
	case Closed:
		return b.stepClosed(cfg, e)
	case HalfOpen:
		return b.stepHalfOpen(cfg, e)
	}
	if e.Kind == AttemptFailed {
		b.Until = max(b.Until, e.RetryAfter)
	}
	return b
}

func (b Breaker) stepClosed(cfg BreakerConfig, e Event) Breaker {
	switch e.Kind {
	case AttemptSucceeded:
		b.Consecutive = 0
		b.Failures = b.Failures.Add(e.At, 0, cfg.HalfLife)
	case AttemptFailed:
		if e.Started != 0 && e.Started < b.ClosedAt {
			return b // it fell to the trouble that is over
		}
		b.Consecutive++
		b.Failures = b.Failures.Add(e.At, 1, cfg.HalfLife)
		often := b.Failures.Weight >= cfg.MinSamples && b.Failures.Value() >= cfg.FailureRate
		if often || b.Consecutive >= cfg.Consecutive {
			if e.At-b.ClosedAt > 2*cfg.MaxOpen {
				b.Trips = 0
			}
			return b.open(cfg, e)
		}
	}
	return b
}

func (b Breaker) stepHalfOpen(cfg BreakerConfig, e Event) Breaker {
	if e.Kind == AttemptStarted {
		b.Running++
		return b
	}
	if e.Started < b.Since {
		return b
	}
	b.Running = max(b.Running-1, 0)
	switch e.Kind {
	case AttemptFailed:
		return b.open(cfg, e)
	case AttemptSucceeded:
		if b.Passed++; b.Passed >= cfg.Probes {
			return Breaker{Trips: b.Trips, ClosedAt: e.At}
		}
	}
	return b
}

// open opens the circuit, each time for twice as long.
func (b Breaker) open(cfg BreakerConfig, e Event) Breaker {
	wait := min(cfg.OpenFor<<min(b.Trips, 20), cfg.MaxOpen)
	return Breaker{Circuit: Open, Until: max(e.At+wait, e.RetryAfter), Trips: min(b.Trips+1, 20), ClosedAt: b.ClosedAt}
}

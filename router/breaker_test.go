package router

import (
	"math/rand/v2"
	"testing"
)

// drive folds events given as letters, a second apart: s start, o success,
// x failure, i ignored end.
func drive(b Breaker, cfg BreakerConfig, at *int64, events string) Breaker {
	kinds := map[rune]EventKind{'s': AttemptStarted, 'o': AttemptSucceeded, 'x': AttemptFailed, 'i': AttemptIgnored}
	for _, e := range events {
		*at += second
		b = b.Step(cfg, Event{Kind: kinds[e], At: *at, Started: *at})
	}
	return b
}

func TestBreaker(t *testing.T) {
	for _, c := range []struct {
		events string
		want   Circuit
	}{
		{"", Closed}, {"xxxx", Closed}, {"xxxxx", Open}, {"xxxxoxxxx", Closed}, {"xxxxiiix", Open},
		{"oxoxoxoxoxoxoxoxox", Closed}, // half fail, but never ten samples' weight at this pace
		{"xxxxxiii", HalfOpen}, {"xxxxxiisss", HalfOpen}, {"xxxxxiisx", Open}, {"xxxxxiisosoo", Closed}, {"xxxxxiisosox", Open},
	} {
		at := int64(0)
		cfg := BreakerConfig{HalfLife: 5 * second}
		if got := drive(Breaker{}, cfg, &at, c.events); got.Circuit != c.want {
			t.Errorf("%q: %s, want %s (%+v)", c.events, got.Circuit, c.want, got)
		}
	}
}

func TestBreakerOpensAtARate(t *testing.T) {
	b := Breaker{}
	for i := range int64(40) {
		kind := AttemptSucceeded
		if i%5 > 1 { // 60 % fail, never five in a row
			kind = AttemptFailed
		}
		b = b.Step(BreakerConfig{}, Event{Kind: kind, At: i * second / 10})
	}
	if b.Trips == 0 {
		t.Errorf("never opened: %+v", b)
	}
}

// A half-open circuit lets a bounded number of probes through.
func TestBreakerProbes(t *testing.T) {
	at, cfg := int64(0), BreakerConfig{}
	b := drive(Breaker{}, cfg, &at, "xxxxx")
	var l Load
	b.Fill(cfg, at, &l)
	if l.Circuit != Open || l.OpenUntil != at+2*second || l.Probes != 0 {
		t.Errorf("open: %+v", l)
	}
	at += 2 * second
	for want := int32(3); want >= 0; want-- {
		b.Fill(cfg, at, &l)
		if l.Circuit != HalfOpen || l.Probes != want {
			t.Errorf("want %d probes: %+v", want, l)
		}
		b = b.Step(cfg, Event{Kind: AttemptStarted, At: at})
	}
	b.Fill(cfg, at+121*second, &l)
	if l.Probes != 3 {
		t.Errorf("lost probes still hold their places: %+v", l)
	}
}

// What started before the circuit half opened says nothing of now.
func TestBreakerIgnoresOldAttempts(t *testing.T) {
	at, cfg := int64(100*second), BreakerConfig{}
	b := drive(Breaker{}, cfg, &at, "xxxxx")
	old := at - 10*second
	at += 3 * second
	for range 5 {
		b = b.Step(cfg, Event{Kind: AttemptFailed, At: at, Started: old})
		b = b.Step(cfg, Event{Kind: AttemptSucceeded, At: at, Started: old})
	}
	if b.Circuit != HalfOpen || b.Passed != 0 {
		t.Errorf("half open: %+v", b)
	}
	b = drive(b, cfg, &at, "sososo")
	for range 10 {
		b = b.Step(cfg, Event{Kind: AttemptFailed, At: at, Started: old})
	}
	if b.Circuit != Closed {
		t.Errorf("closed: %+v", b)
	}
}

// Each time it opens for longer, up to a bound; Retry-After is honoured.
func TestBreakerBacksOff(t *testing.T) {
	at, cfg := int64(0), BreakerConfig{}
	b := drive(Breaker{}, cfg, &at, "xxxxx")
	for _, want := range []int64{2, 4, 8, 16, 20, 20} {
		if got := (b.Until - at) / second; b.Circuit != Open || got != want {
			t.Errorf("open for %d s, want %d: %+v", got, want, b)
		}
		at = b.Until
		b = b.Step(cfg, Event{Kind: AttemptStarted, At: at})
		b = b.Step(cfg, Event{Kind: AttemptFailed, At: at, Started: at})
	}
	b = b.Step(cfg, Event{Kind: AttemptFailed, At: at, RetryAfter: at + 90*second})
	if b.Until != at+90*second {
		t.Errorf("retry after: %+v", b)
	}
	at = b.Until
	b = drive(b, cfg, &at, "sososo")
	at += 100 * second
	if b = drive(b, cfg, &at, "xxxxx"); b.Until != at+2*second {
		t.Errorf("after a long calm: %+v", b)
	}
}

// Whatever happens: bounded, and never stuck.
func TestBreakerInvariants(t *testing.T) {
	rng, seed := newRand(t)
	cfg := BreakerConfig{}
	for range 300 {
		b, at := Breaker{}, int64(0)
		for range 200 {
			at += rng.Int64N(3 * second)
			b = b.Step(cfg, Event{Kind: EventKind(rng.IntN(4)), At: at, Started: at - rng.Int64N(10*second)})
			if b.Circuit == Open && (b.Until <= at || b.Until > at+20*second) || b.Running < 0 || b.Passed >= 3 {
				t.Fatalf("seed %d: at %d: %+v", seed, at, b)
			}
		}
		if after := b.At(cfg, at+21*second); after.Circuit == Open {
			t.Fatalf("seed %d: open for ever: %+v", seed, b)
		}
	}
}

func TestCircuitNames(t *testing.T) {
	if Closed.String() != "closed" || Open.String() != "open" || HalfOpen.String() != "half_open" {
		t.Error("names")
	}
}

func TestEject(t *testing.T) {
	good, failing, slow := Vital{50, 0.99, 1}, Vital{50, 0.5, 1}, Vital{50, 0.99, 8}
	few := Vital{2, 0, 50}
	for _, c := range []struct {
		name   string
		vitals []Vital
		out    []bool
	}{
		{"all well", []Vital{good, good, good}, []bool{false, false, false}},
		{"one fails", []Vital{good, failing, good}, []bool{false, true, false}},
		{"one is slow", []Vital{slow, good, good}, []bool{true, false, false}},
		{"one of two", []Vital{failing, good}, []bool{true, false}},
		{"all fail alike", []Vital{failing, failing, failing}, []bool{false, false, false}},
		{"all are slow alike", []Vital{slow, slow}, []bool{false, false}},
		{"too few samples", []Vital{good, few, good}, []bool{false, false, false}},
		{"at most half, the worst first", []Vital{failing, {50, 0.1, 1}, {50, 0.2, 1}, good, good, good}, []bool{true, true, true, false, false, false}},
		{"alone", []Vital{failing}, []bool{false}},
		{"none", nil, nil},
	} {
		states := make([]Ejection, len(c.vitals))
		n := Eject(EjectConfig{}, 100, states, c.vitals)
		for i, want := range c.out {
			if states[i].Out(101) != want {
				t.Errorf("%s: %d is out: %v", c.name, i, !want)
			}
			if want {
				n--
			}
		}
		if n != 0 {
			t.Errorf("%s: count is off by %d", c.name, n)
		}
	}
}

// Longer each time, and forgiven after passing a judgement.
func TestEjectBacksOff(t *testing.T) {
	good, failing := Vital{50, 1, 1}, Vital{50, 0, 1}
	states, now := make([]Ejection, 3), int64(1)
	for _, want := range []int64{2500, 5000, 10_000, 20_000, 20_000} {
		Eject(EjectConfig{}, now, states, []Vital{failing, good, good})
		if got := (states[0].Until - now) / 1e6; got != want {
			t.Errorf("out for %d ms, want %d", got, want)
		}
		now = states[0].Until
		early := Load{}
		if states[0].Fill(EjectConfig{}, now, &early); early.Ejected || early.Circuit != HalfOpen || early.Probes != 1 {
			t.Errorf("time is over, and nobody has judged yet: %+v", early)
		}
		Eject(EjectConfig{}, now, states, []Vital{failing, good, good})
		l := Load{}
		if states[0].Fill(EjectConfig{}, now, &l); !states[0].Returned || l.Ejected || l.Circuit != HalfOpen || l.Probes != 1 {
			t.Errorf("time is over: %+v %+v", states[0], l)
		}
		Eject(EjectConfig{}, now, states, []Vital{{0, 0, 1}, good, good})
		if states[0].Returned || !states[0].Probing {
			t.Errorf("no probe has ended: %+v", states[0])
		}
	}
	Eject(EjectConfig{}, now, states, []Vital{{2.5, 1, 1}, good, good})
	if states[0].Until != 0 || states[0].Probing || states[0].Times == 0 {
		t.Errorf("after its probes: %+v", states[0])
	}
	Eject(EjectConfig{}, now, states, []Vital{good, good, good})
	if states[0].Times != 0 || states[0].Out(now) {
		t.Errorf("after passing: %+v", states[0])
	}
}

// Never all, whatever the vitals.
func TestEjectNeverAll(t *testing.T) {
	rng, seed := newRand(t)
	for range 2000 {
		n := 1 + rng.IntN(6)
		states, vitals := make([]Ejection, n), make([]Vital, n)
		for now := range int64(10) {
			for i := range vitals {
				vitals[i] = Vital{rng.Float64() * 20, rng.Float64(), rng.Float64() * 10}
			}
			out := Eject(EjectConfig{MaxShare: 1}, now*second, states, vitals)
			if out >= n {
				t.Fatalf("seed %d: %d of %d out", seed, out, n)
			}
		}
	}
}

func TestAdapt(t *testing.T) {
	factors := []int32{1000, 1000, 0, 1000}
	measured := []Measured{{100, 50}, {100, 200}, {100, 125}, {3, 1}}
	var out []int32
	for range 100 {
		out = Adapt(AdaptConfig{}, factors, measured, out)
		for i := range out {
			if most := max(1, max(factors[i], 1)/10); factors[i] > 0 && (out[i] > factors[i]+most || out[i] < factors[i]-most) {
				t.Fatalf("from %d to %d in a step", factors[i], out[i])
			}
		}
		factors, out = out, factors
	}
	for i, want := range []int32{1818, 454, 727, 1000} { // mean speed 0.011; too few samples: neutral
		if factors[i] != want {
			t.Errorf("factor %d: %d, want %d", i, factors[i], want)
		}
	}
}

// However bad, everyone keeps a probe share; however good, no more than the
// ceiling.
func TestAdaptBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	factors := []int32{1000, 1000, 1000}
	for range 500 {
		factors = Adapt(AdaptConfig{Step: 500}, factors, []Measured{{100, 1e9}, {100, 1}, {int64(rng.IntN(20)), rng.Float64()}}, nil)
		for _, f := range factors {
			if f < 50 || f > 4000 {
				t.Fatalf("factors %v", factors)
			}
		}
	}
	if factors[0] != 50 || factors[1] < 1500 {
		t.Errorf("factors %v", factors)
	}
	if got := Adapt(AdaptConfig{}, []int32{50}, nil, nil); got[0] != 55 {
		t.Errorf("unmeasured does not return to neutral: %v", got)
	}
}

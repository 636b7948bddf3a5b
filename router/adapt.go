package router

// Bounds of an adaptive factor, in thousandths.
const (
	NeutralFactor = 1000
	MaxFactor     = 100_000
)

// AdaptConfig says how adaptive weights move. The zero value means the
// defaults.
type AdaptConfig struct {
	// Step is the most that a factor changes at once, in thousandths of
	// itself. Defaults to 100.
	Step int32
	// Floor is the least part of the jobs that everyone keeps as a probe
	// share, in thousandths of an even share. Defaults to 50.
	Floor int32
	// Ceiling is the most a factor may be, in thousandths. Defaults to 4000.
	Ceiling int32
	// MinSamples is how many outcomes a measurement needs to count. Defaults
	// to 10.
	MinSamples int64
}

// Measured is what a target did since the last step.
type Measured struct {
	Samples int64   // outcomes
	Score   float64 // lower is better; 0 is not known
}

// Adapt moves the factors of a route's targets one step towards what was
// measured, and returns them in out's memory. With 1/score for speed, the
// factor aimed at is the own speed divided by the mean of all: twice as fast
// gets twice as much; who has not enough samples moves towards neutral. It is a function of its
// arguments, run once a period; Floor keeps every factor above zero.
func Adapt(cfg AdaptConfig, factors []int32, measured []Measured, out []int32) []int32 {
	cfg = cfg.withDefaults()
	out = out[:0]
	speed, n := 0.0, 0
	for _, m := range measured {
		if m.counts(cfg) {
			speed += 1 / m.Score
			n++
		}
	}
	for i, f := range factors {
		if f <= 0 {
			f = NeutralFactor
		}
		aim := float64(NeutralFactor)
		if i < len(measured) && measured[i].counts(cfg) {
			aim = NeutralFactor * float64(n) / (speed * measured[i].Score)
		}
		out = append(out, cfg.step(f, aim))
	}
	return out
}

func (m *Measured) counts(cfg AdaptConfig) bool { return m.Samples >= cfg.MinSamples && known(m.Score) }

// step is the factor moved towards aim, within its bounds.
func (c AdaptConfig) step(factor int32, aim float64) int32 {
	most := max(1, int64(factor)*int64(c.Step)/1000)
	to := int64(max(float64(c.Floor), min(aim, float64(c.Ceiling))))
	to = min(max(to, int64(factor)-most), int64(factor)+most)
	return int32(min(max(to, int64(c.Floor)), int64(c.Ceiling)))
}

func (c AdaptConfig) withDefaults() AdaptConfig {
	if c.Step <= 0 {
		c.Step = 100
	}
	if c.Floor <= 0 {
		c.Floor = 50
	}
	if c.Ceiling <= 0 {
		c.Ceiling = 4000
	}
	if c.MinSamples <= 0 {
		c.MinSamples = 10
	}
	c.Step = min(c.Step, 1000)
	c.Floor = min(c.Floor, NeutralFactor)
	c.Ceiling = min(max(c.Ceiling, NeutralFactor), MaxFactor)
	return c
}

package simulated

import (
	"math/bits"

	"github.com/sluicehq/sluice/sdk/wire"
)

// rng is SplitMix64: small, fast, and the same everywhere.
type rng uint64

func (r *rng) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below draws from 0 to n-1; n must be above 0.
func (r *rng) below(n int64) int64 {
	hi, _ := bits.Mul64(r.next(), uint64(n))
	return int64(hi)
}

// share draws from [0, 1).
func (r *rng) share() float64 { return float64(r.next()>>11) / (1 << 53) }

// plan draws everything that the call will do (I1).
func (c *call) plan(raw []byte) {
	cfg := &c.p.cfg
	seed := c.line.Key
	if seed == "" {
		c.rnd = rng(cfg.Seed ^ wire.HashBody(raw))
	} else {
		c.rnd = rng(cfg.Seed ^ wire.HashBody([]byte(seed)))
	}
	c.id = c.rnd.next()
	if c.kind == models {
		return
	}
	fails, which, at := c.rnd.share(), c.rnd.next(), c.rnd.share()
	if fails < cfg.ErrorShare {
		c.fault = cfg.Faults[which%uint64(len(cfg.Faults))]
	}
	c.cached = int64(float64(c.input) * cfg.CacheShare)
	if c.kind != embedding {
		c.planOutput()
		c.planStructure()
	}
	c.faultAt = int64(at * float64(c.output-c.reasoning))
}

func (c *call) planOutput() {
	cfg := &c.p.cfg
	c.output = int64(cfg.MinTokens) + c.rnd.below(int64(cfg.MaxTokens-cfg.MinTokens+1))
	switch {
	case cfg.Fill && c.asked > 0:
		c.output = min(c.asked, maxFill)
		c.length = true
	case c.asked > 0 && c.asked <= c.output:
		c.output, c.length = c.asked, true
	}
	c.reasoning = int64(float64(c.output) * cfg.ReasoningShare)
}

// vocabulary is what answers are made of. Its words need no escapes.
var vocabulary = [64]string{
	"water", "flows", "through", "the", "gate", "and", "every", "drop", "is", "counted",
	"river", "stone", "bridge", "slow", "light", "on", "a", "quiet", "morning", "where",
	"mill", "turns", "its", "wheel", "while", "people", "carry", "grain", "along", "old",
	"path", "between", "green", "fields", "they", "talk", "of", "rain", "that", "came",
	"late", "this", "year", "but", "filled", "canal", "to", "brim", "so", "boats",
	"could", "pass", "again", "with", "wood", "salt", "and", "news", "from", "far",
	"towns", "beyond", "northern", "hills",
}

// word is the next word of the answer, as it stands inside of a JSON string.
func (c *call) word() string {
	if len(c.script) == 0 {
		return vocabulary[c.rnd.next()&63]
	}
	w := c.script[c.said%len(c.script)]
	c.said++
	return quoted(w)
}

package capture

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"

	"github.com/sluicehq/sluice/router"
)

// Kinds of entries in a block. A decision is whatever is not another kind.
const (
	kindDecision = iota
	kindRoute
	kindLoad
	kindStats
	kindOffsets
)

// format is the first byte of a block.
const format = 1

// loadFields and statsFields are a Load and a Stats as numbers: what changes
// is written as the difference to what was there before.
const (
	loadFields  = 11
	statsFields = 17
)

type (
	loadValues  [loadFields]int64
	statsValues [statsFields]uint64
)

func valuesOf(l *router.Load) loadValues {
	flags := int64(l.Circuit) << 4
	for i, set := range [...]bool{l.Draining, l.Down, l.Unhealthy, l.Ejected} {
		if set {
			flags |= 1 << i
		}
	}
	r, t := &l.Requests, &l.Tokens
	return loadValues{int64(l.Depth), int64(l.Probes), flags, l.OpenUntil, l.LimitedUntil, r.Limit, r.Used, r.Reset, t.Limit, t.Used, t.Reset}
}

func (v *loadValues) load() router.Load {
	flags := v[2]
	return router.Load{Depth: int32(v[0]), Probes: int32(v[1]), Circuit: router.Circuit(flags >> 4),
		Draining: flags&1 != 0, Down: flags&2 != 0, Unhealthy: flags&4 != 0, Ejected: flags&8 != 0,
		OpenUntil: v[3], LimitedUntil: v[4],
		Requests: router.Quota{Limit: v[5], Used: v[6], Reset: v[7]}, Tokens: router.Quota{Limit: v[8], Used: v[9], Reset: v[10]}}
}

func measuresOf(s *router.Stats) statsValues {
	f := math.Float64bits
	t, p := &s.TTFT, &s.PerToken
	return statsValues{f(s.Success), f(s.Samples), f(s.Throughput), f(s.PeakEWMA), f(s.CacheShare), f(s.Quality), uint64(uint32(s.Factor)),
		f(t.Mean), f(t.P50), f(t.P90), f(t.P95), f(t.P99), f(p.Mean), f(p.P50), f(p.P90), f(p.P95), f(p.P99)}
}

func (v *statsValues) stats() router.Stats {
	f := math.Float64frombits
	return router.Stats{Success: f(v[0]), Samples: f(v[1]), Throughput: f(v[2]), PeakEWMA: f(v[3]), CacheShare: f(v[4]), Quality: f(v[5]), Factor: int32(uint32(v[6])),
		TTFT:     router.Quantiles{Mean: f(v[7]), P50: f(v[8]), P90: f(v[9]), P95: f(v[10]), P99: f(v[11])},
		PerToken: router.Quantiles{Mean: f(v[12]), P50: f(v[13]), P90: f(v[14]), P95: f(v[15]), P99: f(v[16])}}
}

// appendLoad writes the fields that differ.
func appendLoad(b []byte, was, is *loadValues) []byte {
	mask := uint64(0)
	for i := range is {
		if is[i] != was[i] {
			mask |= 1 << i
		}
	}
	b = binary.AppendUvarint(b, mask)
	for i := range is {
		if is[i] != was[i] {
			b = binary.AppendVarint(b, is[i]-was[i])
		}
	}
	return b
}

// appendStats writes the fields that differ. Of a float that keeps its upper
// bits and has no lower ones (observe rounds to 16 bits of mantissa) little is
// left when it is turned so that those are the upper ones.
func appendStats(b []byte, was, is *statsValues) []byte {
	mask := uint64(0)
	for i := range is {
		if is[i] != was[i] {
			mask |= 1 << i
		}
	}
	b = binary.AppendUvarint(b, mask)
	for i := range is {
		if is[i] != was[i] {
			b = binary.AppendUvarint(b, bits.RotateLeft64(is[i]^was[i], mantissaTurn))
		}
	}
	return b
}

// mantissaTurn brings sign, exponent and 16 bits of mantissa to the low end.
const mantissaTurn = 28

// errGarbled says that a block is not what a Writer makes.
var errGarbled = errors.New("what the decision saw is garbled")

// input reads what was appended. After a fault everything is zero.
type input struct {
	b   []byte
	bad bool
}

func (in *input) uint() uint64 {
	v, n := binary.Uvarint(in.b)
	return took(in, v, n)
}

func (in *input) int() int64 {
	v, n := binary.Varint(in.b)
	return took(in, v, n)
}

// took is v, which had n bytes; without any it is a fault.
func took[T int64 | uint64](in *input, v T, n int) T {
	if n <= 0 {
		in.fail()
		return 0
	}
	in.b = in.b[n:]
	return v
}

func (in *input) fail() { in.b, in.bad = nil, true }

// bytes reads a length and as many bytes, which stay those of the block.
func (in *input) bytes() []byte {
	n := in.uint()
	if n > uint64(len(in.b)) {
		in.fail()
		return nil
	}
	out := in.b[:n:n]
	in.b = in.b[n:]
	return out
}

func (in *input) text() string { return string(in.bytes()) }

// index reads a number below n.
func (in *input) index(n int) int {
	v := in.uint()
	if v >= uint64(n) {
		in.fail()
		return -1
	}
	return int(v)
}

// list reads how many there are of something that takes a byte each at least.
func (in *input) list() int {
	n := in.uint()
	if n > uint64(len(in.b)) {
		in.fail()
		return 0
	}
	return int(n)
}

func (in *input) load(v *loadValues) {
	mask := in.uint()
	for i := range v {
		if mask&(1<<i) != 0 {
			v[i] += in.int()
		}
	}
}

func (in *input) stats(v *statsValues) {
	mask := in.uint()
	for i := range v {
		if mask&(1<<i) != 0 {
			v[i] ^= bits.RotateLeft64(in.uint(), -mantissaTurn)
		}
	}
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

package router

import "math/bits"

// picker chooses one of the eligible candidates and returns its place among
// them.
type picker struct {
	doc  string
	pick func(s *scratch) int
}

// total is the sum of all shares; at least one of them is positive.
func total(shares []uint64) uint64 {
	var sum uint64
	for _, w := range shares {
		sum += w
	}
	return sum
}

// covering is the place whose share covers position x, when the shares are laid
// end to end.
func covering(shares []uint64, x uint64) int {
	for i, w := range shares {
		if x < w {
			return i
		}
		x -= w
	}
	return len(shares) - 1
}

// below maps 64 random bits to [0, n).
func below(random, n uint64) uint64 {
	hi, _ := bits.Mul64(random, n)
	return hi
}

// pickRandom draws by share.
func pickRandom(s *scratch) int {
	return covering(s.shares, below(s.entropy, total(s.shares)))
}

// bestPicker takes the lowest score. Whoever is within the tolerance of it is
// as good, and those are drawn from by share: not by turns, which would fall
// into step with the scores that they change.
var bestPicker = picker{
	doc: "the lowest score; among equals, random by weight",
	pick: func(s *scratch) int {
		lowest, _ := extremes(s.scores)
		limit := lowest
		if t := s.route.spec.Params.Tolerance; t > 0 {
			limit += float64(lowest * t)
		}
		var sum uint64
		shares := s.shares[:len(s.scores)]
		for place, v := range s.scores {
			if v > limit {
				shares[place] = 0
			}
			sum += shares[place]
		}
		return covering(shares, below(s.entropy, sum))
	},
}

// smoothPicker takes turns. With W the sum of the shares, turn x of W goes to
// position x·g mod W for a g near W/φ that has no factor in common with W:
// the golden rotation. So any W turns in a row give everyone exactly their
// share, and nobody's turns come in clumps.
var smoothPicker = picker{
	doc: "by turns, evenly spread, exactly in proportion to the shares",
	pick: func(s *scratch) int {
		w := total(s.shares)
		hi, lo := bits.Mul64(s.in.Sequence%w, stride(w))
		return covering(s.shares, bits.Rem64(hi, lo, w))
	},
}

// stride is the number nearest to w/φ that is coprime to w.
func stride(w uint64) uint64 {
	const golden = 0x9E3779B97F4A7C15 // 2^64/φ
	g, _ := bits.Mul64(w, golden)
	for d := uint64(0); ; d++ {
		if gcd(g+d+1, w) == 1 {
			return g + d + 1
		}
		if g > d && gcd(g-d, w) == 1 {
			return g - d
		}
	}
}

// gcd of two positive numbers.
func gcd(a, b uint64) uint64 {
	shift := bits.TrailingZeros64(a | b)
	a >>= bits.TrailingZeros64(a)
	for b != 0 {
		b >>= bits.TrailingZeros64(b)
		if a > b {
			a, b = b, a
		}
		b -= a
	}
	return a << shift
}

package wire

import (
	"math"
	"math/big"
	"testing"
	"testing/quick"
)

func TestParseUSD(t *testing.T) {
	for in, want := range map[string]NanoUSD{
		"0": 0, "1": 1e9, "0.05": 50_000_000, "0.000000001": 1, "9223372036.854775807": math.MaxInt64, "007.50": 7_500_000_000, "1.": 1e9,
	} {
		if got, err := ParseUSD(in); err != nil || got != want {
			t.Errorf("ParseUSD(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", ".", ".5", "-1", "+1", "1e3", "1,5", "1_0", " 1", "NaN", "Inf", "0x1", "0.0000000001", "9223372036.854775808", "1.2.3", "١"} {
		if got, err := ParseUSD(in); err == nil {
			t.Errorf("ParseUSD(%q) = %d, want an error", in, got)
		}
	}
}

func TestNanoUSDString(t *testing.T) {
	for n, want := range map[NanoUSD]string{0: "0.000000000", 150: "0.000000150", 1e9: "1.000000000", -1: "-0.000000001",
		math.MaxInt64: "9223372036.854775807", math.MinInt64: "-9223372036.854775808"} {
		if got := n.String(); got != want {
			t.Errorf("%d: %q, want %q", int64(n), got, want)
		}
	}
}

func TestRate(t *testing.T) {
	for in, want := range map[string]Rate{"0": 0, "1": 1_000_000, "0.0375": 37_500, "2.50": 2_500_000, "0.000001": 1} {
		got, err := ParseRate(in)
		if err != nil || got != want {
			t.Errorf("ParseRate(%q) = %d, %v", in, got, err)
		}
		if back, err := ParseRate(got.String()); err != nil || back != got {
			t.Errorf("%q does not come back from %q", in, got.String())
		}
	}
	if _, err := ParseRate("0.0000001"); err == nil {
		t.Error("more than six decimals: no error")
	}
}

// FuzzParseUSD: String and ParseUSD are inverses.
func FuzzParseUSD(f *testing.F) {
	f.Add("0.05")
	f.Add("9223372036.854775808")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseUSD(s)
		if err != nil {
			return
		}
		if back, err := ParseUSD(n.String()); n < 0 || err != nil || back != n {
			t.Fatalf("%q is %d is %q is %d (%v)", s, n, n.String(), back, err)
		}
	})
}

// oracle is the cost in whole numbers without bound.
func oracle(p Price, u Usage) NanoUSD {
	sum := big.NewInt(0)
	for _, x := range [...]struct {
		n int64
		r Rate
	}{{u.Input, p.Input}, {u.CacheRead, p.CacheRead}, {u.CacheWrite, p.CacheWrite}, {u.Output, p.Output}, {u.Reasoning, p.Reasoning}} {
		if x.n > 0 {
			sum.Add(sum, new(big.Int).Mul(big.NewInt(x.n), big.NewInt(int64(x.r))))
		}
	}
	q, r := new(big.Int).QuoRem(sum, big.NewInt(1000), new(big.Int))
	if r.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	if !q.IsInt64() {
		return math.MaxInt64
	}
	return NanoUSD(q.Int64())
}

func TestCost(t *testing.T) {
	p := Price{Input: 1_000_000, CacheRead: 37_500, CacheWrite: 1_250_000, Output: 2_000_000, Reasoning: 2_000_000}
	for _, c := range []struct {
		u    Usage
		want NanoUSD
	}{
		{Usage{}, 0}, {Usage{Input: 1}, 1000}, {Usage{CacheRead: 1}, 38}, {Usage{CacheRead: 2}, 75}, {Usage{CacheRead: 1, Output: 1}, 2038},
		{Usage{Input: -5, Output: 1}, 2000}, {Usage{Input: math.MaxInt64}, math.MaxInt64},
	} {
		if got := p.Cost(c.u); got != c.want {
			t.Errorf("%+v costs %d, want %d", c.u, got, c.want)
		}
	}
	check := func(i, cr, cw, o, r int64, pi, pcr, pcw, po, pr uint32, shift uint8) bool {
		u := Usage{i >> (shift % 60), cr >> (shift % 60), cw >> (shift % 60), o >> (shift % 60), r >> (shift % 60)}
		p := Price{Input: Rate(pi), CacheRead: Rate(pcr), CacheWrite: Rate(pcw), Output: Rate(po), Reasoning: Rate(pr)}
		return p.Cost(u) == oracle(p, u)
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 5000}); err != nil {
		t.Error(err)
	}
}

package wire

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// NanoUSD is an amount in nano-dollars: 1 US dollar is 1e9. The largest
// amount is about 9.2 billion dollars.
type NanoUSD int64

// NanosPerUSD is the number of nano-dollars in a dollar.
const NanosPerUSD = 1_000_000_000

// String formats the amount as dollars with nine decimals, for example
// "0.000000150".
func (n NanoUSD) String() string {
	sign, u := "", uint64(n)
	if n < 0 {
		sign, u = "-", uint64(-n)
	}
	return fmt.Sprintf("%s%d.%09d", sign, u/NanosPerUSD, u%NanosPerUSD)
}

// ParseUSD reads a decimal amount of dollars, such as "0.05". More than nine
// decimals, a sign, an exponent or an amount above 9.2e9 dollars is an error.
func ParseUSD(s string) (NanoUSD, error) {
	v, err := parseDecimal(s, 9)
	if err != nil {
		return 0, fmt.Errorf("amount in dollars: %w", err)
	}
	return NanoUSD(v), nil
}

// parseDecimal reads digits with at most scale decimals as an integer of that
// scale.
func parseDecimal(s string, scale int) (int64, error) {
	whole, frac, _ := strings.Cut(s, ".")
	if whole == "" || len(frac) > scale || len(s) > 32 {
		return 0, fmt.Errorf("%.40q is not a plain decimal number with at most %d decimals", s, scale)
	}
	digits := whole + frac + strings.Repeat("0", scale-len(frac))
	for i := 0; i < len(digits); i++ {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, fmt.Errorf("%.40q is not a plain decimal number", s)
		}
	}
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%.40q is out of range", s)
	}
	return v, nil
}

// Rate is a price per token in pico-dollars (1e-12 dollars), so one dollar
// per million tokens is 1,000,000. Nano-dollars are too coarse: several cache
// prices are a fraction of one nano-dollar per token.
type Rate int64

// RatePerUSDPerMillion is the Rate of one dollar per million tokens.
const RatePerUSDPerMillion Rate = 1_000_000

// ParseRate reads dollars per million tokens, such as "0.0375", exactly.
// More than six decimals are an error.
func ParseRate(usdPerMillion string) (Rate, error) {
	v, err := parseDecimal(usdPerMillion, 6)
	if err != nil {
		return 0, fmt.Errorf("price in dollars per million tokens: %w", err)
	}
	return Rate(v), nil
}

// String formats the rate as dollars per million tokens, without trailing
// zeros.
func (r Rate) String() string {
	s := fmt.Sprintf("%d.%06d", r/RatePerUSDPerMillion, r%RatePerUSDPerMillion)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// Price is what one model costs, per token and bucket. Buckets are disjoint.
type Price struct {
	Version    string `json:"v,omitempty"` // price table version, or "config"
	Input      Rate   `json:"i"`           // uncached input
	CacheRead  Rate   `json:"cr,omitempty"`
	CacheWrite Rate   `json:"cw,omitempty"`
	Output     Rate   `json:"o"`           // output without reasoning
	Reasoning  Rate   `json:"r,omitempty"` // reasoning output
}

// Less is the price with so many percent off, each rate rounded up.
func (p Price) Less(percent int) Price {
	for _, r := range [...]*Rate{&p.Input, &p.CacheRead, &p.CacheWrite, &p.Output, &p.Reasoning} {
		left := Rate(100 - percent)
		*r = *r/100*left + (*r%100*left+99)/100
	}
	return p
}

// Cost is Σ tokens × rate over the five buckets, in pico-dollars, rounded up
// once to whole nano-dollars. Negative token counts count as zero. An amount
// beyond int64 is capped at its maximum.
func (p Price) Cost(u Usage) NanoUSD {
	var sum int64
	for _, t := range [...]struct {
		n int64
		r Rate
	}{{u.Input, p.Input}, {u.CacheRead, p.CacheRead}, {u.CacheWrite, p.CacheWrite}, {u.Output, p.Output}, {u.Reasoning, p.Reasoning}} {
		n := max(t.n, 0)
		if t.r > 0 && n > (math.MaxInt64-999-sum)/int64(t.r) {
			return p.bigCost(u)
		}
		sum += n * int64(t.r)
	}
	return NanoUSD((sum + 999) / 1000)
}

// bigCost is Cost without overflow.
func (p Price) bigCost(u Usage) NanoUSD {
	sum := big.NewInt(999)
	add := func(n int64, r Rate) {
		sum.Add(sum, new(big.Int).Mul(big.NewInt(max(n, 0)), big.NewInt(int64(r))))
	}
	add(u.Input, p.Input)
	add(u.CacheRead, p.CacheRead)
	add(u.CacheWrite, p.CacheWrite)
	add(u.Output, p.Output)
	add(u.Reasoning, p.Reasoning)
	sum.Quo(sum, big.NewInt(1000))
	if !sum.IsInt64() {
		return math.MaxInt64
	}
	return NanoUSD(sum.Int64())
}

// Usage counts the tokens of an attempt in disjoint buckets: what a provider
// reports cumulatively is split by the adapter.
type Usage struct {
	Input      int64 `json:"i"` // uncached input
	CacheRead  int64 `json:"cr,omitempty"`
	CacheWrite int64 `json:"cw,omitempty"`
	Output     int64 `json:"o"` // without reasoning
	Reasoning  int64 `json:"r,omitempty"`
}

// Total is the sum of all buckets.
func (u Usage) Total() int64 { return u.Input + u.CacheRead + u.CacheWrite + u.Output + u.Reasoning }

// UsageSource says where an attempt's usage comes from.
type UsageSource string

// The two sources of usage.
const (
	UsageFromProvider UsageSource = "provider"
	UsageEstimated    UsageSource = "estimated"
)

// EstimateTokens guesses the tokens of n bytes of text: one per four bytes,
// rounded up, the rule of thumb that OpenAI gives for English.
func EstimateTokens(n int) int64 { return int64(n+3) / 4 }

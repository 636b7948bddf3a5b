package simulated

import (
	"errors"
	"fmt"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Fault is a way to fail.
type Fault string

// The faults.
const (
	RateLimit   Fault = "rate_limit"   // 429 with Retry-After
	ServerError Fault = "server_error" // 500
	Drop        Fault = "drop"         // the connection breaks in the middle of the answer
	Garble      Fault = "garble"       // the answer becomes undecodable in the middle
)

// AllFaults lists every fault.
func AllFaults() []Fault { return []Fault{RateLimit, ServerError, Drop, Garble} }

// Config describes a simulated provider. The zero value answers at once and
// never fails.
type Config struct {
	// Seed makes two providers with otherwise equal settings differ.
	Seed uint64
	// TimeToFirstToken is the pause before the first token. Defaults to 0.
	TimeToFirstToken time.Duration
	// TokensPerSecond is the speed after that. 0: all at once.
	TokensPerSecond float64
	// ErrorShare is the share of calls that fail, from 0 to 1.
	ErrorShare float64
	// Faults are how they fail, each as often. Defaults to AllFaults.
	Faults []Fault
	// RetryAfter is what a 429 asks for. Defaults to 1 s.
	RetryAfter time.Duration
	// MinTokens and MaxTokens bound the length of an answer that max_tokens
	// does not cut. Default to 16 and 64.
	MinTokens, MaxTokens int
	// Fill answers with exactly as many tokens as max_tokens asks for (at most
	// a million), to replay a trace.
	Fill bool
	// CacheShare is the share of the input that is reported as cached.
	CacheShare float64
	// ReasoningShare is the share of the output that is reported as reasoning.
	ReasoningShare float64
	// Models are the models there are; any other is answered with 404.
	// Empty: every model.
	Models []string
	// Prices are what the books charge, by model; the price of "" is for every
	// other model. A model without a price has no cost in the books.
	Prices map[string]wire.Price
	// APIKey is the key that calls must carry. Empty: none is asked for.
	APIKey string
	// MaxConcurrent is how many calls may run at once; more get a 429. 0: any
	// number.
	MaxConcurrent int
	// BatchMin and BatchMax bound the time that a batch takes; its lines end
	// evenly over it. Default to 0: at once.
	BatchMin, BatchMax time.Duration
	// BatchWindow is when a batch expires. Defaults to 24 hours.
	BatchWindow time.Duration
	// BatchCancel is how long a batch goes on after it was cancelled.
	BatchCancel time.Duration
	// Books is where calls are written down. Nil: nowhere. Several providers
	// may share books. The provider does not close them.
	Books *Books
}

// maxFill bounds the length of any answer.
const maxFill = 1_000_000

func (c Config) withDefaults() Config {
	if len(c.Faults) == 0 {
		c.Faults = AllFaults()
	}
	if c.RetryAfter == 0 {
		c.RetryAfter = time.Second
	}
	if c.MinTokens == 0 && c.MaxTokens == 0 {
		c.MaxTokens = 64
	}
	if c.MinTokens == 0 {
		c.MinTokens = min(16, c.MaxTokens)
	}
	if c.MaxTokens == 0 {
		c.MaxTokens = max(64, c.MinTokens)
	}
	c.BatchMax = max(c.BatchMax, c.BatchMin)
	if c.BatchWindow == 0 {
		c.BatchWindow = 24 * time.Hour
	}
	return c
}

func (c Config) check() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf("simulated: "+format, args...)) }
	for _, s := range [...]struct {
		key string
		v   float64
	}{{"error_share", c.ErrorShare}, {"cache_share", c.CacheShare}, {"reasoning_share", c.ReasoningShare}} {
		if !(s.v >= 0 && s.v <= 1) {
			bad("%s is %v: it must be from 0 to 1", s.key, s.v)
		}
	}
	if !(c.TokensPerSecond >= 0) {
		bad("tokens_per_second is %v: it must not be negative", c.TokensPerSecond)
	}
	if c.TimeToFirstToken < 0 || c.RetryAfter < 0 {
		bad("time_to_first_token and retry_after must not be negative")
	}
	if c.BatchMin < 0 || c.BatchWindow < 0 || c.BatchCancel < 0 {
		bad("batch_min, batch_window and batch_cancel must not be negative")
	}
	if c.MinTokens < 1 || c.MaxTokens < c.MinTokens || c.MaxTokens > maxFill {
		bad("min_tokens is %d and max_tokens %d: they must be a range within 1 and %d", c.MinTokens, c.MaxTokens, maxFill)
	}
	if c.MaxConcurrent < 0 {
		bad("max_concurrent is %d: it must not be negative", c.MaxConcurrent)
	}
	for _, f := range c.Faults {
		if f != RateLimit && f != ServerError && f != Drop && f != Garble {
			bad("fault %.40q is unknown: use some of %v", f, AllFaults())
		}
	}
	return errors.Join(faults...)
}

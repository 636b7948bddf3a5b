package app

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker/whatif"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/adapter"
	"github.com/sluicehq/sluice/workers/simulated"
)

// Policy is a configuration as a play of recorded jobs takes it.
func Policy(cfg *config.Config) (*whatif.Policy, error) {
	table, plan, err := Steering(cfg)
	if err != nil {
		return nil, err
	}
	w := &cfg.Workers
	return &whatif.Policy{Table: table, Plan: plan, Limits: observed(cfg, table).Limits, Tiers: tiers(cfg),
		Retries:     ledger.Retries{MaxAttempts: w.MaxAttempts, MaxCuts: ledger.MaxCuts, Backoff: w.RetryBackoff, BackoffMax: ledger.BackoffMax},
		Final:       func(c wire.Code) bool { return adapter.VerdictOf(c) == adapter.Final },
		RetryBudget: w.RetryBudget, RetryMinimum: w.RetryMinimum}, nil
}

// Simulated are the figures of a simulated pool; false: it is not one.
func Simulated(cfg *config.Config, pool string) (c whatif.Configured, ok bool) {
	p := cfg.Pool(pool)
	if p == nil || p.Simulated == nil {
		return c, false
	}
	s := p.Simulated
	c = whatif.Configured{TTFT: s.TTFT, TokensPerSecond: s.TokensPerSecond, ErrorShare: s.ErrorShare, CacheShare: s.CacheShare, ReasoningShare: s.ReasoningShare}
	after := s.RetryAfter
	if after == 0 {
		after = time.Second
	}
	for _, f := range simulated.AllFaults() {
		if len(s.Errors) > 0 && !slices.Contains(s.Errors, string(f)) {
			continue
		}
		switch f {
		case simulated.RateLimit:
			c.Errors = append(c.Errors, whatif.Fault{Code: wire.CodeRateLimited, HTTP: 429, After: after})
		case simulated.ServerError:
			c.Errors = append(c.Errors, whatif.Fault{Code: wire.CodeProviderError, HTTP: 500})
		case simulated.Drop:
			c.Errors = append(c.Errors, whatif.Fault{Code: wire.CodeConnection, HTTP: 200, Answers: true})
		case simulated.Garble:
			c.Errors = append(c.Errors, whatif.Fault{Code: wire.CodeStreamGarbled, HTTP: 200, Answers: true})
		}
	}
	return c, true
}

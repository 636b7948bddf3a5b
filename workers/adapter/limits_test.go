package adapter

import (
	"net/http"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestLimitsOf(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	header := func(kv ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			h.Set(kv[i], kv[i+1])
		}
		return h
	}
	for name, c := range map[string]struct {
		h    http.Header
		want *wire.Limits
	}{
		"nothing": {h: header("Content-Type", "application/json")},
		"openai": {h: header("x-ratelimit-limit-requests", "60", "x-ratelimit-remaining-requests", "59", "x-ratelimit-reset-requests", "1s",
			"x-ratelimit-limit-tokens", "150000", "x-ratelimit-remaining-tokens", "149984", "x-ratelimit-reset-tokens", "6m0s"),
			want: &wire.Limits{Requests: wire.Limit{Limit: 60, Left: 59, ResetMS: 1000}, Tokens: wire.Limit{Limit: 150000, Left: 149984, ResetMS: 360_000}}},
		"anthropic": {h: header("anthropic-ratelimit-requests-limit", "50", "anthropic-ratelimit-requests-remaining", "0",
			"anthropic-ratelimit-requests-reset", "2026-03-01T12:00:30Z"),
			want: &wire.Limits{Requests: wire.Limit{Limit: 50, ResetMS: 30_000}}},
		"without its end":  {h: header("x-ratelimit-limit-requests", "60", "x-ratelimit-remaining-requests", "59")},
		"more than all":    {h: header("x-ratelimit-limit-requests", "6", "x-ratelimit-remaining-requests", "59", "x-ratelimit-reset-requests", "1s"), want: &wire.Limits{Requests: wire.Limit{Limit: 6, Left: 6, ResetMS: 1000}}},
		"negative":         {h: header("x-ratelimit-limit-requests", "6", "x-ratelimit-remaining-requests", "-1", "x-ratelimit-reset-requests", "1s")},
		"garbage":          {h: header("x-ratelimit-limit-requests", "x", "x-ratelimit-remaining-requests", "y", "x-ratelimit-reset-requests", "z")},
		"bounded":          {h: header("x-ratelimit-limit-requests", "6", "x-ratelimit-remaining-requests", "1", "x-ratelimit-reset-requests", "999h"), want: &wire.Limits{Requests: wire.Limit{Limit: 6, Left: 1, ResetMS: 3600_000}}},
		"an end that past": {h: header("anthropic-ratelimit-tokens-limit", "50", "anthropic-ratelimit-tokens-remaining", "1", "anthropic-ratelimit-tokens-reset", "2025-03-01T12:00:30Z")},
	} {
		got := LimitsOf(c.h, now)
		if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

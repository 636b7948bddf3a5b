package adapter

import (
	"net/http"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// LimitsOf reads what an answer says of the provider's rate limits, nil if
// nothing: OpenAI's x-ratelimit-limit-requests and its siblings, which many
// have taken over, or Anthropic's anthropic-ratelimit-requests-limit.
func LimitsOf(h http.Header, now time.Time) *wire.Limits {
	var l wire.Limits
	for i := range limitHeaders {
		n := &limitHeaders[i]
		if v := h[n.limit]; len(v) > 0 {
			to := &l.Requests
			if n.tokens {
				to = &l.Tokens
			}
			*to = limitOf(v[0], h.Get(n.left), h.Get(n.reset), now)
		}
	}
	if l == (wire.Limits{}) {
		return nil
	}
	return &l
}

// limitHeaders are the headers' names, in the form that Go keeps them in.
var limitHeaders = [...]struct {
	limit, left, reset string
	tokens             bool
}{
	{limit: "X-Ratelimit-Limit-Requests", left: "X-Ratelimit-Remaining-Requests", reset: "X-Ratelimit-Reset-Requests"},
	{limit: "X-Ratelimit-Limit-Tokens", left: "X-Ratelimit-Remaining-Tokens", reset: "X-Ratelimit-Reset-Tokens", tokens: true},
	{limit: "Anthropic-Ratelimit-Requests-Limit", left: "Anthropic-Ratelimit-Requests-Remaining", reset: "Anthropic-Ratelimit-Requests-Reset"},
	{limit: "Anthropic-Ratelimit-Tokens-Limit", left: "Anthropic-Ratelimit-Tokens-Remaining", reset: "Anthropic-Ratelimit-Tokens-Reset", tokens: true},
}

// limitOf reads one limit. It counts only if it is there in full: a limit
// without what is left of it, or without its end, helps nobody.
func limitOf(limit, left, ends string, now time.Time) wire.Limit {
	most, err := strconv.ParseInt(limit, 10, 64)
	n, err2 := strconv.ParseInt(left, 10, 64)
	wait := resetOf(ends, now)
	if err != nil || err2 != nil || most <= 0 || n < 0 || wait <= 0 {
		return wire.Limit{}
	}
	return wire.Limit{Limit: most, Left: min(n, most), ResetMS: max(wait.Milliseconds(), 1)}
}

// resetOf reads a duration, or an RFC 3339 time.
func resetOf(v string, now time.Time) time.Duration {
	if at, err := time.Parse(time.RFC3339, v); err == nil {
		return bound(at.Sub(now).Seconds())
	}
	return reset(v)
}

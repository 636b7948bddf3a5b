package adapter

import (
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Verdict says what may follow a failed attempt.
type Verdict int8

// The verdicts.
const (
	// Final: the request itself is at fault; no candidate will take it.
	Final Verdict = iota
	// RetryElsewhere: another pool may do it at once. So may this one later,
	// unless the code says that the request does not fit (wire.Code.Misfit).
	RetryElsewhere
	// RetryLater: the pool asks to slow down. Another pool may do it at once,
	// this one not before Failure.RetryAfter.
	RetryLater
)

// String is the verdict as logs name it.
func (v Verdict) String() string {
	switch v {
	case Final:
		return "final"
	case RetryElsewhere:
		return "retry_elsewhere"
	case RetryLater:
		return "retry_later"
	}
	return "verdict(" + strconv.Itoa(int(v)) + ")"
}

// Failure is a failed attempt, classified.
type Failure struct {
	Err        *wire.Error
	Verdict    Verdict
	RetryAfter time.Duration // what the provider asked for, 0: nothing
	Detail     string        // the provider's own words; may quote the request (I4)
}

// Fail makes a failure whose verdict follows from its code.
func Fail(code wire.Code, format string, args ...any) *Failure {
	return &Failure{Err: wire.Errorf(code, "", format, args...), Verdict: VerdictOf(code)}
}

// VerdictOf is the verdict of a code when nothing else is known.
func VerdictOf(code wire.Code) Verdict {
	switch code {
	case wire.CodeRateLimited, wire.CodeInternal:
		return RetryLater
	case wire.CodeProviderRefused, wire.CodeContentFilter, wire.CodeInvalidJSON, wire.CodeInvalidRequest,
		wire.CodeTooLarge, wire.CodeCancelled, wire.CodeDeadline:
		return Final
	}
	return RetryElsewhere
}

// maxRetryAfter bounds what a provider may ask for.
const maxRetryAfter = time.Hour

// retryAfter reads how long a provider asks to wait: retry-after-ms, then
// Retry-After (seconds or a date), then the reset of each x-ratelimit or
// anthropic-ratelimit limit that has nothing left.
func retryAfter(r Refusal) time.Duration {
	if r.Header == nil {
		return 0
	}
	get := func(name string) string { return r.Header.Get(textproto.CanonicalMIMEHeaderKey(name)) }
	if ms, err := strconv.ParseFloat(get("Retry-After-Ms"), 64); err == nil && ms > 0 {
		return bound(ms / 1e3)
	}
	if v := get("Retry-After"); v != "" {
		if s, err := strconv.ParseFloat(v, 64); err == nil {
			return bound(s)
		}
		for _, layout := range [...]string{time.RFC1123, time.RFC850, time.ANSIC} {
			if at, err := time.Parse(layout, v); err == nil {
				return bound(at.Sub(r.Now).Seconds())
			}
		}
	}
	var wait time.Duration
	for _, what := range [...]string{"Requests", "Tokens"} {
		if left := get("X-Ratelimit-Remaining-" + what); left != "0" {
			continue
		}
		wait = max(wait, reset(get("X-Ratelimit-Reset-"+what)))
	}
	for _, what := range [...]string{"Requests", "Tokens", "Input-Tokens", "Output-Tokens"} {
		if left := get("Anthropic-Ratelimit-" + what + "-Remaining"); left != "0" {
			continue
		}
		if at, err := time.Parse(time.RFC3339, get("Anthropic-Ratelimit-"+what+"-Reset")); err == nil {
			wait = max(wait, bound(at.Sub(r.Now).Seconds()))
		}
	}
	return wait
}

// reset reads a duration as x-ratelimit-reset-* have it: "1s", "6m0s", "120ms"
// or plain seconds.
func reset(v string) time.Duration {
	if d, err := time.ParseDuration(v); err == nil {
		return bound(d.Seconds())
	}
	s, err := strconv.ParseFloat(v, 64)
	if err != nil {
		return 0
	}
	return bound(s)
}

func bound(seconds float64) time.Duration {
	if !(seconds > 0) {
		return 0
	}
	return time.Duration(min(seconds, maxRetryAfter.Seconds()) * float64(time.Second))
}

// machine keeps a word only if it looks like a machine code or a field name,
// so that no free text gets into an error (I4).
func machine(s string) string {
	if len(s) > 64 || strings.HasPrefix(s, "sk-") {
		return ""
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9',
			c == '_', c == '.', c == '-', c == '[', c == ']':
		default:
			return ""
		}
	}
	return s
}

package wire

import (
	"encoding/json"
	"fmt"
)

// Code names what went wrong, for programs. The list is closed and only grows.
type Code string

// Codes of jobs refused for what they say.
const (
	CodeInvalidJSON     Code = "invalid_json"
	CodeInvalidRequest  Code = "invalid_request"
	CodeInvalidHeader   Code = "invalid_header"
	CodeInvalidSubject  Code = "invalid_subject"
	CodeInvalidJobID    Code = "invalid_job_id"
	CodeIDConflict      Code = "id_conflict"
	CodeUnknownRoute    Code = "unknown_route"
	CodeUnknownEndpoint Code = "unknown_endpoint"
	CodeTooLarge        Code = "request_too_large"
	CodeNoCandidate     Code = "no_candidate"
	CodeOverMaxCost     Code = "over_max_cost"
)

// Codes of jobs that ended for a reason of their own.
const (
	CodeDeadline  Code = "deadline_exceeded"
	CodeCancelled Code = "cancelled"
	CodeExhausted Code = "attempts_exhausted"
	CodeBudget    Code = "budget_exceeded" // a budget has no room for the job
	CodeUnpriced  Code = "price_unknown"   // a budget in dollars binds the job, and no price is known
	CodeNotFound  Code = "job_not_found"
	CodeFinished  Code = "job_finished"
)

// Codes of requests that did not reach a broker, or were refused at its door:
// no job came of them.
const (
	CodeUnavailable Code = "unavailable"       // no broker answers
	CodePermission  Code = "permission_denied" // these credentials may not do that
	CodeBacklogFull Code = "backlog_full"      // the tenant has too many jobs queued
)

// Codes of failed attempts.
const (
	CodeInterrupted       Code = "interrupted"          // the worker vanished
	CodeRateLimited       Code = "rate_limited"         // the provider's limit
	CodeProviderError     Code = "provider_error"       // 5xx
	CodeProviderRefused   Code = "provider_refused"     // 4xx: the request itself
	CodeProviderAuth      Code = "provider_auth"        // 401, 403: the pool's key
	CodeModelNotFound     Code = "model_not_found"      // 404
	CodeConnection        Code = "connection_error"     // no connection, or it broke
	CodeTimeout           Code = "timeout"              // the provider took too long
	CodeStreamTruncated   Code = "stream_truncated"     // no finish marker
	CodeStreamGarbled     Code = "stream_garbled"       // an event that can't be decoded
	CodeContextLength     Code = "context_length"       // prompt too long for the model
	CodeContentFilter     Code = "content_filter"       // refused by the provider's policy
	CodeInsufficientQuota Code = "insufficient_quota"   // the provider's account is empty
	CodeUnsupported       Code = "unsupported_endpoint" // the adapter lacks the endpoint
	CodeInternal          Code = "internal_error"

	CodeUnsupportedParam Code = "unsupported_parameter" // the adapter or the model lacks what the request uses
)

// Misfit reports whether an attempt that failed with the code says that the
// request does not fit the candidate, and never will: another may take it.
func (c Code) Misfit() bool {
	switch c {
	case CodeContextLength, CodeUnsupported, CodeUnsupportedParam, CodeTooLarge, CodeProviderRefused:
		return true
	}
	return false
}

// Error is what a user is told: what happened, to which thing, and what to do.
type Error struct {
	Code    Code
	Param   string // the header or field at fault, if one is
	Message string
}

// Errorf makes an Error.
func Errorf(code Code, param, format string, args ...any) *Error {
	return &Error{Code: code, Param: param, Message: fmt.Sprintf(format, args...)}
}

// Error implements error.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Type is OpenAI's error type for the code.
func (e *Error) Type() string {
	switch e.Code {
	case CodeRateLimited, CodeBacklogFull:
		return "rate_limit_error"
	case CodeProviderAuth, CodePermission:
		return "authentication_error"
	case CodeProviderError, CodeConnection, CodeTimeout, CodeStreamTruncated, CodeStreamGarbled,
		CodeInterrupted, CodeInternal, CodeExhausted, CodeInsufficientQuota, CodeUnavailable:
		return "server_error"
	}
	return "invalid_request_error"
}

// AnthropicType is Anthropic's error type for an HTTP status.
func AnthropicType(status int) string {
	switch status {
	case 401:
		return "authentication_error"
	case 403:
		return "permission_error"
	case 404:
		return "not_found_error"
	case 413:
		return "request_too_large"
	case 429:
		return "rate_limit_error"
	case 503, 529:
		return "overloaded_error"
	case 504:
		return "timeout_error"
	}
	if status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}

// Body is the error as OpenAI's `{"error": …}` object.
func (e *Error) Body() []byte {
	var param *string
	if e.Param != "" {
		param = &e.Param
	}
	b, err := json.Marshal(map[string]any{"error": map[string]any{
		"message": e.Message, "type": e.Type(), "param": param, "code": e.Code,
	}})
	if err != nil { // cannot happen: strings only
		return []byte(`{"error":{"message":"internal error","type":"server_error","param":null,"code":"internal_error"}}`)
	}
	return b
}

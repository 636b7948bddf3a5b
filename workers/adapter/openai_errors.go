package adapter

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// fault is an OpenAI-shaped error object, and what its many relatives make of
// it.
type fault struct {
	code, kind, param, message string
	status                     int // where the code is an HTTP status
}

// readFault finds the error in a body: {"error":{…}}, {"error":"…"}, the
// same in an array, or the object itself.
func readFault(body []byte) fault {
	if body = trimLeft(body); jsonscan.Kind(body) == '[' {
		a := jsonscan.NewArray(body)
		body, _ = a.Next()
	}
	raw := body
	if e := jsonscan.Get(body, "error"); !jsonscan.Null(e) {
		raw = e
	}
	if jsonscan.Kind(raw) == '"' {
		return fault{message: jsonscan.String(raw)}
	}
	var f fault
	o := jsonscan.NewObject(raw)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		switch string(m.Key) {
		case "code":
			if jsonscan.Kind(m.Value) == '0' {
				f.status = int(jsonscan.Int(m.Value))
			} else if s := jsonscan.String(m.Value); s != "" {
				f.code = s
				f.status, _ = strconv.Atoi(s)
			}
		case "status": // Google's machine code
			if s := jsonscan.String(m.Value); f.code == "" {
				f.code = s
			}
		case "type":
			f.kind = jsonscan.String(m.Value)
		case "param":
			f.param = jsonscan.String(m.Value)
		case "message":
			f.message = jsonscan.String(m.Value)
		}
	}
	return f
}

// faultCodes maps the machine codes and types that providers give, in lower
// case.
var faultCodes = map[string]wire.Code{
	"context_length_exceeded": wire.CodeContextLength,
	"prompt_too_long":         wire.CodeContextLength,

	"content_filter":                 wire.CodeContentFilter,
	"content_policy_violation":       wire.CodeContentFilter,
	"responsibleaipolicyviolation":   wire.CodeContentFilter,
	"moderation_blocked":             wire.CodeContentFilter,
	"bio_policy":                     wire.CodeContentFilter,
	"image_content_policy_violation": wire.CodeContentFilter,

	"insufficient_quota":         wire.CodeInsufficientQuota,
	"insufficient_balance":       wire.CodeInsufficientQuota,
	"billing_hard_limit_reached": wire.CodeInsufficientQuota,
	"billing_not_active":         wire.CodeInsufficientQuota,
	"billing_error":              wire.CodeInsufficientQuota,

	"rate_limit_exceeded": wire.CodeRateLimited,
	"rate_limit_error":    wire.CodeRateLimited,
	"rate_limited":        wire.CodeRateLimited,
	"too_many_requests":   wire.CodeRateLimited,
	"resource_exhausted":  wire.CodeRateLimited,

	"invalid_api_key":      wire.CodeProviderAuth,
	"authentication_error": wire.CodeProviderAuth,
	"permission_error":     wire.CodeProviderAuth,
	"permission_denied":    wire.CodeProviderAuth,
	"unauthenticated":      wire.CodeProviderAuth,

	"model_not_found":     wire.CodeModelNotFound,
	"not_found_error":     wire.CodeModelNotFound,
	"model_not_available": wire.CodeModelNotFound,
	"deploymentnotfound":  wire.CodeModelNotFound,

	"model_decommissioned":    wire.CodeModelNotFound,
	"model_not_supported":     wire.CodeModelNotFound,
	"operationnotsupported":   wire.CodeUnsupported,
	"unsupported_parameter":   wire.CodeUnsupportedParam,
	"unsupported_value":       wire.CodeUnsupportedParam,
	"unknown_parameter":       wire.CodeUnsupportedParam,
	"integer_above_max_value": wire.CodeUnsupportedParam, // a model's own bound
	"decimal_above_max_value": wire.CodeUnsupportedParam,
	"string_above_max_length": wire.CodeUnsupportedParam,
	"array_above_max_length":  wire.CodeUnsupportedParam,

	"request_too_large": wire.CodeTooLarge,

	"server_error":      wire.CodeProviderError,
	"internal_error":    wire.CodeProviderError,
	"api_error":         wire.CodeProviderError,
	"overloaded_error":  wire.CodeProviderError,
	"engine_overloaded": wire.CodeProviderError,
	"internal":          wire.CodeProviderError,
	"unavailable":       wire.CodeProviderError,

	"timeout":           wire.CodeTimeout,
	"timeout_error":     wire.CodeTimeout,
	"deadline_exceeded": wire.CodeTimeout,

	"invalid_request_error":        wire.CodeProviderRefused,
	"invalid_argument":             wire.CodeProviderRefused,
	"invalid_prompt":               wire.CodeProviderRefused,
	"data_residency_mismatch":      wire.CodeProviderRefused,
	"invalid_image":                wire.CodeProviderRefused,
	"invalid_image_format":         wire.CodeProviderRefused,
	"invalid_base64_image":         wire.CodeProviderRefused,
	"invalid_image_url":            wire.CodeProviderRefused,
	"invalid_image_mode":           wire.CodeProviderRefused,
	"image_too_large":              wire.CodeProviderRefused,
	"image_too_small":              wire.CodeProviderRefused,
	"image_parse_error":            wire.CodeProviderRefused,
	"image_file_too_large":         wire.CodeProviderRefused,
	"unsupported_image_media_type": wire.CodeProviderRefused,
	"empty_image_file":             wire.CodeProviderRefused,
	"image_file_not_found":         wire.CodeProviderRefused,
}

// vague are codes and types that only say that something is wrong with a
// request. Which of a model's bounds it is about, some APIs tell in words alone.
var vague = map[string]bool{"": true, "invalid_request_error": true, "invalid_argument": true, "validationexception": true, "badrequesterror": true, "400": true, "422": true}

// verdict is what may follow an answer other than 2xx. A refusal that does not say why may be another
// model's no matter.
func (f fault) verdict(code wire.Code) Verdict {
	if code == wire.CodeTooLarge || code == wire.CodeProviderRefused && vague[strings.ToLower(f.code)] && vague[strings.ToLower(f.kind)] {
		return RetryElsewhere
	}
	return VerdictOf(code)
}

// named is the code that the error's own words stand for, "" if none. The
// code is more exact than the type.
func (f fault) named() wire.Code {
	if c := faultCodes[strings.ToLower(f.code)]; c != "" {
		return c
	}
	return faultCodes[strings.ToLower(f.kind)]
}

// Classify implements Codec.
func (openAI) Classify(r Refusal) *Failure {
	f := readFault(r.Body)
	code := statusCode(r.Status, f)
	v := f.verdict(code)
	wait := retryAfter(r)
	if r.Status == 503 && wait > 0 {
		v = RetryLater
	}
	if v != RetryLater {
		wait = 0
	}
	return f.failure(code, v, fmt.Sprintf("the provider answered %d", r.Status)).after(wait)
}

// statusCode is the table of HTTP statuses; where a status is shared by
// several causes, the machine code decides.
func statusCode(status int, f fault) wire.Code {
	named := f.named()
	switch {
	case status == 401 || status == 403:
		if named == wire.CodeInsufficientQuota || named == wire.CodeContentFilter {
			return named
		}
		return wire.CodeProviderAuth
	case status == 402:
		return wire.CodeInsufficientQuota
	case status == 404:
		return wire.CodeModelNotFound
	case status == 405 || status == 501:
		return wire.CodeUnsupported
	case status == 408 || status == 504:
		return wire.CodeTimeout
	case status == 429:
		if named == wire.CodeInsufficientQuota {
			return named
		}
		return wire.CodeRateLimited
	case status == 409 || status == 425 || status == 498 || status >= 500 || status < 400:
		return wire.CodeProviderError
	case named != "":
		return named
	case status == 413:
		return wire.CodeTooLarge
	}
	return wire.CodeProviderRefused
}

// inBody classifies an error that came with status 200: in a stream, or
// instead of an answer.
func (f fault) inBody() *Failure {
	code := f.named()
	if f.status >= 400 && f.status <= 599 {
		code = statusCode(f.status, f)
	}
	if code == "" {
		code = wire.CodeProviderError
	}
	return f.failure(code, VerdictOf(code), "the provider answered 200 with an error")
}

// advice is what a reader of the error can do.
var advice = map[wire.Code]string{
	wire.CodeProviderAuth:      "check the pool's api_key and what it may use",
	wire.CodeInsufficientQuota: "the pool's account has no credit left: top it up",
	wire.CodeModelNotFound:     "check the pool's base_url and the upstream name of the model",
	wire.CodeRateLimited:       "lower the pool's limits or add another candidate",
	wire.CodeContextLength:     "shorten the prompt or route it to a model with a longer context",
	wire.CodeContentFilter:     "the provider's policy refuses this content",
	wire.CodeProviderRefused:   "correct the request",
	wire.CodeUnsupported:       "route this endpoint to a pool that has it",
	wire.CodeUnsupportedParam:  "leave that out, or route the request to a model that takes it",
	wire.CodeTooLarge:          "send a smaller request",
}

func (f fault) failure(code wire.Code, v Verdict, what string) *Failure {
	var b strings.Builder
	b.WriteString(what)
	if words := f.words(); words != "" {
		b.WriteString(" (" + words + ")")
	}
	if a := advice[code]; a != "" {
		b.WriteString(": " + a)
	}
	return &Failure{
		Err:     &wire.Error{Code: code, Param: machine(f.param), Message: b.String()},
		Verdict: v, Detail: f.message,
	}
}

// words are the machine-readable parts of the error.
func (f fault) words() string {
	kind, code := machine(f.kind), machine(f.code)
	switch {
	case kind == "" || kind == code:
		return code
	case code == "":
		return kind
	}
	return kind + ", " + code
}

func (f *Failure) after(wait time.Duration) *Failure {
	f.RetryAfter = wait
	return f
}

package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Codes of requests that are refused before there is a job. They are HTTP's
// own and never stand in a record.
const (
	codeInvalidKey    wire.Code = "invalid_api_key"
	codeUnknownURL    wire.Code = "unknown_url"
	codeMethod        wire.Code = "method_not_supported"
	codeEncoding      wire.Code = "unsupported_encoding"
	codeOrigin        wire.Code = "cross_origin_request"
	codeFileNotFound  wire.Code = "file_not_found"
	codeBatchNotFound wire.Code = "batch_not_found"
)

// refusal is how HTTP says a code.
type refusal struct {
	status int
	kind   string // OpenAI's error type
	code   string // OpenAI's error code where it has one for this, else ours
	after  int    // seconds of Retry-After; 0: the header is not sent
	again  bool   // the same request may succeed later: SDKs may repeat it
}

// OpenAI's error types.
const (
	typeRequest    = "invalid_request_error"
	typeAuth       = "authentication_error"
	typePermission = "permission_error"
	typeRate       = "rate_limit_error"
	typeQuota      = "insufficient_quota"
	typeServer     = "server_error"
)

// refusals is the one table from codes to HTTP. The body's code is OpenAI's
// word where OpenAI has one; the header Sluice-Error-Code has ours. A 5xx with
// again unset would be repeated by OpenAI's SDKs, so X-Should-Retry denies it.
var refusals = map[wire.Code]refusal{
	// The request itself.
	wire.CodeInvalidJSON:      {400, typeRequest, "invalid_json", 0, false},
	wire.CodeInvalidRequest:   {400, typeRequest, "invalid_request", 0, false},
	wire.CodeInvalidHeader:    {400, typeRequest, "invalid_header", 0, false},
	wire.CodeInvalidSubject:   {400, typeRequest, "invalid_subject", 0, false},
	wire.CodeInvalidJobID:     {400, typeRequest, "invalid_job_id", 0, false},
	wire.CodeOverMaxCost:      {400, typeRequest, "over_max_cost", 0, false},
	wire.CodeProviderRefused:  {400, typeRequest, "provider_refused", 0, false}, // or the provider's own 4xx
	wire.CodeContextLength:    {400, typeRequest, "context_length_exceeded", 0, false},
	wire.CodeUnsupportedParam: {400, typeRequest, "unsupported_parameter", 0, false},
	wire.CodeContentFilter:    {400, typeRequest, "content_filter", 0, false},
	codeInvalidKey:            {401, typeAuth, "invalid_api_key", 0, false},
	wire.CodeUnpriced:         {400, typeRequest, "price_unknown", 0, false},
	wire.CodeBudget:           {402, typeQuota, "budget_exceeded", 0, false},
	wire.CodePermission:       {403, typePermission, "permission_denied", 0, false},
	codeOrigin:                {403, typePermission, "cross_origin_request", 0, false},
	wire.CodeUnknownRoute:     {404, typeRequest, "model_not_found", 0, false},
	wire.CodeModelNotFound:    {404, typeRequest, "model_not_found", 0, false},
	wire.CodeUnknownEndpoint:  {404, typeRequest, "unknown_endpoint", 0, false},
	wire.CodeUnsupported:      {404, typeRequest, "unsupported_endpoint", 0, false},
	wire.CodeNotFound:         {404, typeRequest, "job_not_found", 0, false},
	codeUnknownURL:            {404, typeRequest, "unknown_url", 0, false},
	codeFileNotFound:          {404, typeRequest, "file_not_found", 0, false},
	codeBatchNotFound:         {404, typeRequest, "batch_not_found", 0, false},
	codeMethod:                {405, typeRequest, "method_not_supported", 0, false},
	wire.CodeIDConflict:       {409, typeRequest, "id_conflict", 0, false},
	wire.CodeFinished:         {409, typeRequest, "job_finished", 0, false},
	wire.CodeTooLarge:         {413, typeRequest, "request_too_large", 0, false},
	codeEncoding:              {415, typeRequest, "unsupported_encoding", 0, false},
	wire.CodeCancelled:        {499, typeRequest, "cancelled", 0, false},

	// Limits.
	wire.CodeRateLimited:       {429, typeRate, "rate_limit_exceeded", 5, true},
	wire.CodeBacklogFull:       {429, typeRate, "backlog_full", 1, true},
	wire.CodeInsufficientQuota: {429, typeQuota, "insufficient_quota", 60, false},

	// Sluice, or a provider.
	wire.CodeInternal:        {500, typeServer, "internal_error", 0, true},
	wire.CodeProviderError:   {502, typeServer, "provider_error", 0, true},
	wire.CodeProviderAuth:    {502, typeServer, "provider_auth", 0, false}, // the pool's key, not the client's
	wire.CodeConnection:      {502, typeServer, "connection_error", 0, true},
	wire.CodeStreamTruncated: {502, typeServer, "stream_truncated", 0, true},
	wire.CodeStreamGarbled:   {502, typeServer, "stream_garbled", 0, true},
	wire.CodeUnavailable:     {503, typeServer, "unavailable", 1, true},
	wire.CodeNoCandidate:     {503, typeServer, "no_candidate", 5, true},
	wire.CodeExhausted:       {503, typeServer, "attempts_exhausted", 5, true},
	wire.CodeInterrupted:     {503, typeServer, "interrupted", 1, true},
	wire.CodeTimeout:         {504, typeServer, "timeout", 0, true},
	wire.CodeDeadline:        {504, typeServer, "deadline_exceeded", 0, false},
}

// refusalOf looks a code up. provider is the provider's own HTTP status, 0 if
// there was none: where it refused the request itself, it knows best.
func refusalOf(code wire.Code, provider int) refusal {
	x, ok := refusals[code]
	if !ok {
		x = refusals[wire.CodeInternal]
		x.code = string(code)
	}
	if code == wire.CodeProviderRefused && (provider == 409 || provider == 413 || provider == 415 || provider == 422) {
		x.status = provider
	}
	return x
}

// errStopping is the cause with which requests are cut off when the gateway
// has to stop.
var errStopping = wire.Errorf(wire.CodeUnavailable, "", "this gateway is stopping: send the request again")

// faultOf is what a client is told about an error.
func faultOf(err error) *wire.Error {
	var w *wire.Error
	var s *sdk.Error
	switch {
	case errors.As(err, &w):
		return w
	case errors.As(err, &s):
		return &wire.Error{Code: s.Code, Param: s.Param, Message: s.Message}
	case errors.Is(err, context.Canceled):
		return wire.Errorf(wire.CodeCancelled, "", "the client has gone")
	case errors.Is(err, context.DeadlineExceeded):
		return wire.Errorf(wire.CodeUnavailable, "", "no answer in time")
	}
	return wire.Errorf(wire.CodeInternal, "", "the request could not be carried out")
}

// errorObject is OpenAI's error, with a type of either provider's.
type errorObject struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    string  `json:"code"`
}

func newErrorObject(e *wire.Error, x refusal) errorObject {
	o := errorObject{Message: e.Message, Type: x.kind, Code: x.code}
	if e.Param != "" {
		o.Param = &e.Param
	}
	return o
}

// errorBody is the error in the shape of the endpoint's provider. Anthropic's
// has the same members as OpenAI's, one level of type more.
func errorBody(e wire.Endpoint, f *wire.Error, x refusal) []byte {
	o := newErrorObject(f, x)
	var v any = map[string]any{"error": o}
	if e == wire.Messages {
		o.Type = wire.AnthropicType(x.status)
		v = map[string]any{"type": "error", "error": o}
	}
	return mustJSON(v)
}

// mustJSON marshals what is made of strings, numbers and their lists.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // cannot happen
		return []byte(`{"error":{"message":"internal error","type":"server_error","param":null,"code":"internal_error"}}`)
	}
	return b
}

// refuse answers with an error. provider is as in refusalOf.
func refuse(w http.ResponseWriter, e wire.Endpoint, f *wire.Error, provider int) int {
	x := refusalOf(f.Code, provider)
	h := w.Header()
	h.Set(wire.HeaderErrorCode, string(f.Code))
	if x.after > 0 && h["Retry-After"] == nil {
		h.Set("Retry-After", strconv.Itoa(x.after))
	}
	if !x.again && (x.status >= 500 || x.status == 409 || x.status == 429) {
		h.Set("X-Should-Retry", "false")
	}
	if x.status == 401 {
		h.Set("Www-Authenticate", "Bearer")
	}
	writeJSON(w, x.status, errorBody(e, f, x))
	return x.status
}

// writeJSON answers with a body that is JSON already. A failed write means
// that the client has gone, which nobody is left to be told of.
func writeJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

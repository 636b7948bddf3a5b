package sdk

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Code names what went wrong. The list of codes is closed and only grows; see
// the constants of package wire.
type Code = wire.Code

// Error is what Sluice or NATS refused, or how a job failed.
type Error struct {
	Code    Code   // never empty
	Param   string // the header or field at fault, if one is
	Message string // for people: what happened, and what to do
	Job     string // the job's ID, if the error is about one
	cause   error
}

// Error implements error. It never contains a key or a job's body.
func (e *Error) Error() string {
	if e.Job != "" {
		return fmt.Sprintf("sluice: job %s: %s: %s", e.Job, e.Code, e.Message)
	}
	return fmt.Sprintf("sluice: %s: %s", e.Code, e.Message)
}

// Unwrap gives the error of NATS or of the network below, or nil.
func (e *Error) Unwrap() error { return e.cause }

// Retryable reports whether the same call may succeed later with nothing
// changed by the caller: the broker was away, or the backlog was full.
func (e *Error) Retryable() bool {
	switch e.Code {
	case wire.CodeUnavailable, wire.CodeBacklogFull, wire.CodeConnection:
		return true
	}
	return false
}

// CodeOf is the code of the first [*Error] in err's chain, or "" when there is
// none (err is nil, or a context's error).
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// fail makes an Error with a cause.
func fail(code Code, cause error, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), cause: cause}
}

// of names the job that the error is about.
func (e *Error) of(job string) *Error {
	e.Job = job
	return e
}

// fromWire turns the contract's error into the SDK's.
func fromWire(e *wire.Error, job string) *Error {
	return &Error{Code: e.Code, Param: e.Param, Message: e.Message, Job: job}
}

// Never returned as they are: named gives each user a copy.
var (
	errClosed   = fail(wire.CodeConnection, nats.ErrConnectionClosed, "the client is closed")
	errNoAnswer = fail(wire.CodeUnavailable, nats.ErrTimeout, "no answer in %s", askTimeout)
)

// classify turns an error of nats.go into ours. It is decided by types and
// machine codes, never by the words of a message.
func classify(err error) *Error {
	var e *Error
	var api *jetstream.APIError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &api):
		return classifyAPI(api)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse),
		errors.Is(err, jetstream.ErrStreamNotFound):
		return fail(wire.CodeUnavailable, err, "nobody answers: is a Sluice broker running on this NATS server, with this subject prefix?")
	case errors.Is(err, nats.ErrMaxPayload):
		return fail(wire.CodeTooLarge, err, "the message is larger than the server takes")
	case errors.Is(err, nats.ErrPermissionViolation), errors.Is(err, nats.ErrAuthorization):
		return fail(wire.CodePermission, err, "%v: check tenant and key", err)
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return fail(wire.CodeConnection, err, "the connection is closed")
	case errors.Is(err, nats.ErrTimeout), errors.Is(err, jetstream.ErrAsyncPublishTimeout),
		errors.Is(err, jetstream.ErrTooManyStalledMsgs):
		return fail(wire.CodeUnavailable, err, "no answer in time")
	}
	return fail(wire.CodeConnection, err, "%v", err)
}

// JetStream's machine codes that a publish may be refused with.
const (
	apiStoreFailed    = 10077 // a limit of the stream: its backlog is full
	apiNoStorage      = 10047 // a limit of the server
	apiNoResources    = 10023
	apiMessageTooLong = 10054
	apiHeaderTooLong  = 10097
)

func classifyAPI(api *jetstream.APIError) *Error {
	switch api.ErrorCode {
	case apiStoreFailed, apiNoStorage, apiNoResources:
		return fail(wire.CodeBacklogFull, api, "the broker's queue takes no more jobs now (%s): try again when some have run", api.Description)
	case apiMessageTooLong, apiHeaderTooLong:
		return fail(wire.CodeTooLarge, api, "the job is larger than the broker's queue takes")
	}
	return fail(wire.CodeUnavailable, api, "JetStream refused: %s (code %d)", api.Description, api.ErrorCode)
}

// parseErrorBody reads an OpenAI-shaped error object; where body is none, the
// code stands alone.
func parseErrorBody(code Code, body []byte, job string) *Error {
	var o struct {
		Error struct {
			Message string
			Param   *string
			Code    any
		}
	}
	e := &Error{Code: code, Job: job}
	if json.Unmarshal(body, &o) == nil {
		e.Message = o.Error.Message
		if o.Error.Param != nil {
			e.Param = *o.Error.Param
		}
		if s, ok := o.Error.Code.(string); ok && e.Code == "" {
			e.Code = Code(s)
		}
	}
	if e.Code == "" {
		e.Code = wire.CodeInternal
	}
	if e.Message == "" {
		e.Message = "the job ended without an answer"
	}
	return e
}

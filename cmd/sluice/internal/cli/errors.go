package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

// failure is an error as people see it.
type failure struct {
	code  int // exit status; 0: what it would be anyhow
	msg   string
	hint  string
	cause error
}

// Error implements error.
func (f *failure) Error() string { return f.msg }

// Unwrap gives the cause.
func (f *failure) Unwrap() error { return f.cause }

// silent ends a command with an exit status when all has been said.
type silent int

// Error implements error.
func (s silent) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// usage is wrong usage: exit status 2.
func usage(hint, format string, args ...any) error {
	return &failure{code: exitUsage, msg: fmt.Sprintf(format, args...), hint: hint}
}

// failed is a command that could not do its work: exit status 1.
func failed(cause error, hint, format string, args ...any) error {
	return &failure{code: exitFailed, msg: fmt.Sprintf(format, args...), hint: hint, cause: cause}
}

// explain finds the sentence, the hint and the exit status for an error.
func explain(err error) *failure {
	var f *failure
	var faults config.Faults
	var e *sdk.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &faults):
		return &failure{code: exitUsage, msg: faults.Error(), hint: "nothing was started; correct these and try again"}
	case errors.Is(err, config.ErrUnreadable):
		return &failure{code: exitUsage, msg: err.Error(), hint: "give the file by --config or SLUICE_CONFIG; nothing was started"}
	case errors.As(err, &e):
		return &failure{code: exitFailed, msg: e.Error(), hint: hintFor(e.Code)}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{code: exitFailed, msg: "no answer in time", hint: "is Sluice running? See: sluice doctor"}
	case errors.Is(err, context.Canceled):
		return &failure{code: exitFailed, msg: "interrupted"}
	}
	return &failure{msg: err.Error()}
}

// hintFor says what to do about an error code, where there is something.
func hintFor(code wire.Code) string {
	switch code {
	case wire.CodeUnavailable, wire.CodeConnection:
		return "is Sluice running there? Start it with: sluice up; look closer with: sluice doctor"
	case wire.CodePermission:
		return "give the tenant and its key: --tenant NAME --key KEY (SLUICE_TENANT, SLUICE_KEY)"
	case wire.CodeUnknownRoute:
		return "see which models there are with: sluice route list"
	case wire.CodeBacklogFull:
		return "the tenant has too many jobs queued: wait for some to end"
	case wire.CodeNotFound:
		return "results are kept for records.retention (24h unless configured); jobs are per tenant: --tenant NAME"
	case wire.CodeIDConflict:
		return "a job ID names one job: choose another, or none"
	}
	return ""
}

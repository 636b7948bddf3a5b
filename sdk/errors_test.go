package sdk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestClassify(t *testing.T) {
	for _, tc := range []struct {
		err       error
		code      Code
		retryable bool
	}{
		{nats.ErrNoResponders, wire.CodeUnavailable, true},
		{jetstream.ErrNoStreamResponse, wire.CodeUnavailable, true},
		{jetstream.ErrStreamNotFound, wire.CodeUnavailable, true},
		{nats.ErrTimeout, wire.CodeUnavailable, true},
		{jetstream.ErrTooManyStalledMsgs, wire.CodeUnavailable, true},
		{jetstream.ErrAsyncPublishTimeout, wire.CodeUnavailable, true},
		{nats.ErrMaxPayload, wire.CodeTooLarge, false},
		{nats.ErrPermissionViolation, wire.CodePermission, false},
		{nats.ErrAuthorization, wire.CodePermission, false},
		{nats.ErrConnectionClosed, wire.CodeConnection, true},
		{errors.New("anything"), wire.CodeConnection, true},
		{&jetstream.APIError{Code: 503, ErrorCode: 10077, Description: "maximum messages per subject exceeded"}, wire.CodeBacklogFull, true},
		{&jetstream.APIError{Code: 400, ErrorCode: 10054}, wire.CodeTooLarge, false},
		{&jetstream.APIError{Code: 400, ErrorCode: 10097}, wire.CodeTooLarge, false},
		{&jetstream.APIError{Code: 503, ErrorCode: 10008}, wire.CodeUnavailable, true},
		{fail(wire.CodeInternal, nil, "as it is"), wire.CodeInternal, false},
	} {
		got := classify(fmt.Errorf("wrapped: %w", tc.err))
		if got.Code != tc.code || got.Retryable() != tc.retryable {
			t.Errorf("%v gives %s, retryable %v", tc.err, got.Code, got.Retryable())
		}
		var own *Error
		if !errors.As(tc.err, &own) && !errors.Is(got, tc.err) {
			t.Errorf("%v is lost from the chain", tc.err)
		}
	}
}

func TestErrorText(t *testing.T) {
	e := fail(wire.CodeTooLarge, nats.ErrMaxPayload, "it has %d bytes", 9).of("job-1")
	if got := e.Error(); got != "sluice: job job-1: request_too_large: it has 9 bytes" {
		t.Error(got)
	}
	if got := e.of("").Error(); got != "sluice: request_too_large: it has 9 bytes" {
		t.Error(got)
	}
	if CodeOf(fmt.Errorf("so: %w", e)) != wire.CodeTooLarge || CodeOf(context.Canceled) != "" || CodeOf(nil) != "" {
		t.Error("CodeOf does not look through the chain")
	}
}

func TestNamedCopies(t *testing.T) {
	if e := named(errClosed, "a"); e.(*Error).Job != "a" || errClosed.Job != "" {
		t.Error("a shared error was changed")
	}
	if err := named(context.Canceled, "a"); err != context.Canceled {
		t.Error(err)
	}
}

func TestParseErrorBody(t *testing.T) {
	for _, tc := range []struct {
		code Code
		body string
		want Error
	}{
		{wire.CodeTimeout, `{"error":{"message":"too slow","param":"p","code":"other"}}`, Error{Code: wire.CodeTimeout, Param: "p", Message: "too slow"}},
		{"", `{"error":{"message":"no such route","param":null,"code":"unknown_route"}}`, Error{Code: wire.CodeUnknownRoute, Message: "no such route"}},
		{"", `{"error":{"message":"m","code":429}}`, Error{Code: wire.CodeInternal, Message: "m"}},
		{"", `not JSON`, Error{Code: wire.CodeInternal, Message: "the job ended without an answer"}},
		{wire.CodeCancelled, ``, Error{Code: wire.CodeCancelled, Message: "the job ended without an answer"}},
	} {
		got := parseErrorBody(tc.code, []byte(tc.body), "j")
		tc.want.Job = "j"
		if *got != tc.want {
			t.Errorf("%s gives %+v", tc.body, *got)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"nats://acme:secret@a:4222,tls://acme:sec@ret@b": "nats://a:4222,tls://b",
		"acme:secret@host":      "host",
		"nats://127.0.0.1:4222": "nats://127.0.0.1:4222",
	} {
		if got := redact(in); got != want || strings.Contains(got, "sec") {
			t.Errorf("%s gives %s", in, got)
		}
	}
}

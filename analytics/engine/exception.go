package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// ClickHouse's own error codes, as far as this package gives or maps them.
const (
	codeCannotParseText    = 6
	codeUnknownFunction    = 46
	codeUnknownIdentifier  = 47
	codeNotImplemented     = 48
	codeLogicalError       = 49
	codeUnknownType        = 50
	codeTypeMismatch       = 53
	codeUnknownStorage     = 56
	codeUnknownTable       = 60
	codeSyntaxError        = 62
	codeUnknownAggregate   = 63
	codeUnknownFormat      = 73
	codeCannotOpenFile     = 76
	codeUnknownQueryType   = 78
	codeUnknownDatabase    = 81
	codeUnknownSetting     = 115
	codeIncorrectData      = 117
	codeTimeoutExceeded    = 159
	codeRequiredPassword   = 194
	codeTooManyQueries     = 202
	codeSocketTimeout      = 209
	codeQueryTooLarge      = 223
	codeUnexpectedEnd      = 33
	codeUnknownUser        = 192
	codeWrongPassword      = 193
	codeQueryWasCancelled  = 394
	codeAuthFailed         = 516
	codeCannotDecompress   = 271
	codeUnknownCompression = 89
)

// Exception is a failure as ClickHouse reports it.
type Exception struct {
	// Code is ClickHouse's error code, 0 when the text carried none.
	Code int
	// Message is ClickHouse's text, as it goes into the response body.
	Message string
}

// Error is the text that ClickHouse gave.
func (e *Exception) Error() string { return e.Message }

// The engine nests a client's exception in a server's; the innermost code is
// the first, both are the same.
var codeInText = regexp.MustCompile(`Code: (\d+)\. `)

func newException(text string) *Exception {
	e := &Exception{Message: strings.TrimSpace(text)}
	if m := codeInText.FindStringSubmatch(text); m != nil {
		e.Code, _ = strconv.Atoi(m[1])
	}
	return e
}

// exceptionf makes an exception of this package's own, worded as ClickHouse
// words them so that clients parse it.
func exceptionf(code int, format string, args ...any) *Exception {
	text := fmt.Sprintf(format, args...)
	name := ""
	if n, ok := codeNames[code]; ok {
		name = " (" + n + ")"
	}
	return &Exception{Code: code, Message: fmt.Sprintf("Code: %d. DB::Exception: %s.%s", code, text, name)}
}

var codeNames = map[int]string{
	codeNotImplemented:     "NOT_IMPLEMENTED",
	codeLogicalError:       "LOGICAL_ERROR",
	codeSyntaxError:        "SYNTAX_ERROR",
	codeUnknownSetting:     "UNKNOWN_SETTING",
	codeUnexpectedEnd:      "CANNOT_READ_ALL_DATA",
	codeUnknownCompression: "UNKNOWN_COMPRESSION_METHOD",
	codeCannotDecompress:   "CANNOT_DECOMPRESS",
	codeTimeoutExceeded:    "TIMEOUT_EXCEEDED",
	codeTooManyQueries:     "TOO_MANY_SIMULTANEOUS_QUERIES",
	codeQueryTooLarge:      "QUERY_IS_TOO_LARGE",
	codeQueryWasCancelled:  "QUERY_WAS_CANCELLED",
	codeRequiredPassword:   "REQUIRED_PASSWORD",
	codeAuthFailed:         "AUTHENTICATION_FAILED",
}

// asException gives every failure a code and a text that a client can parse.
func asException(err error) *Exception {
	var e *Exception
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return exceptionf(codeTimeoutExceeded, "The time limit of this endpoint is over")
	case errors.Is(err, context.Canceled):
		return exceptionf(codeQueryWasCancelled, "The client went away or the server stops")
	}
	return exceptionf(codeLogicalError, "%v", err)
}

// status is the HTTP status that a ClickHouse server answers for the code.
func (e *Exception) status() int {
	switch e.Code {
	case codeRequiredPassword:
		return http.StatusUnauthorized
	case codeAuthFailed, codeUnknownUser, codeWrongPassword:
		return http.StatusForbidden
	case codeSyntaxError, codeTypeMismatch, codeIncorrectData, codeCannotParseText,
		25, 26, 27, 38, 41, 43, 69, 72, 36, 130: // CANNOT_PARSE_*, ILLEGAL_*, ARGUMENT_OUT_OF_BOUND, BAD_ARGUMENTS
		return http.StatusBadRequest
	case codeUnknownTable, codeUnknownFunction, codeUnknownIdentifier, codeUnknownType,
		codeUnknownStorage, codeUnknownDatabase, codeUnknownSetting, codeUnknownAggregate,
		codeUnknownFormat, codeUnknownQueryType:
		return http.StatusNotFound
	case codeQueryTooLarge:
		return http.StatusRequestEntityTooLarge
	case codeNotImplemented:
		return http.StatusNotImplemented
	case codeSocketTimeout, codeCannotOpenFile, codeTooManyQueries:
		return http.StatusServiceUnavailable
	case codeTimeoutExceeded:
		return http.StatusRequestTimeout
	}
	return http.StatusInternalServerError
}

package engine

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// ClickHouse's own error codes, as far as this package gives them itself.
const (
	codeNotImplemented   = 48
	codeLogicalError     = 49
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

var codeInText = regexp.MustCompile(`Code: (\d+)\. `)

func newException(text string) *Exception {
	e := &Exception{Message: strings.TrimSpace(text)}
	if m := codeInText.FindStringSubmatch(text); m != nil {
		e.Code, _ = strconv.Atoi(m[1])
	}
	return e
}
var _ = fmt.Sprint
var _ = http.StatusOK

package store

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// What an error of ClickHouse is about, for those who say what to do.
var (
	// ErrUnreachable means that nobody answers at the address.
	ErrUnreachable = errors.New("ClickHouse cannot be reached")
	// ErrLogin means that ClickHouse does not take the user and the password.
	ErrLogin = errors.New("ClickHouse does not take the user and password")
	// ErrMissing means that a database or a table is not there.
	ErrMissing = errors.New("a database or a table is not there")
	// ErrStatement means that ClickHouse refused, or failed at, a statement.
	ErrStatement = errors.New("ClickHouse refused the statement")
)

// fault is an error of ClickHouse, with what it is about.
type fault struct {
	text  string
	about error // one of the above, or nil
	cause error // nil where its text has the password
}

// Error implements error.
func (f *fault) Error() string { return f.text }

// Unwrap gives what it is about, and the cause.
func (f *fault) Unwrap() []error {
	var list []error
	for _, err := range []error{f.about, f.cause} {
		if err != nil {
			list = append(list, err)
		}
	}
	return list
}

// wrap names the step that failed and keeps the password out of the text.
func (s *Store) wrap(step string, err error) error {
	if err == nil {
		return nil
	}
	f := &fault{cause: err}
	var ex *clickhouse.Exception
	var op *net.OpError
	what := err.Error()
	switch {
	case errors.As(err, &ex):
		f.about = aboutCode(ex.Code)
		what = plain(what)
	case errors.As(err, &op) && op.Op == "dial":
		f.about = ErrUnreachable
		what = fmt.Sprintf("ClickHouse cannot be reached at %s: %v", strings.Join(s.opts.Addr, ", "), op.Err)
	}
	if p := s.opts.Auth.Password; p != "" && strings.Contains(what, p) {
		what = strings.ReplaceAll(what, p, "…")
	}
	if p := s.opts.Auth.Password; p != "" && strings.Contains(err.Error(), p) {
		f.cause = nil
	}
	f.text = "clickhouse: " + step + ": " + what
	return f
}

func aboutCode(code int32) error {
	switch code {
	case 192, 193, 194, 516: // unknown user, wrong or no password, authentication failed
		return ErrLogin
	case 60, 81: // table, database
		return ErrMissing
	}
	return ErrStatement
}

// plain leaves out what the driver did before ClickHouse answered.
func plain(text string) string {
	if _, rest, ok := strings.Cut(text, "sendQuery: "); ok {
		return rest
	}
	return text
}

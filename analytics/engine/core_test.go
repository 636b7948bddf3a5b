package engine

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"": "''", "a": "'a'", "it's": `'it\'s'`, `\`: `'\\'`, `\'`: `'\\\''`, "a\x00b": `'a\0b'`, "ü\n": "'ü\n'",
	} {
		if got := quoteString(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	if got := quoteIdent("a`b"); got != "`a\\`b`" {
		t.Errorf("identifier: %s", got)
	}
}

// A quoted string is one token, whatever is in it.
func FuzzQuote(f *testing.F) {
	f.Add(`a'b\`)
	f.Fuzz(func(t *testing.T, in string) {
		for _, quoted := range []string{quoteString(in), quoteIdent(in)} {
			s := &scanner{src: quoted}
			if tok, ok := s.next(); !ok || tok.pos != 0 || tok.end != len(quoted) || tok.word != "" {
				t.Fatalf("%q becomes %s, read as %+v", in, quoted, tok)
			}
		}
	})
}

func TestConfigFaultsAllAtOnce(t *testing.T) {
	err := Config{Listen: "nonsense", Path: "a*b", Connections: -1, MaxMemory: 1, StopWait: -1}.withDefaults().validate()
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, want := range []string{"nonsense", "password", "a*b", "connections -1", "max_memory 1", "negative"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if err := (Config{Path: "x", Password: "p"}).withDefaults().validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

func TestLockWaitsABoundedTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	ctx := context.Background()
	first, err := lock(ctx, path, 0)
	must(t, err)
	began := time.Now()
	if _, err := lock(ctx, path, 200*time.Millisecond); err == nil || time.Since(began) < 200*time.Millisecond {
		t.Errorf("second lock after %v: %v", time.Since(began), err)
	}
	time.AfterFunc(100*time.Millisecond, func() { first.Close() })
	second, err := lock(ctx, path, 10*time.Second)
	if err != nil {
		t.Fatalf("the lock was let go: %v", err)
	}
	defer second.Close()
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := lock(gone, path, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("a wait that is cancelled: %v", err)
	}
}

func TestExceptionStatus(t *testing.T) {
	for text, want := range map[string]struct{ code, status int }{
		"Code: 60. DB::Exception: x. (UNKNOWN_TABLE)":   {60, http.StatusNotFound},
		"Code: 62. DB::Exception: Syntax error":         {62, http.StatusBadRequest},
		"Code: 241. DB::Exception: memory":              {241, http.StatusInternalServerError},
		"something else":                                {0, http.StatusInternalServerError},
		"Code: 516. DB::Exception: 'Code: 60. ' inside": {516, http.StatusForbidden},
	} {
		if e := newException(text + "\n"); e.Code != want.code || e.status() != want.status || e.Error() != text {
			t.Errorf("%s: %d, status %d, %q", text, e.Code, e.status(), e.Error())
		}
	}
	if e := asException(context.DeadlineExceeded); e.Code != codeTimeoutExceeded {
		t.Errorf("deadline: %+v", e)
	}
	if e := asException(os.ErrPermission); e.Code != codeLogicalError || !strings.Contains(e.Message, "permission") {
		t.Errorf("other: %+v", e)
	}
}

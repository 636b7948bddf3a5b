package storetest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/engine"
	"github.com/sluicehq/sluice/analytics/store"
)

const (
	envSwitch = "SLUICE_TEST_ENGINE"
	envChild  = "SLUICE_TEST_STORE_CHILD"
	envNative = "SLUICE_TEST_NATIVE" // 1: DSN is over the native protocol
	password  = "pass word/'\"%"
)

// Main is what TestMain calls: it runs the tests, or, in the child process
// that the tests start, the engine.
func Main(m *testing.M) {
	if os.Getenv(envChild) == "" {
		code := m.Run()
		shared.close()
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := engine.Main(ctx, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// shared is the engine of this test binary.
var shared server

// databases counts the databases given out.
var databases atomic.Int64

type server struct {
	once   sync.Once
	sup    *engine.Supervisor
	addr   string
	native *Native
	err    error
	stop   func()
}

func (s *server) start() {
	dir, err := os.MkdirTemp("", "sluice-storetest-")
	if err != nil {
		s.err = err
		return
	}
	lib, err := find()
	if err != nil {
		s.err = err
		return
	}
	s.sup = engine.New(engine.SupervisorConfig{
		Engine:  engine.Config{Lib: lib, Path: filepath.Join(dir, "data"), Listen: "127.0.0.1:0", Password: password, StopWait: time.Second},
		Command: []string{os.Args[0]}, Env: []string{envChild + "=1"},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.sup.Run(ctx) }()
	s.stop = func() {
		cancel()
		<-done
		_ = os.RemoveAll(dir)
	}
	ready, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	if s.addr, s.err = s.sup.Await(ready); s.err == nil {
		s.native, s.err = Front("127.0.0.1:0", s.addr, password, nil)
	}
}

func (s *server) close() {
	if s.native != nil {
		s.native.Close()
	}
	if s.stop != nil {
		s.stop()
	}
}

// find looks where the engine does, and from the root of the repository: tests
// run in their package's folder.
func find() (string, error) {
	lib, err := engine.Find()
	if !errors.Is(err, engine.ErrNotFound) {
		return lib, err
	}
	for _, up := range []string{"../..", "../../..", "../../../.."} {
		found, _ := filepath.Glob(filepath.Join(up, ".engine/node_modules/@chdb/*/libchdb.*"))
		if len(found) > 0 {
			return filepath.Abs(found[0])
		}
	}
	return "", err
}

// Need skips a test loudly where the engine is not there, or fails it where
// the suite must run (SLUICE_TEST_ENGINE=1). The test's processes find it then.
func Need(t testing.TB) {
	t.Helper()
	mode := os.Getenv(envSwitch)
	if mode == "0" {
		t.Skip("SKIPPED: " + envSwitch + "=0 turns the engine's tests off")
	}
	lib, err := find()
	switch {
	case err != nil && mode == "1":
		t.Fatalf("the engine must be there: %v", err)
	case err != nil:
		t.Skipf("SKIPPED, NOT TESTED: %v", err)
	}
	t.Setenv(engine.EnvLib, lib)
}

// DSN is the engine with a database that no other test uses, over HTTP unless
// SLUICE_TEST_NATIVE=1.
func DSN(t testing.TB) string {
	t.Helper()
	if os.Getenv(envNative) == "1" {
		return NativeDSN(t)
	}
	return dsn("http", Engine(t), "")
}

// NativeDSN is such an address over the native protocol, compressed.
func NativeDSN(t testing.TB) string {
	t.Helper()
	Engine(t)
	return dsn("clickhouse", shared.native.Addr(), "compress=lz4")
}

// DSNAt is such an address at a front of the test's own.
func DSNAt(n *Native, query string) string { return dsn("clickhouse", n.Addr(), query) }

func dsn(scheme, host, query string) string {
	u := url.URL{Scheme: scheme, Host: host, User: url.UserPassword("default", password), Path: fmt.Sprintf("/test_%d", databases.Add(1)), RawQuery: query}
	return u.String()
}

// NewFront starts a native server for this test alone, with TLS if there is a
// certificate, and closes it at its end.
func NewFront(t testing.TB, listen string, cert *tls.Config) *Native {
	t.Helper()
	n, err := Front(listen, Engine(t), password, cert)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// Engine is the address of the engine's HTTP endpoint. It skips or fails the
// test where there is no engine.
func Engine(t testing.TB) string {
	t.Helper()
	mode := os.Getenv(envSwitch)
	if mode == "0" {
		t.Skip("SKIPPED: " + envSwitch + "=0 turns the engine's tests off")
	}
	shared.once.Do(shared.start)
	switch err := shared.err; {
	case err == nil:
	case errors.Is(err, engine.ErrNotFound) && mode != "1":
		t.Skipf("SKIPPED, NOT TESTED: %v", err)
	default:
		t.Fatalf("the engine does not run: %v", err)
	}
	return shared.addr
}

// Open is a migrated store in a new database.
func Open(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(store.Config{DSN: DSN(t), DialTimeout: time.Minute}) // the machine may be busy
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s
}

// PID is the engine's process, to measure it; 0 between two runs.
func PID() int { return shared.sup.State().PID }

// Kill kills the engine's process, as a crash would. It is restarted after a
// moment. An engine that is not running is left alone.
func Kill(t testing.TB) {
	t.Helper()
	pid := PID()
	if pid <= 0 { // kill(0) would be this process and its relatives
		return
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
}

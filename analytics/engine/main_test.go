package engine

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// The test binary acts as another process when this variable is set: "child"
// is `sluice engine`, "parent" is a program that supervises one.
const envRole = "SLUICE_TEST_ENGINE_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(envRole) {
	case "child":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := Main(ctx, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "parent":
		runParent()
	default:
		os.Exit(m.Run())
	}
}

const testPassword = "pässword 'quoted' \\ \"x\""

// needEngine obeys SLUICE_TEST_ENGINE: unset, a test without the engine is
// skipped; 1, it fails; 0, it is skipped even with the engine.
func needEngine(t testing.TB) string {
	t.Helper()
	mode := os.Getenv("SLUICE_TEST_ENGINE")
	if mode == "0" {
		t.Skip("SKIPPED: SLUICE_TEST_ENGINE=0 turns the engine's tests off")
	}
	// Tests run in their package's folder, the engine is in the repository's.
	lib, err := Find()
	if err != nil {
		t.Chdir("../..")
		lib, err = Find()
	}
	switch {
	case err == nil:
		return lib
	case mode == "1":
		t.Fatalf("SLUICE_TEST_ENGINE=1, but: %v", err)
	}
	t.Skipf("SKIPPED, NOT TESTED: %v", err)
	return ""
}

// startEngine runs an engine in a child process for the duration of the test.
func startEngine(t testing.TB, change ...func(*SupervisorConfig)) (*Supervisor, string) {
	t.Helper()
	lib := needEngine(t)
	cfg := SupervisorConfig{
		Engine: Config{
			Lib: lib, Path: t.TempDir() + "/data", Listen: "127.0.0.1:0", Password: testPassword,
			StopWait: time.Second,
		},
		Command: []string{os.Args[0]},
		Env:     []string{envRole + "=child"},
	}
	for _, c := range change {
		c(&cfg)
	}
	s := New(cfg)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	addr, err := s.Await(wait)
	if err != nil {
		t.Fatalf("the engine does not start: %v", err)
	}
	return s, addr
}

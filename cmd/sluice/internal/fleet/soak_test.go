package fleet

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestSoak is the short form of `make soak`: what is piled up in front of a
// broker takes no more memory than its bound, and nothing of it is lost.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: -short")
	}
	b := build(t)
	for _, part := range SoakParts() {
		t.Run(part, func(t *testing.T) {
			var out strings.Builder
			err := Soak(t.Context(), SoakOptions{Binaries: b, Jobs: 20_000, Readers: 300, Answer: 10, Calls: 50, Disk: 96, Parts: []string{part}, Out: &out, Log: t.Output()})
			if part == "disk" && (errors.Is(err, syscall.EPERM) || err != nil && strings.Contains(err.Error(), "operation not permitted")) {
				t.Skipf("SKIPPED, nothing is broken: no disk of its own here: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Log(out.String())
		})
	}
	if n := peak(os.Getpid()); n <= 0 {
		t.Logf("this system does not tell a process's memory: the bounds were not checked")
	}
}

package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// A heap that needs more than the limit gets it, and a moment's peak does not;
// later the limit comes back.
func TestLimitFollowsTheHeap(t *testing.T) {
	percent, before := debug.SetGCPercent(-1), debug.SetMemoryLimit(-1)
	defer func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(before) }()
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	tuneGC()
	if got := debug.SetMemoryLimit(-1); got != heapSoft {
		t.Fatalf("it begins at %d MiB", got>>20)
	}
	reaches := func(what string, want int64) {
		t.Helper()
		for end := time.Now().Add(time.Minute); debug.SetMemoryLimit(-1) != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: the limit is %d MiB", what, debug.SetMemoryLimit(-1)>>20)
			}
			runtime.GC()
		}
	}
	held := make([]byte, 800<<20)
	reaches("full", 1632<<20) // twice 800 MiB and a little
	runtime.KeepAlive(held)
	held = nil
	reaches("empty", heapSoft)
}

func TestLimitOfAPeak(t *testing.T) {
	h := heapLimit{live: [8]uint64{700 << 20, 700 << 20, 700 << 20, 700 << 20, 700 << 20, heapTight, 700 << 20, 700 << 20}}
	if got := h.limit(); got != heapSoft {
		t.Errorf("%d MiB", got>>20)
	}
	if h.live[5]++; h.limit() != 1376<<20 {
		t.Errorf("%d MiB", h.limit()>>20)
	}
}

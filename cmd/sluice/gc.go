package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
)

const (
	// gcPercent trades memory for CPU: an idle broker's heap is a few MiB, so
	// even this leaves the process small. GOGC wins.
	gcPercent = 300

	// heapSoft is what the runtime holds the process to. Most of what a
	// broker's heap holds under load are caches of the file store and pools of
	// their buffers, which go with a collection or two. At full load 512 MiB
	// cost an eighth more CPU per job, and 1 GiB saved nothing more.
	heapSoft = 768 << 20
	// heapTight is how much that a collection leaves is too much for that.
	heapTight = heapSoft / 8 * 7
)

// tuneGC lets a small heap grow fast, and a large one only as far as it has
// to. GOGC and GOMEMLIMIT win.
func tuneGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(heapSoft)
		new(heapLimit).watch()
	}
}

// heapLimit adapts the runtime's soft limit after collections.
type heapLimit struct {
	live [8]uint64 // what the last ones left
	n    int
}

// watch has itself called again after the next collection.
func (h *heapLimit) watch() {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	h.live[h.n%len(h.live)] = s[0].Value.Uint64()
	h.n++
	// Setting it stops the world for a moment, reading it does not.
	if limit := h.limit(); limit != debug.SetMemoryLimit(-1) {
		debug.SetMemoryLimit(limit)
	}
	runtime.AddCleanup(new([16]byte), func(h *heapLimit) { h.watch() }, h)
}

// limit is what the process may have: twice what it needs where it cannot do
// with heapSoft, in steps.
func (h *heapLimit) limit() int64 {
	const step = 32 << 20
	if least := slices.Min(h.live[:]); least > heapTight {
		return int64((2*least + step - 1) / step * step)
	}
	return heapSoft
}

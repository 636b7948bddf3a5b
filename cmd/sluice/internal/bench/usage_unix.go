//go:build unix

package bench

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cpuTime is the CPU time of this process so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakMemory is the largest resident size of this process so far, in bytes.
func peakMemory() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return u.Maxrss
	}
	return u.Maxrss << 10
}

// clockTick is the unit of CPU times in /proc: 100 a second on every Linux
// that Go runs on.
const clockTick = 10 * time.Millisecond

// childrenTime is the CPU time so far of running child processes (the
// engine), from /proc; 0 where there is none.
func childrenTime() time.Duration {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0
	}
	self := strconv.Itoa(os.Getpid())
	var sum time.Duration
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		f := strings.Fields(rest)
		if len(f) < 13 || f[1] != self {
			continue
		}
		for _, v := range f[11:13] { // utime, stime
			n, _ := strconv.ParseInt(v, 10, 64)
			sum += time.Duration(n) * clockTick
		}
	}
	return sum
}

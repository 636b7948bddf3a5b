package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has used, and what all processes below it have.
type usage struct{ own, below time.Duration }

func (u usage) sub(v usage) usage { return usage{own: u.own - v.own, below: u.below - v.below} }

// treeOf is the processes that descend from pid, without itself. Empty where
// there is no /proc.
func treeOf(pid int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	children := map[int][]int{}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		f := strings.Fields(rest)
		if len(f) < 2 {
			continue
		}
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, _ := strconv.Atoi(f[1])
		children[parent] = append(children[parent], child)
	}
	list := children[pid]
	for i := 0; i < len(list); i++ {
		list = append(list, children[list[i]]...)
	}
	return list
}

// usageOf is the CPU time of a process and of those below it so far.
func usageOf(pid int) usage {
	u := usage{own: cpuOf(pid)}
	for _, child := range treeOf(pid) {
		u.below += cpuOf(child)
	}
	return u
}

// peakOf is the most memory of a process, and the sum of the most of each one
// below it, in bytes.
func peakOf(pid int) (own, below int64) {
	for _, child := range treeOf(pid) {
		below += memoryOf(child, "VmHWM")
	}
	return memoryOf(pid, "VmHWM"), below
}

// resetPeaks makes the peaks of a process and of those below it begin anew.
func resetPeaks(pid int) {
	resetPeak(pid)
	for _, child := range treeOf(pid) {
		resetPeak(child)
	}
}

// mib is one or two amounts of memory for people.
func mib(own, below int64) string {
	if below == 0 {
		return fmt.Sprintf("%d", own>>20)
	}
	return fmt.Sprintf("%d + %d", own>>20, below>>20)
}

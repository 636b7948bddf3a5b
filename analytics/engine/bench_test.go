package engine

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestFootprint prints the figures that doc.go gives, and fails when they are
// far off.
func TestFootprint(t *testing.T) {
	began := time.Now()
	s, addr := startEngine(t)
	ready := time.Since(began)
	pid := s.State().PID
	t.Logf("ready after %v, %s", ready.Round(time.Millisecond), memory(pid))
	sql(t, addr, "SELECT 1")
	sql(t, addr, `CREATE TABLE t (a UInt64, ts DateTime64(3), tenant LowCardinality(String), cost Int64) ENGINE = MergeTree ORDER BY a`)
	for range 5 {
		sql(t, addr, "INSERT INTO t SELECT number, now64(3), toString(number % 10), number FROM numbers(1000000)")
	}
	sql(t, addr, "SELECT tenant, sum(cost) FROM t GROUP BY tenant")
	t.Logf("5 million rows later: %s", memory(pid))
	began = time.Now()
	for range 200 {
		sql(t, addr, "SELECT 1")
	}
	t.Logf("SELECT 1: %v each", (time.Since(began) / 200).Round(time.Microsecond))
	began = time.Now()
	for i := range 100 {
		sql(t, addr, fmt.Sprintf("INSERT INTO t VALUES (%d, now64(3), 'x', 1)", i))
	}
	t.Logf("insert of one row: %v each", (time.Since(began) / 100).Round(time.Microsecond))
	time.Sleep(3 * time.Second)
	t.Logf("idle: %s", memory(pid))
	before := cpu(pid)
	time.Sleep(3 * time.Second)
	t.Logf("idle: %d ticks of CPU (10 ms) in 3 s", cpu(pid)-before)
	if ready > 10*time.Second {
		t.Errorf("ready only after %v", ready)
	}
}

func memory(pid int) string {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	var parts []string
	for line := range strings.Lines(string(status)) {
		for _, name := range []string{"VmRSS:", "RssAnon:", "VmHWM:", "Threads:"} {
			if strings.HasPrefix(line, name) {
				parts = append(parts, strings.Join(strings.Fields(line), " "))
			}
		}
	}
	return strings.Join(parts, ", ")
}

func cpu(pid int) int {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	var user, system int
	fmt.Sscan(fields[11], &user)
	fmt.Sscan(fields[12], &system)
	return user + system
}

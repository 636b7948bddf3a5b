package store_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
)

// BenchmarkInsertAttempts reports what one row costs: time, and the CPU time
// of this process and of the engine, background merges included.
func BenchmarkInsertAttempts(b *testing.B) {
	benchmarkInsert(b, storetest.Open(b))
}

// BenchmarkInsertAttemptsWithoutProjections is the price of the projections.
func BenchmarkInsertAttemptsWithoutProjections(b *testing.B) {
	s := storetest.Open(b)
	for _, p := range query(b, s, "SELECT name FROM system.projections WHERE database = currentDatabase() AND table = 'attempts'") {
		exec(b, s, fmt.Sprint("ALTER TABLE attempts DROP PROJECTION ", p[0]))
	}
	benchmarkInsert(b, s)
}

func benchmarkInsert(b *testing.B, s *store.Store) {
	const batch = 10_000
	rows := fakeAttempts(1, batch)
	for range 3 { // warm up
		must(b, s.InsertAttempts(b.Context(), rows))
		shift(rows)
	}
	pid := storetest.PID()
	own, engine := cpu(b, os.Getpid()), cpu(b, pid)
	for b.Loop() {
		must(b, s.InsertAttempts(b.Context(), rows))
		shift(rows)
	}
	n := float64(b.N) * batch
	b.ReportMetric(float64(b.Elapsed().Microseconds())/n, "µs/row")
	b.ReportMetric((cpu(b, os.Getpid())-own)/n, "cpu-µs/row")
	b.ReportMetric((cpu(b, pid)-engine)/n, "engine-cpu-µs/row")
	b.ReportMetric(0, "ns/op")
}

func shift(rows []store.Attempt) {
	for i := range rows {
		rows[i].Seq += uint64(len(rows))
	}
}

// cpu is the CPU time of a process in microseconds, 0 where /proc is absent.
func cpu(b *testing.B, pid int) float64 {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	var ticks float64
	for _, f := range fields[11:13] { // utime, stime
		v, err := strconv.ParseFloat(f, 64)
		must(b, err)
		ticks += v
	}
	return ticks * 10_000
}

package ingest

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// TestAnHourAway: ClickHouse is away for an hour while sixty jobs a minute go
// on ending. Every record is stored, nothing of them piles up in the process, and
// what came meanwhile is in the tables once, soon after its return.
func TestAnHourAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{}
		r := start(t, Config{JS: l.js, Store: f, Tail: l.tail(), RetryMax: time.Minute})
		jobs := 0
		load := func(minutes int) {
			for range minutes {
				for range 60 {
					l.job(fmt.Sprint("job-", jobs), 1) // fails the test if a record is not stored
					jobs++
				}
				time.Sleep(time.Minute)
			}
		}
		load(1)
		r.caughtUp(t, l)
		f.setDown(true)
		load(5)
		early := heap()
		load(55)
		late := heap()
		if p := r.Progress(); p.Err == nil {
			t.Error("the progress shows no error")
		}
		f.setDown(false)
		back := time.Now()
		r.caughtUp(t, l)
		if took := time.Since(back); took > 2*time.Minute {
			t.Errorf("it took %s to catch up with an hour", took)
		}
		rows := heap() - late // the scripted store keeps them
		t.Logf("in 55 minutes the heap has grown by %d KiB, of server and ingester; the rows of an hour are %d KiB", (late-early)>>10, rows>>10)
		if late-early > rows/2 {
			t.Errorf("in 55 minutes without ClickHouse the heap has grown by %d KiB, its rows are %d KiB", (late-early)>>10, rows>>10)
		}
		load(1)
		r.caughtUp(t, l)
		f.wantRows(t, jobs, jobs)
		for _, j := range f.jobs {
			if j.Cost == nil || *j.Cost == 0 || *j.Cost != *f.jobs[0].Cost {
				t.Fatalf("the job of record %d cost %v, want what each has", j.Seq, j.Cost)
			}
		}
	})
}

// heap is what is in use after a collection, in bytes.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

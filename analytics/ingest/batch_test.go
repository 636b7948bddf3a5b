package ingest

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
)

// When a batch is due, in milliseconds after its first row.
func TestPace(t *testing.T) {
	first := time.Date(2026, 3, 14, 10, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return first.Add(time.Duration(ms) * time.Millisecond) }
	for name, c := range map[string]struct {
		rows, last  int // of the batch, and when its last record came
		wrote, took int // the insert before
		want        int
	}{
		"alone":                      {1, 0, -60_000, 5, 500},
		"after a quick insert":       {1, 0, -10, 10, 500},
		"after a slow one":           {100, 300, -10, 100, 1990},
		"after a very slow one":      {100, 300, -10, 10_000, 4990},
		"long after a very slow one": {1, 0, -60_000, 10_000, 500},
		"a crowd that grows":         {crowd, 4950, -10, 10, 5000},
		"a crowd that has come":      {crowd, 300, -10, 10, 400},
		"after a slow insert":        {crowd, 300, -10, 30, 590},
		"after a very slow insert":   {crowd, 300, -10, 10_000, 800},
		"that takes a break":         {crowd, 4400, -10, 10_000, 4900},
	} {
		p := pace{interval: 500 * time.Millisecond, wrote: at(c.wrote), took: time.Duration(c.took) * time.Millisecond}
		b := &batch{attempts: make([]store.Attempt, c.rows), first: first, last: at(c.last)}
		if got := p.due(b); !got.Equal(at(c.want)) {
			t.Errorf("%s: due after %s, want %d ms", name, got.Sub(first), c.want)
		}
	}
}

// While an insert takes its time the session reads on, and holds no more than
// another batch.
func TestReadsOnWhileWriting(t *testing.T) {
	for maxRows, want := range map[int]string{10_000: "[1 100]", 50: "[1 25 25 25 25]"} {
		synctest.Test(t, func(t *testing.T) {
			l, f := startLedger(t), &fakeStore{}
			slow := &watchedStore{fakeStore: f}
			r := start(t, Config{JS: l.js, Store: slow, Tail: l.tail(), MaxRows: maxRows})
			l.job("first", 1)
			time.Sleep(time.Second) // its insert is under way
			for i := range 100 {
				l.job(fmt.Sprint(i), 1)
			}
			time.Sleep(time.Second)
			if p := r.Progress(); p.Position > 1 { // 1 is a claim
				t.Errorf("position %d before anything is written (I2)", p.Position)
			}
			r.caughtUp(t, l)
			f.wantRows(t, 101, 101)
			if got := fmt.Sprint(slow.sizes); got != want {
				t.Errorf("inserts of %s jobs, want %s", got, want)
			}
		})
	}
}

// watchedStore takes ten seconds to insert jobs, and counts them.
type watchedStore struct {
	*fakeStore
	sizes []int
}

func (s *watchedStore) InsertJobs(ctx context.Context, rows []store.Job) error {
	time.Sleep(10 * time.Second)
	s.sizes = append(s.sizes, len(rows))
	return s.fakeStore.InsertJobs(ctx, rows)
}

// A session that ends waits for what it is writing, and writes the rest.
func TestStopWhileWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{}
		r := start(t, Config{JS: l.js, Store: &slowStore{fakeStore: f, wait: time.Second}})
		l.job("a", 1)
		time.Sleep(time.Second) // its insert is under way
		l.job("b", 2)
		time.Sleep(100 * time.Millisecond)
		r.stop()
		f.wantRows(t, 3, 2)
	})
}

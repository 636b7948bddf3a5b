package ingest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
)

// batch is rows on their way: all that follow the batch before it, up to read.
type batch struct {
	attempts []store.Attempt
	jobs     []store.Job
	bytes    int
	read     uint64    // sequence of the last record read
	first    time.Time // when its first row came, zero: no rows
	last     time.Time // when its last record came
}

func (b *batch) rows() int { return len(b.attempts) + len(b.jobs) }

// next empties a batch that is written, for what follows the sequence read. It
// keeps the room, and nothing of the records.
func (b *batch) next(read uint64) *batch {
	clear(b.attempts)
	clear(b.jobs)
	return &batch{attempts: b.attempts[:0], jobs: b.jobs[:0], read: read}
}

const (
	// crowd is how many rows are company enough to wait for more of it.
	crowd = 2000
	// rest is how long ClickHouse is left alone after an insert, in the time
	// that it took.
	rest = 20
	// patience is the longest wait for company, in flush intervals.
	patience = 10
)

// pace says when batches are written. An insert costs ClickHouse about the same
// however many rows it has, up to some thousands.
type pace struct {
	interval time.Duration // Config.FlushInterval
	wrote    time.Time     // when the last insert was over
	took     time.Duration // it
}

// due is when to write a batch that has rows.
func (p *pace) due(b *batch) time.Time {
	rested := p.wrote.Add(min(rest*p.took, patience*p.interval))
	if b.rows() < crowd {
		return latest(b.first.Add(p.interval), rested)
	}
	// Many come: fewer, larger parts spare ClickHouse more than half of its
	// work. Unless they have stopped coming.
	pause := earliest(latest(b.last.Add(p.interval/5), rested), b.last.Add(p.interval))
	return earliest(b.first.Add(patience*p.interval), pause)
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// flight is a batch that is being written, while the session reads on.
type flight struct {
	*batch
	began, landed time.Time
	done          chan struct{}
	err           error // once done is closed
}

// write begins to write a batch. Both tables take it at the same time; its end
// must be waited for.
func (s *session) write(ctx context.Context, b *batch) *flight {
	f := &flight{batch: b, began: time.Now(), done: make(chan struct{})}
	st, p := s.in.cfg.Store, &s.in.progress
	go func() { // the session waits for done
		defer close(f.done)
		var tables sync.WaitGroup
		var errs [2]error
		tables.Go(func() {
			at := func(r *store.Attempt) time.Time { return r.TS }
			errs[0] = insertParts(ctx, s, b.attempts, at, st.InsertAttempts, p.attempts.Add)
		})
		tables.Go(func() {
			at := func(r *store.Job) time.Time { return r.FinishedAt }
			errs[1] = insertParts(ctx, s, b.jobs, at, st.InsertJobs, p.jobs.Add)
		})
		tables.Wait()
		f.landed = time.Now()
		if f.err = errors.Join(errs[:]...); f.err == nil {
			p.wrote(b.read) // I2
		}
	}()
	return f
}

// insertParts inserts the rows in order, cut where the partition changes.
func insertParts[R any](ctx context.Context, s *session, rows []R, at func(*R) time.Time, insert func(context.Context, []R) error, wrote func(uint64) uint64) error {
	for len(rows) > 0 {
		n, p := 1, store.PartitionOf(at(&rows[0]))
		for n < len(rows) && store.PartitionOf(at(&rows[n])) == p {
			n++
		}
		if err := s.lease.Check(); err != nil { // I6
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, s.in.cfg.InsertTimeout)
		err := insert(ctx, rows[:n])
		cancel()
		if err != nil {
			return err
		}
		wrote(uint64(n))
		rows = rows[n:]
	}
	return nil
}

package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/lease"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// session is one run from ClickHouse's positions to a failure or the end.
type session struct {
	in     *Ingester
	lease  *lease.Lease
	retry  *backoff
	stream string

	haveAttempts, haveJobs uint64 // the tables' positions

	// The batch: everything after the position up to read.
	attempts []store.Attempt
	jobs     []store.Job
	bytes    int
	read     uint64    // sequence of the last record read
	due      time.Time // when the oldest row has waited enough, zero: no rows
}

// idle is how long a session waits for a message before it looks around.
const idle = time.Second

// run ingests until ctx ends (and then writes what it holds), held ends, or
// something fails.
func (s *session) run(ctx, held context.Context) error {
	s.stream = s.in.cfg.Subjects.Stream(wire.StreamLedger)
	from, err := s.start(ctx)
	if err != nil {
		return err
	}
	f := newFeed(s.in.cfg, from)
	defer f.close()
	s.read = from - 1
	s.in.progress.restart(from - 1)
	var behind uint64
	for ctx.Err() == nil && held.Err() == nil {
		m, err := f.next(ctx, s.deadline())
		switch {
		case err == nil:
			behind = f.behind(m)
			s.add(m, behind)
		case !errors.Is(err, ledger.ErrQuiet):
			return err
		}
		if s.mustFlush(err != nil, behind == 0) {
			if err := s.flush(held); err != nil {
				return err
			}
		}
	}
	if held.Err() != nil {
		return lease.ErrLost
	}
	return s.flush(held) // ctx has ended: the last rows, while the lease is still ours
}

// start reads the positions and returns the sequence to begin at.
func (s *session) start(ctx context.Context) (uint64, error) {
	st := s.in.cfg.Store
	err := st.Migrate(ctx)
	if err != nil {
		return 0, err
	}
	if s.haveAttempts, err = st.MaxSeq(ctx, store.Attempts); err != nil {
		return 0, err
	}
	if s.haveJobs, err = st.MaxSeq(ctx, store.Jobs); err != nil {
		return 0, err
	}
	stream, err := s.in.cfg.JS.Stream(ctx, s.stream)
	if err != nil {
		return 0, fmt.Errorf("read the ledger: %w", err)
	}
	if err := s.sameLedger(stream); err != nil {
		return 0, err
	}
	return min(s.haveAttempts, s.haveJobs) + 1, nil
}

// sameLedger refuses to go on when ClickHouse is ahead of the ledger: then the
// ledger is another one than the rows came from (its data was deleted, or a
// power failure took its end), and its new records would pass for old ones.
func (s *session) sameLedger(stream jetstream.Stream) error {
	last, have := stream.CachedInfo().State.LastSeq, max(s.haveAttempts, s.haveJobs)
	if last >= have {
		return nil
	}
	return fmt.Errorf("ClickHouse holds rows up to ledger sequence %d, but the ledger %s ends at %d: it is not the ledger that "+
		"these rows came from; restore it, or use another ClickHouse database (or drop this one)", have, s.stream, last)
}

// add takes a record, which others are behind, into the batch.
func (s *session) add(m *ledger.Seen, behind uint64) {
	s.read = m.Seq
	s.in.progress.saw(m.Seq, behind)
	a, j, err := decode(m)
	if err != nil {
		s.in.progress.undecodable.Add(1)
		s.in.log.Error("a ledger record cannot be read and is passed over", "seq", m.Seq, "error", err) // I4
		return
	}
	if a != nil && m.Seq > s.haveAttempts {
		s.attempts = append(s.attempts, *a)
	}
	if j != nil && m.Seq > s.haveJobs {
		s.jobs = append(s.jobs, *j)
	}
	if s.rows() > 0 {
		s.bytes += m.Size
		if s.due.IsZero() {
			s.due = time.Now().Add(s.in.cfg.FlushInterval)
		}
	}
}

func (s *session) rows() int { return len(s.attempts) + len(s.jobs) }

// deadline is how long to wait for another record.
func (s *session) deadline() time.Time {
	switch {
	case s.due.IsZero():
		return time.Now().Add(idle)
	case s.rows() >= crowd:
		lull := time.Now().Add(s.in.cfg.FlushInterval / 5)
		if due := s.crowdDue(); due.Before(lull) {
			return due
		}
		return lull
	}
	return s.due
}

// crowdDue is when a crowd is written though more come.
func (s *session) crowdDue() time.Time { return s.due.Add(3 * s.in.cfg.FlushInterval) }

// mustFlush says whether to write now; quiet means that no record came until
// the deadline, caught that nothing more is there to read at the moment.
func (s *session) mustFlush(quiet, caught bool) bool {
	switch {
	case s.rows() == 0:
		return quiet || caught || s.read%1024 == 0 // only the position moves
	case s.rows() >= s.in.cfg.MaxRows || s.bytes >= s.in.cfg.MaxBytes:
		return true
	case s.rows() >= crowd: // many come: fewer, larger parts spare ClickHouse more than half of its work
		return quiet || !time.Now().Before(s.crowdDue())
	}
	return !time.Now().Before(s.due)
}

// crowd is how many rows are company enough to wait for more of it.
const crowd = 2000

// flush writes the batch and then moves the position (I2).
func (s *session) flush(ctx context.Context) error {
	if s.rows() > 0 {
		if err := s.insert(ctx); err != nil {
			return err
		}
	}
	s.attempts, s.jobs, s.bytes, s.due = s.attempts[:0], s.jobs[:0], 0, time.Time{}
	s.retry.reset()
	s.in.progress.wrote(s.read)
	return nil
}

func (s *session) insert(ctx context.Context) error {
	st := s.in.cfg.Store
	err := insertParts(ctx, s, s.attempts, func(r *store.Attempt) time.Time { return r.TS }, st.InsertAttempts)
	if err != nil {
		return err
	}
	s.in.progress.attempts.Add(uint64(len(s.attempts)))
	if err := insertParts(ctx, s, s.jobs, func(r *store.Job) time.Time { return r.FinishedAt }, st.InsertJobs); err != nil {
		return err
	}
	s.in.progress.jobs.Add(uint64(len(s.jobs)))
	return nil
}

// insertParts inserts the rows in order, cut where the partition changes.
func insertParts[R any](ctx context.Context, s *session, rows []R, at func(*R) time.Time, insert func(context.Context, []R) error) error {
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
		rows = rows[n:]
	}
	return nil
}

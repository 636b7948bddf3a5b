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

	keeper *keeper
	batch  *batch  // what has been read and not begun to be written
	flight *flight // what is being written, nil: nothing is
	spare  *batch  // one that is written
	pace   pace
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
	s.keeper = newKeeper()
	s.batch, s.spare, s.pace.interval = &batch{read: from - 1}, &batch{}, s.in.cfg.FlushInterval
	s.in.progress.restart(from - 1)
	defer func() { _ = s.land() }() // after a failure: the next session begins where this one has ended
	var behind uint64
	for ctx.Err() == nil && held.Err() == nil {
		r, err := f.next(ctx, s.deadline())
		switch {
		case err == nil:
			behind = f.behind(r)
			s.add(r, behind)
		case !errors.Is(err, ledger.ErrQuiet):
			return err
		}
		if err := s.flush(held, err != nil || behind == 0); err != nil {
			return err
		}
	}
	if held.Err() != nil {
		return lease.ErrLost
	}
	return s.finish(held) // ctx has ended: the last rows, while the lease is still ours
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
func (s *session) add(r record, behind uint64) {
	b := s.batch
	b.read, b.last = r.seq, time.Now()
	s.in.progress.saw(r.seq, behind)
	m := r.seen
	if m == nil {
		return
	}
	a, j, err := decode(m)
	if err != nil {
		s.in.progress.undecodable.Add(1)
		s.in.log.Error("a ledger record cannot be read and is passed over", "seq", m.Seq, "error", err) // I4
		return
	}
	s.keeper.own(a, j)
	if a != nil && m.Seq > s.haveAttempts {
		b.attempts = append(b.attempts, *a)
	}
	if j != nil && m.Seq > s.haveJobs {
		b.jobs = append(b.jobs, *j)
	}
	if b.rows() > 0 {
		b.bytes += m.Size
		if b.first.IsZero() {
			b.first = b.last
		}
	}
}

// deadline is how long to wait for another record.
func (s *session) deadline() time.Time {
	until := time.Now().Add(idle)
	if s.flight != nil {
		return time.Now().Add(look)
	}
	if s.batch.rows() > 0 {
		until = s.pace.due(s.batch)
	}
	return until
}

// look is how often a session that has nothing to read looks after its insert.
const look = 10 * time.Millisecond

// flush begins to write the batch when it is time; caught means that nothing
// more is there to read at the moment.
func (s *session) flush(ctx context.Context, caught bool) error {
	b := s.batch
	full := b.rows() >= s.in.cfg.MaxRows || b.bytes >= s.in.cfg.MaxBytes
	if s.flight != nil {
		select {
		case <-s.flight.done:
		default:
			if !full {
				return nil // read on
			}
		}
		if err := s.land(); err != nil {
			return err
		}
	}
	switch {
	case b.rows() > 0 && (full || !time.Now().Before(s.pace.due(b))):
		s.flight, s.batch = s.write(ctx, b), s.spare.next(b.read)
	case b.rows() == 0 && (caught || b.read%1024 == 0): // only the position moves
		s.retry.reset()
		s.in.progress.wrote(b.read)
	}
	return nil
}

// land waits for what is being written.
func (s *session) land() error {
	f := s.flight
	if f == nil {
		return nil
	}
	<-f.done
	s.flight, s.spare = nil, f.batch.next(0)
	if f.err != nil {
		return f.err
	}
	s.pace.wrote, s.pace.took = f.landed, f.landed.Sub(f.began)
	s.retry.reset()
	return nil
}

// finish writes everything that has been read.
func (s *session) finish(ctx context.Context) error {
	if err := s.land(); err != nil {
		return err
	}
	s.flight = s.write(ctx, s.batch)
	return s.land()
}

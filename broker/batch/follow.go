package batch

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// follower reads the ledger of one tenant for all of its batches that run
// here, from the lowest of their positions on. Runs skip what they have.
type follower struct {
	s      *Service
	tenant string

	// Guarded by Service.mu.
	runs map[string]*run // by batch
	at   uint64          // where reading is, or begins; 0: it has not begun
	stop func()          // ends reading, so that it begins anew
}

// readAhead and readAheadBytes bound the records in memory; one may have
// wire.MaxPayload.
const (
	readAhead      = 512
	readAheadBytes = wire.MaxPayload + 1<<20
)

// follow has the run's records delivered.
func (s *Service) follow(r *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.followers[r.m.Tenant]
	if f == nil {
		f = &follower{s: s, tenant: r.m.Tenant, runs: map[string]*run{}, stop: func() {}}
		s.followers[r.m.Tenant] = f
		s.reading.Go(f.run) // Run waits for it
	}
	f.runs[r.m.ID] = r
	if f.at == 0 || r.folded.Load() < f.at {
		f.stop()
	}
}

// unfollow ends that.
func (s *Service) unfollow(r *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.followers[r.m.Tenant]
	delete(f.runs, r.m.ID)
	if len(f.runs) == 0 {
		f.stop()
	}
}

// run reads for as long as there is a batch to read for.
func (f *follower) run() {
	for {
		ctx, cancel := context.WithCancel(f.s.ctx)
		from, ok := f.begin(cancel)
		if !ok {
			cancel()
			return
		}
		err := f.read(ctx, from)
		if err != nil && ctx.Err() == nil {
			f.s.cfg.Logger.Warn("the ledger cannot be read for batches, trying again", "tenant", f.tenant, "err", err)
			_ = ledger.Pause(ctx, time.Second) // ends with ctx too
		}
		cancel()
	}
}

// begin says where to read from; ok is false when there is nothing to read
// for.
func (f *follower) begin(stop func()) (from uint64, ok bool) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if len(f.runs) == 0 || f.s.ctx.Err() != nil {
		if len(f.runs) == 0 {
			delete(f.s.followers, f.tenant)
		}
		return 0, false
	}
	f.stop, f.at = stop, 0
	for _, r := range f.runs {
		if p := r.folded.Load() + 1; f.at == 0 || p < f.at {
			f.at = p
		}
	}
	return f.at, true
}

// read delivers records until ctx ends or reading fails.
func (f *follower) read(ctx context.Context, from uint64) error {
	subjects := f.s.cfg.Subjects
	cons, err := f.s.cfg.JS.OrderedConsumer(ctx, subjects.Stream(wire.StreamLedger), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subjects.Records(f.tenant, "*")}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from})
	if err != nil {
		return err
	}
	it, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(readAhead, readAheadBytes))
	if err != nil {
		return err
	}
	var stopping sync.WaitGroup
	defer stopping.Wait()
	defer it.Stop()
	defer context.AfterFunc(ctx, it.Stop)()
	for {
		msg, err := it.Next()
		if err != nil {
			return err
		}
		status := wire.Status(msg.Headers().Get(wire.HeaderStatus))
		_, job, _ := subjects.SplitTenantJob(msg.Subject())
		id, line, ok := splitJob(job)
		if !status.Terminal() || !ok {
			continue
		}
		if err := f.deliver(ctx, msg, id, line); err != nil {
			return err
		}
	}
}

// deliver gives a record to the run that it belongs to, if that is here.
func (f *follower) deliver(ctx context.Context, msg jetstream.Msg, id string, line int64) error {
	md, err := msg.Metadata()
	if err != nil {
		return err
	}
	f.s.mu.Lock()
	r := f.runs[id]
	f.at = md.Sequence.Stream
	f.s.mu.Unlock()
	if r == nil {
		return nil
	}
	rec, err := wire.DecodeRecord(msg.Headers(), msg.Data())
	if err != nil {
		f.s.cfg.Logger.Error("unreadable record of a batch's job", "tenant", f.tenant, "job", msg.Subject(), "err", err)
		return nil
	}
	select {
	case r.records <- record{line: line, seq: md.Sequence.Stream, rec: rec}:
	case <-r.gone:
	case <-ctx.Done():
	}
	return nil
}

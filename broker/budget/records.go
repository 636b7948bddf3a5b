package budget

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// followLedger folds the ends of attempts and jobs, until ctx ends. When the
// budgets change it begins anew, where the state says.
func (b *Book) followLedger(ctx context.Context) {
	for ctx.Err() == nil {
		select { // the state is read, or the budgets have changed
		case <-b.follow:
		case <-ctx.Done():
			return
		}
		again, stop := context.WithCancelCause(ctx)
		done := make(chan error, 1)
		go func() { done <- b.followRecords(again) }()
		var err error
		select {
		case err = <-done:
		case <-b.follow:
			stop(errAgain)
			err = <-done
			nudge(b.follow)
		}
		stop(nil)
		if ctx.Err() != nil || errors.Is(err, errAgain) {
			continue
		}
		if err != nil {
			b.cfg.Logger.Warn("the ledger cannot be followed for the budgets, trying again", "err", err)
		}
		_ = ledger.Pause(ctx, time.Second) // ends with ctx, as the loop does
		nudge(b.follow)
	}
}

var errAgain = errors.New("the budgets have changed")

// filtersMost is the most tenants of which only their records are read.
const filtersMost = 32

// ledgerConfig is which records to read, from where on, and for which state of
// the book: what is read for an earlier one must not count.
func (b *Book) ledgerConfig() (cfg jetstream.OrderedConsumerConfig, epoch uint64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	cfg = jetstream.OrderedConsumerConfig{HeadersOnly: true, InactiveThreshold: time.Minute, DeliverPolicy: jetstream.DeliverAllPolicy}
	if b.state == nil || !b.state.Any() {
		return cfg, 0, false
	}
	switch pos := b.state.Pos(); {
	case pos > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, pos+1
	case b.since > 0:
		at := time.Unix(0, b.since)
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &at
	}
	if tenants, ok := b.state.Tenants(); ok && len(tenants) <= filtersMost {
		for _, t := range tenants {
			cfg.FilterSubjects = append(cfg.FilterSubjects, b.cfg.Subjects.Records(t, "*"))
		}
	}
	return cfg, b.epoch, true
}

// followRecords folds the ledger from where the state is.
func (b *Book) followRecords(ctx context.Context) error {
	cfg, epoch, ok := b.ledgerConfig()
	if !ok {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	stream, err := b.cfg.JS.Stream(ctx, b.cfg.Subjects.Stream(wire.StreamLedger))
	if err != nil {
		return err
	}
	last := stream.CachedInfo().State.LastSeq
	start := func(pending uint64) {
		if pending == 0 {
			b.reached(epoch, last)
		}
	}
	return b.consume(ctx, wire.StreamLedger, cfg, start, func(m jetstream.Msg, md *jetstream.MsgMetadata) error {
		b.recordSeen(epoch, m, md)
		return nil
	})
}

// reached notes that the ledger is folded to its end.
func (b *Book) reached(epoch, seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.epoch == epoch {
		b.state.Reached(seq)
	}
	b.tell()
}

func (b *Book) recordSeen(epoch uint64, m jetstream.Msg, md *jetstream.MsgMetadata) {
	seq := md.Sequence.Stream
	h := m.Headers()
	changed := false
	if h.Get(wire.HeaderStatus) != string(wire.Running) || b.claimsCount() {
		rec, err := wire.DecodeRecord(h, nil)
		if err != nil {
			b.cfg.Logger.Error("unreadable record not counted for the budgets", "seq", seq, "err", err)
		} else {
			b.mu.Lock()
			if b.epoch == epoch && rec.Status == wire.Running && seq > b.state.Pos() {
				b.state.Claim(&rec, b.setup.Bounds)
			}
			changed = b.epoch == epoch && b.state.Settle(seq, md.Timestamp.UnixNano(), &rec)
			b.mu.Unlock()
		}
	}
	if md.NumPending == 0 {
		b.reached(epoch, seq)
	} else if changed {
		b.tell()
	}
}

// claimsCount reports whether holds are to be known from claims too.
func (b *Book) claimsCount() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost
}

// How often and after how long the owners of holds are looked for.
const (
	sweepFrom = 10 * time.Second
	sweepMost = 5 * time.Minute
	sweepAsks = 500
	lostAfter = 24 * time.Hour // no queue keeps a job for longer without a record
)

// sweep asks the ledger about jobs that have held something for long: of a
// copy whose job has ended, or belongs to another submission, no record will
// ever tell (account.Void).
func (b *Book) sweep(ctx context.Context) {
	now := time.Now()
	for _, o := range b.suspects(now) {
		last, err := b.cfg.Ledger.Last(ctx, o.Job.Tenant, o.Job.ID)
		if err != nil {
			return // next time
		}
		b.mu.Lock()
		switch {
		case b.state == nil:
		case last == nil:
			if now.Sub(time.Unix(0, o.Since)) > lostAfter {
				b.state.Void(o.Job, o.N, true, 0)
			}
		default:
			ended := last.Entry.Meta.Seq != o.Job.Seq || last.Status.Terminal()
			if b.state.Void(o.Job, last.Entry.Progress.Attempts, ended, last.Seq) {
				b.tell()
			}
		}
		b.mu.Unlock()
	}
}

// suspects are the owners whose turn it is to be asked about.
func (b *Book) suspects(now time.Time) []account.Owner {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == nil {
		return nil
	}
	at := now.UnixNano()
	var out []account.Owner
	asked := map[account.Job]int64{}
	for _, o := range b.state.Owners(at - int64(sweepFrom)) {
		next := b.asked[o.Job]
		if at >= next && len(out) < sweepAsks {
			out = append(out, o)
			next = at + min(at-o.Since, int64(sweepMost))
		}
		asked[o.Job] = next
	}
	b.asked = asked
	return out
}

// saved is what is known of the last stored state.
type saved struct {
	seq uint64
	at  time.Time
	pos uint64 // of the ledger then
	n   int    // of the holds
}

func (s *saved) seen(seq uint64, at time.Time, st *account.State) {
	if seq > s.seq {
		s.seq, s.at, s.pos, s.n = seq, at, st.Pos(), st.Holds()
	}
}

// How often the book looks after itself.
const (
	tickEvery = time.Second
	saveEvery = 10 * time.Second
	sweepTick = 5
)

// tick raises events, stores the state and sweeps until ctx ends.
func (b *Book) tick(ctx context.Context) {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		b.alert(ctx)
		b.save(ctx)
		if n%sweepTick == 0 {
			b.sweep(ctx)
		}
	}
}

// save stores the state if it has changed and nobody has for a while, and
// removes the log before it.
func (b *Book) save(ctx context.Context) {
	raw, log, ok := b.due(time.Now())
	if !ok {
		return
	}
	seq, err := b.append(ctx, b.cfg.Subjects.HoldsState(), raw, log)
	if err != nil {
		if !collided(err) && ctx.Err() == nil {
			b.cfg.Logger.Warn("the state of the budgets is not stored, trying again", "err", err)
		}
		return
	}
	stream, err := b.cfg.JS.Stream(ctx, b.cfg.Subjects.Stream(wire.StreamHolds))
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSequence(seq))
	}
	if err != nil && ctx.Err() == nil {
		b.cfg.Logger.Debug("old holds stay until the next state is stored", "err", err)
	}
}

// due is the state to store, if it is time.
func (b *Book) due(now time.Time) (raw []byte, log uint64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.state
	if s == nil || !s.Caught() || now.Sub(b.saved.at) < saveEvery || s.Log() == b.saved.seq && s.Pos() == b.saved.pos && s.Holds() == b.saved.n {
		return nil, 0, false
	}
	s.Prune(now.UnixNano())
	raw, err := s.Encode()
	if err != nil {
		b.cfg.Logger.Error("the state of the budgets cannot be written", "err", err)
		return nil, 0, false
	}
	return raw, s.Log(), true
}

package ingest

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/wire"
)

// clean purges old records until held or done ends.
func (in *Ingester) clean(held context.Context, done <-chan struct{}) {
	tick := time.NewTicker(janitorInterval)
	defer tick.Stop()
	for {
		select {
		case <-held.Done():
			return
		case <-done:
			return
		case <-tick.C:
		}
		if n, err := in.purge(held, time.Now()); err != nil && held.Err() == nil {
			in.log.Warn("old records were not purged; tried again in a minute", "error", err)
		} else if n > 0 {
			in.log.Debug("purged old records", "below_seq", n)
		}
	}
}

// purge removes the records that are older than the retention and in
// ClickHouse (I5). It returns the first sequence that it kept, 0 if there was
// nothing to do.
func (in *Ingester) purge(ctx context.Context, now time.Time) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, janitorInterval)
	defer cancel()
	stream, err := in.cfg.JS.Stream(ctx, in.cfg.Subjects.Stream(wire.StreamLedger))
	if err != nil {
		return 0, err
	}
	state := stream.CachedInfo().State
	before := now.Add(-in.cfg.Retention)
	position, _ := in.progress.at()
	if state.Msgs == 0 || !state.FirstTime.Before(before) || state.FirstSeq > position {
		return 0, nil
	}
	young, err := firstSince(ctx, in.cfg.JS, stream.CachedInfo().Config.Name, before)
	if err != nil {
		return 0, err
	}
	keep := min(young, position+1)
	if keep <= state.FirstSeq {
		return 0, nil
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(keep)); err != nil {
		return 0, fmt.Errorf("purge the ledger below %d: %w", keep, err)
	}
	return keep, nil
}

// firstSince is the sequence of the first message at or after t, or the next
// one to be written if there is none. The server searches: a new consumer
// that starts at a time says where that is.
func firstSince(ctx context.Context, js jetstream.JetStream, stream string, t time.Time) (uint64, error) {
	c, err := js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Description:   "retention",
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &t,
		AckPolicy: jetstream.AckNonePolicy, HeadersOnly: true, MemoryStorage: true, Replicas: 1,
		InactiveThreshold: 10 * time.Second,
	})
	if err != nil {
		return 0, fmt.Errorf("look for the first record since %s: %w", t.Format(time.RFC3339), err)
	}
	info := c.CachedInfo()
	_ = js.DeleteConsumer(ctx, stream, info.Name) // or InactiveThreshold removes it
	return info.Delivered.Stream + 1, nil
}

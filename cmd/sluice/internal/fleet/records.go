package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/wire"
)

// stored is a record as the ledger has it.
type stored struct {
	*wire.Record
	job  string
	at   time.Time
	last bool // of those that were there when the reading began
}

// readRecords gives the ledger's records to each, in order, until it says that
// it has seen enough. No record for as long as patience is an error.
func readRecords(ctx context.Context, js jetstream.JetStream, patience time.Duration, each func(*stored) (enough bool)) error {
	var subjects wire.Subjects
	stream, err := js.Stream(ctx, subjects.Stream(wire.StreamLedger))
	if err != nil {
		return err
	}
	cons, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{HeadersOnly: true})
	if err != nil {
		return err
	}
	iter, err := cons.Messages()
	if err != nil {
		return err
	}
	defer iter.Stop()
	for {
		m, err := iter.Next(jetstream.NextMaxWait(patience))
		if err != nil {
			return fmt.Errorf("no record came for %s: %w", patience, err)
		}
		md, err := m.Metadata()
		if err != nil {
			return err
		}
		rec, err := wire.DecodeRecord(m.Headers(), nil)
		if err != nil {
			return err
		}
		_, job, _ := subjects.SplitTenantJob(m.Subject())
		if each(&stored{&rec, job, md.Timestamp, md.Sequence.Stream >= stream.CachedInfo().State.LastSeq}) {
			return nil
		}
	}
}

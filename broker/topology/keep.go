package topology

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// keeper is the class and pool of the messages that keep blocks: neither is a
// class, and a pool of that name only finds a message without an assignment.
const keeper = "keeper="

// keepers are the subjects, by stream, of one message that no consumer takes in
// each queue that runs empty all the time. The file store removes a block with
// its last message and makes a new file for the next; at 200 jobs a second that
// was a fifth of the broker's CPU and up to a millisecond a job.
func keepers(s wire.Subjects) map[string]string {
	return map[string]string{wire.StreamJobs: s.Backlog(keeper, keeper, keeper), wire.StreamWork: s.Work(keeper)}
}

func keepBlock(ctx context.Context, js jetstream.JetStream, name, subject string) error {
	stream, err := js.Stream(ctx, name)
	if err == nil {
		err = ledger.Pin(ctx, js, stream, subject)
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	return nil
}

const (
	keepEvery = time.Second
	// keepBelow is how many messages a queue may hold and still run empty
	// within keepEvery.
	keepBelow = 10_000
)

// KeepBlocks has the keepers in the blocks that are written, which are filled by
// some thousand jobs, until ctx ends; then it returns nil. Every router's process
// may run it: one of them does the work. What fails is tried a second later:
// nothing but time depends on it.
func KeepBlocks(ctx context.Context, js jetstream.JetStream, s wire.Subjects) error {
	for ledger.Pause(ctx, keepEvery) == nil {
		for kind, subject := range keepers(s) {
			_ = renewKeeper(ctx, js, s.Stream(kind), subject)
		}
	}
	return nil
}

// renewKeeper puts the keeper behind what has come since it was put, if any.
func renewKeeper(ctx context.Context, js jetstream.JetStream, name, subject string) error {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return err
	}
	state := stream.CachedInfo().State
	if state.Msgs > keepBelow {
		return nil
	}
	old, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return ledger.Pin(ctx, js, stream, subject)
	}
	if err != nil {
		return err
	}
	if old.Sequence >= state.LastSeq || time.Since(old.Time) < keepEvery { // or another process has just done it
		return nil
	}
	// Of several processes one has the number right.
	ack, err := js.Publish(ctx, subject, nil, jetstream.WithExpectLastSequencePerSubject(old.Sequence))
	if err != nil {
		return err
	}
	for { // usually one, and those that were left by processes that died here
		m, err := stream.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(subject))
		if err != nil || m.Sequence >= ack.Sequence {
			return err
		}
		if err := stream.DeleteMsg(ctx, m.Sequence); err != nil {
			return err
		}
	}
}

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
	seen := map[string]uint64{}
	for ledger.Pause(ctx, keepEvery) == nil {
		for kind, subject := range keepers(s) {
			if last, err := renewKeeper(ctx, js, s.Stream(kind), subject, seen[kind]); err == nil {
				seen[kind] = last
			}
		}
	}
	return nil
}

// renewKeeper puts the keeper behind what has come since it was put, if any, and
// gives the last sequence that it knows of. seen is what it gave before.
func renewKeeper(ctx context.Context, js jetstream.JetStream, name, subject string, seen uint64) (uint64, error) {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return seen, err
	}
	state := stream.CachedInfo().State
	if state.LastSeq == seen || state.Msgs > keepBelow {
		return state.LastSeq, nil
	}
	old, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return seen, ledger.Pin(ctx, js, stream, subject)
	}
	if err != nil {
		return seen, err
	}
	if old.Sequence >= state.LastSeq {
		return state.LastSeq, nil
	}
	if time.Since(old.Time) < keepEvery {
		return seen, nil
	}
	// Of several processes one has the number right.
	ack, err := js.Publish(ctx, subject, nil, jetstream.WithExpectLastSequencePerSubject(old.Sequence))
	if err != nil {
		return seen, err
	}
	for { // usually one, and those that were left by processes that died here
		m, err := stream.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(subject))
		if err != nil || m.Sequence >= ack.Sequence {
			return ack.Sequence, err
		}
		if err := stream.DeleteMsg(ctx, m.Sequence); err != nil {
			return ack.Sequence, err
		}
	}
}

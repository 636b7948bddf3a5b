package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/wire"
)

// WorkConsumer is the durable name of a pool's queue.
func WorkConsumer(pool string) string { return "pool_" + wire.Token(pool) }

// WorkConsumerConfig is a pool's queue: MaxAckPending is its concurrency, exact over all
// worker processes and returned by the server when one dies.
func WorkConsumerConfig(s wire.Subjects, pool string, concurrency int, ackWait time.Duration) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: WorkConsumer(pool), FilterSubject: s.Work(pool), AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: ackWait, MaxAckPending: concurrency, MaxDeliver: -1, MaxWaiting: 512,
	}
}

// OpenQueue makes a durable queue of a stream, or finds it and sets it as cc
// says, and pins it if the stream has replicas, or PinsKey in its metadata. cc
// must have a filter.
//
// A pinned queue has a first message that is never acknowledged and comes again
// after each ack wait; it takes no slot, since MaxAckPending is one higher.
// While it is there, the queue's acknowledgement floor cannot move. That is for
// the sake of nats-server (2.15.2 and before), in a cluster: a server that
// comes back can have a higher floor than the queue's leader had when it wrote
// its last snapshot, since it takes messages that it finds removed for
// acknowledged. It then refuses the snapshot, and never learns of deliveries
// that only the snapshot had. Once such a server leads the stream, it removes
// those messages as acknowledged, though nobody was given them (chaos, seed 626).
// With floors that never differ no snapshot is refused.
//
// Where a queue had messages before it was pinned, one more than MaxAckPending
// is given out until those are done.
func OpenQueue(ctx context.Context, js jetstream.JetStream, s wire.Subjects, kind string, cc jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	stream, err := js.Stream(ctx, s.Stream(kind))
	if err != nil {
		return nil, err
	}
	have := &stream.CachedInfo().Config
	if (have.Replicas > 1 || have.Metadata[PinsKey] != "") && (kind != wire.StreamWork || slices.Contains(have.Subjects, s.Pins(kind)[0])) {
		subject, widened := "", ""
		if len(cc.FilterSubjects) > 0 {
			subject, _ = s.Pin(cc.FilterSubjects[0])
		} else {
			subject, widened = s.Pin(cc.FilterSubject)
		}
		if err := Pin(ctx, js, stream, subject); err != nil {
			return nil, err
		}
		cc.FilterSubject, cc.Metadata = widened, map[string]string{pinKey: subject}
		cc.MaxAckPending++
	}
	return stream.CreateOrUpdateConsumer(ctx, cc)
}

// PinsKey is the metadata of a stream without replicas whose queues are pinned
// all the same.
const PinsKey = "sluice-pins"

// pinKey is the metadata of a pinned queue: the subject of its pin.
const pinKey = "sluice-pin"

// Pin puts an empty message on a subject where there is none. A stream that is
// full refuses it; then it is no error, and to be tried again.
func Pin(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream, subject string) error {
	_, err := stream.GetLastMsgForSubject(ctx, subject)
	if !errors.Is(err, jetstream.ErrMsgNotFound) {
		return err
	}
	var refused *jetstream.APIError // of several processes that start at once, one does it
	if _, err = js.Publish(ctx, subject, nil, jetstream.WithExpectLastSequencePerSubject(0)); err != nil && !errors.As(err, &refused) {
		return fmt.Errorf("pin %s: %w", subject, err)
	}
	return nil
}

// PinOf is the subject of what pins a queue; empty: it is not pinned.
func PinOf(c *jetstream.ConsumerInfo) string { return c.Config.Metadata[pinKey] }

// Taken is how many messages of a queue somebody has and did not acknowledge,
// without the one that pins it.
func Taken(c *jetstream.ConsumerInfo) int {
	if n := c.NumAckPending; n > 0 && PinOf(c) != "" {
		return n - 1
	}
	return c.NumAckPending
}

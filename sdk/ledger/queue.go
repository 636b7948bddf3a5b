package ledger

import (
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

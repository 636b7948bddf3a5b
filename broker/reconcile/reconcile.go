package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Config says what a reconciler works with.
type Config struct {
	JS       jetstream.JetStream
	Subjects wire.Subjects
	Logger   *slog.Logger
	Every    time.Duration // between two looks; defaults to 1 min
}

// Reconciler looks after the queues. Make one with New, start it with Run.
type Reconciler struct {
	cfg   Config
	since map[string]time.Time // when a queue was first seen with forgotten messages
}

// New makes a Reconciler; it does no I/O.
func New(cfg Config) *Reconciler {
	if cfg.Every == 0 {
		cfg.Every = time.Minute
	}
	return &Reconciler{cfg: cfg, since: map[string]time.Time{}}
}

// Run looks at the queues at once and then again and again, until ctx ends.
func (r *Reconciler) Run(ctx context.Context) error {
	for {
		for _, kind := range []string{wire.StreamWork, wire.StreamJobs, wire.StreamSched} {
			if err := r.look(ctx, kind); err != nil && ctx.Err() == nil {
				r.cfg.Logger.Warn("queues not reconciled, trying again", "stream", r.cfg.Subjects.Stream(kind), "err", err)
			}
		}
		if ledger.Pause(ctx, r.cfg.Every) != nil {
			return nil
		}
	}
}

// look compares one stream with its consumers. The consumer is read before
// the stream, so a message that is published in between can make it look as
// if one were forgotten, but not again and again.
func (r *Reconciler) look(ctx context.Context, kind string) error {
	stream, err := r.cfg.JS.Stream(ctx, r.cfg.Subjects.Stream(kind))
	if err != nil {
		return err
	}
	list := stream.ListConsumers(ctx)
	var queues []*jetstream.ConsumerInfo
	for c := range list.Info() {
		if len(filters(c)) > 0 {
			queues = append(queues, c)
		}
	}
	if err := list.Err(); err != nil {
		return err
	}
	for _, q := range queues {
		q, held, err := r.measure(ctx, stream, q)
		if err != nil {
			return err
		}
		if err := r.judge(ctx, stream, q, held); err != nil {
			return err
		}
	}
	return nil
}

// measures is how often in a row a queue must seem to have forgotten messages.
// The two counts are not taken at the same moment: in a queue that messages go
// through all the time, each is a little above the other every second time.
const measures = 8

// measure counts what a queue's subjects hold, and reads the queue again while
// that is more than it knows of.
func (r *Reconciler) measure(ctx context.Context, stream jetstream.Stream, q *jetstream.ConsumerInfo) (*jetstream.ConsumerInfo, uint64, error) {
	for n := 1; ; n++ {
		var held uint64
		for _, filter := range filters(q) {
			info, err := stream.Info(ctx, jetstream.WithSubjectFilter(filter))
			if err != nil {
				return nil, 0, err
			}
			for _, n := range info.State.Subjects {
				held += n
			}
		}
		if held <= q.NumPending+uint64(q.NumAckPending) || n == measures {
			return q, held, nil
		}
		c, err := stream.Consumer(ctx, q.Name)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			return q, 0, nil
		}
		if err != nil {
			return nil, 0, err
		}
		q = c.CachedInfo()
	}
}

// filters are the subjects of a queue, which do not overlap.
func filters(c *jetstream.ConsumerInfo) []string {
	if c.Config.FilterSubject != "" {
		return []string{c.Config.FilterSubject}
	}
	return c.Config.FilterSubjects
}

// judge notes a queue with forgotten messages, and resets one that has had
// them for two ack waits.
func (r *Reconciler) judge(ctx context.Context, stream jetstream.Stream, q *jetstream.ConsumerInfo, held uint64) error {
	key := q.Stream + " " + q.Name
	known := q.NumPending + uint64(q.NumAckPending)
	if held <= known {
		delete(r.since, key)
		return nil
	}
	now := time.Now()
	first, seen := r.since[key]
	if !seen {
		r.since[key] = now
		return nil
	}
	if now.Sub(first) <= 2*q.Config.AckWait {
		return nil
	}
	delete(r.since, key)
	r.cfg.Logger.Warn("queue has forgotten messages: starting its delivery anew", "stream", q.Stream, "queue", q.Name, "held", held, "known", known)
	err := stream.DeleteConsumer(ctx, q.Name)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("reset queue %s: %w", q.Name, err)
	}
	return nil
}

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
	cfg  Config
	seen map[string]sight // by stream and queue: what seems to be forgotten there
}

// sight is the first message of a queue that is not above its floor.
type sight struct {
	seq   uint64
	since time.Time
}

// New makes a Reconciler; it does no I/O.
func New(cfg Config) *Reconciler {
	if cfg.Every == 0 {
		cfg.Every = time.Minute
	}
	return &Reconciler{cfg: cfg, seen: map[string]sight{}}
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

// look compares one stream with its consumers.
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
		if pin := ledger.PinOf(q); pin != "" {
			if err := ledger.Pin(ctx, r.cfg.JS, stream, pin); err != nil {
				return err
			}
		}
		seq, err := forgotten(ctx, stream, q.Name)
		if err != nil {
			return err
		}
		if err := r.judge(ctx, stream, q, seq); err != nil {
			return err
		}
	}
	return nil
}

// forgotten is the sequence of the first message of a queue's subjects, if it
// is not above the queue's floor, and else 0. What is at the floor or below is
// acknowledged, as far as the queue knows, and gone in a moment. Counts would
// say less: those of a queue that jobs come to and leave are never of one
// moment, and what the server says is pending may be off by some for minutes.
func forgotten(ctx context.Context, stream jetstream.Stream, queue string) (uint64, error) {
	c, err := stream.Consumer(ctx, queue)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	first, floor := uint64(0), c.CachedInfo().AckFloor.Stream
	for _, filter := range filters(c.CachedInfo()) {
		m, err := stream.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if m.Sequence <= floor && (first == 0 || m.Sequence < first) {
			first = m.Sequence
		}
	}
	return first, nil
}

// filters are the subjects of a queue, which do not overlap.
func filters(c *jetstream.ConsumerInfo) []string {
	if c.Config.FilterSubject != "" {
		return []string{c.Config.FilterSubject}
	}
	return c.Config.FilterSubjects
}

// judge notes a queue whose message seq seems to be forgotten (0: none is), and
// resets one of which that has been so for two ack waits.
func (r *Reconciler) judge(ctx context.Context, stream jetstream.Stream, q *jetstream.ConsumerInfo, seq uint64) error {
	key := q.Stream + " " + q.Name
	now, last := time.Now(), r.seen[key]
	if seq == 0 {
		delete(r.seen, key)
		return nil
	}
	if last.seq != seq {
		r.seen[key] = sight{seq, now}
		return nil
	}
	if now.Sub(last.since) <= 2*q.Config.AckWait {
		return nil
	}
	delete(r.seen, key)
	r.cfg.Logger.Warn("queue has forgotten messages: starting its delivery anew", "stream", q.Stream, "queue", q.Name, "first", seq)
	// Not removed and made anew: in a cluster a replica that was away in between
	// brings the old state into the new queue, and messages below the old floor
	// are then acknowledged that nobody has seen (chaos, seed 601).
	_, err := stream.ResetConsumerToSequence(ctx, q.Name, seq)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("reset queue %s: %w", q.Name, err)
	}
	return nil
}

package dispatch

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// How often queues that nobody serves are looked for, and after how long their
// jobs are taken back.
const (
	rescueEvery = 5 * time.Second
	rescueAfter = 10 * time.Second
	rescueBatch = 256
)

// rescue takes jobs back to the backlog that wait in the queue of a pool that
// no live worker serves: its workers are gone, or the pool was removed.
func (d *Dispatcher) rescue(ctx context.Context, work jetstream.Stream) {
	since := map[string]time.Time{}
	for d.cfg.Observer != nil && ledger.Pause(ctx, rescueEvery) == nil {
		info, err := work.Info(ctx, jetstream.WithSubjectFilter(d.cfg.Subjects.WorkAll()))
		if err != nil {
			continue
		}
		left := map[string]time.Time{}
		for subject := range info.State.Subjects {
			pool := subject[strings.LastIndexByte(subject, '.')+1:]
			if !wire.ValidName(pool) || d.cfg.Observer.Served(pool) {
				continue
			}
			left[pool] = since[pool]
			if left[pool].IsZero() {
				left[pool] = time.Now()
			}
			if time.Since(left[pool]) < rescueAfter {
				continue
			}
			if err := d.rescuePool(ctx, work, pool); err != nil && ctx.Err() == nil {
				d.cfg.Logger.Warn("jobs of a pool without workers stay in its queue for now", "pool", pool, "err", err)
			}
		}
		since = left
	}
}

// rescuePool takes back what is in a pool's queue.
func (d *Dispatcher) rescuePool(ctx context.Context, work jetstream.Stream, pool string) error {
	c, err := work.Consumer(ctx, ledger.WorkConsumer(pool))
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		c, err = ledger.OpenQueue(ctx, d.cfg.JS, d.cfg.Subjects, wire.StreamWork,
			ledger.WorkConsumerConfig(d.cfg.Subjects, pool, rescueBatch, 30*time.Second))
	}
	if err != nil {
		return err
	}
	pull := newPuller(d.cfg.JS.Conn(), d.cfg.Subjects, c)
	defer pull.close()
	for {
		moved := 0
		got, err := pull.fetch(ctx, rescueBatch, 500*time.Millisecond, func(m *delivery) {
			if d.takeBack(ctx, m) {
				moved++
			}
		})
		if moved > 0 {
			d.cfg.Logger.Info("jobs taken back from a pool that has no workers", "pool", pool, "jobs", moved)
		}
		if got == 0 || moved == 0 || err != nil {
			return err
		}
	}
}

// takeBack brings one job back to the backlog, unless its attempt has begun:
// then only a worker can end that, and it is left for one.
func (d *Dispatcher) takeBack(ctx context.Context, m *delivery) bool {
	md, err := m.Metadata()
	if err != nil {
		return false
	}
	asg, err := wire.DecodeAssignment(m.Headers())
	if err != nil || asg.Attempt == nil || !asg.Meta.Valid() {
		return false // the pool's worker says so, and drops it
	}
	ok, err := d.cfg.Ledger.TakeBack(ctx, &asg, md.Seq, m.Data())
	if err != nil || !ok {
		_ = m.NakWithDelay(30 * time.Second) // or it comes again after the ack wait
		return false
	}
	_ = m.Ack() // or it comes again, and its copy's claim is refused
	return true
}

package control

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/broker/peek"
	"github.com/sluicehq/sluice/sdk/wire"
)

// A queued job without a record can be found by its ID only by reading the
// queues. So that asking is cheap however often it is done, each message of a
// tenant is read once, while somebody asks: an index remembers where which ID
// stands, and the next question reads only what has come since.
const (
	indexIdle = time.Minute     // forgotten after so long without a question
	indexMost = 1 << 20         // IDs in an index, about 40 bytes each
	indexWait = 5 * time.Second // most that one question reads
)

var errSearching = errors.New("the tenant's queue is still being searched")

// indexes are those of the tenants that were asked for.
type indexes struct {
	conn     *nats.Conn
	subjects wire.Subjects
	most     int

	mu   sync.Mutex
	seed maphash.Seed
	of   map[string]*index
	read int // messages, for tests
}

// index is where a tenant's queued jobs stand. Who holds turn uses it.
type index struct {
	turn chan struct{}
	used time.Time
	next [3]uint64           // first sequence that was not read, by queue
	at   map[uint64]standsAt // by hash of the ID; the latest copy
}

type standsAt struct {
	queue uint8
	seq   uint64
}

func newIndexes(conn *nats.Conn, s wire.Subjects) *indexes {
	return &indexes{conn: conn, subjects: s, most: indexMost, seed: maphash.MakeSeed(), of: map[string]*index{}}
}

// queues are where a tenant's jobs wait; for each the stream and the subject.
func (x *indexes) queues(tenant string) [3][2]string {
	s := x.subjects
	return [3][2]string{
		{s.Stream(wire.StreamJobs), s.Jobs(tenant, "*")},
		{s.Stream(wire.StreamJobs), s.BacklogOf(tenant)},
		{s.Stream(wire.StreamSched), s.Requeue(tenant, "*")},
	}
}

// find looks for a queued job; nil: there is none. The error errSearching says
// that it is not known yet.
func (x *indexes) find(ctx context.Context, tenant, job string) (*wire.Meta, error) {
	i := x.index(tenant)
	ctx, cancel := context.WithTimeoutCause(ctx, indexWait, errSearching)
	defer cancel()
	select {
	case i.turn <- struct{}{}:
		defer func() { <-i.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if m, err := x.lookUp(ctx, i, tenant, job); m != nil || err != nil {
		return m, err
	}
	if err := x.extend(ctx, i, tenant); err != nil {
		return nil, err
	}
	return x.lookUp(ctx, i, tenant, job)
}

// index is a tenant's, and forgets those that nobody has asked for.
func (x *indexes) index(tenant string) *index {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	for t, i := range x.of {
		if now.Sub(i.used) > indexIdle && len(i.turn) == 0 {
			delete(x.of, t)
		}
	}
	i := x.of[tenant]
	if i == nil {
		i = &index{turn: make(chan struct{}, 1), at: map[uint64]standsAt{}}
		x.of[tenant] = i
	}
	i.used = now
	return i
}

func (x *indexes) lookUp(ctx context.Context, i *index, tenant, job string) (*wire.Meta, error) {
	key := maphash.String(x.seed, job)
	at, ok := i.at[key]
	if !ok {
		return nil, nil
	}
	m, ok, err := peek.At(ctx, x.conn, x.queues(tenant)[at.queue][0], at.seq)
	if err != nil {
		return nil, err
	}
	if ok {
		if meta := metaOf(x.subjects, m); meta != nil && meta.Tenant == tenant && meta.ID == job {
			return meta, nil
		}
	}
	delete(i.at, key) // taken since, or moved to where it is read next
	return nil, nil
}

// extend reads what has come since the last question. Where that takes too
// long, the next question goes on.
func (x *indexes) extend(ctx context.Context, i *index, tenant string) error {
	for q, where := range x.queues(tenant) {
		full := false
		w := peek.Walk{Conn: x.conn, Stream: where[0], Subject: where[1], From: i.next[q], Batch: scanBatch, Bytes: scanBytes}
		_, err := w.Run(ctx, func(m peek.Message) {
			if full = full || len(i.at) >= x.most; full {
				return
			}
			i.next[q] = m.Seq + 1
			x.count()
			if id := idOf(x.subjects, m); id != "" {
				i.at[maphash.String(x.seed, id)] = standsAt{uint8(q), m.Seq}
			}
		}, func() bool { return full })
		switch {
		case full: // of jobs that are gone, perhaps: from the start, at the next question
			i.at, i.next = map[uint64]standsAt{}, [3]uint64{}
			return errSearching
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		}
	}
	return nil
}

func (x *indexes) count() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.read++
}

package control

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/peek"
	"github.com/sluicehq/sluice/broker/topology"
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
	js       jetstream.JetStream
	conn     *nats.Conn
	subjects wire.Subjects
	most     int

	listing chan struct{}       // a token; who has it reads which payers' jobs wait
	listed  time.Time           // when that was begun last
	payers  map[string][]string // jobs subjects of tenants' named keys, by tenant

	mu   sync.Mutex
	seed maphash.Seed
	of   map[string]*index
	read int // messages, for tests
}

// index is where a tenant's queued jobs stand. Who holds turn uses it.
type index struct {
	turn chan struct{}
	used time.Time
	next map[string]uint64   // first sequence that was not read, by subject
	at   map[uint64]standsAt // by hash of the ID; the latest copy
}

type standsAt struct {
	sched bool // in the stream SCHED, else in JOBS
	seq   uint64
}

func newIndexes(js jetstream.JetStream, s wire.Subjects) *indexes {
	return &indexes{js: js, conn: js.Conn(), subjects: s, listing: make(chan struct{}, 1), most: indexMost, seed: maphash.MakeSeed(), of: map[string]*index{}}
}

// queues are the subjects on which a tenant's jobs wait, those that jobs leave
// for another before that one. Only the last is in the stream SCHED.
func (x *indexes) queues(ctx context.Context, tenant string) ([]string, error) {
	keyed, err := x.keyed(ctx, tenant)
	if err != nil {
		return nil, err
	}
	s := x.subjects
	return append(keyed, s.Jobs(tenant, "*"), s.BacklogOf(tenant), s.Requeue(tenant, "*")), nil
}

// keyed are the subjects of jobs that were submitted with a tenant's named keys:
// whichever those are, also such as are no longer configured. The stream is asked
// once for all who have come until then.
func (x *indexes) keyed(ctx context.Context, tenant string) ([]string, error) {
	came := time.Now()
	select {
	case x.listing <- struct{}{}:
		defer func() { <-x.listing }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if !x.listed.After(came) {
		began := time.Now()
		all, err := topology.Waiting(ctx, x.js, x.subjects.Stream(wire.StreamJobs), x.subjects.Jobs("*", "*"))
		if err != nil {
			return nil, err
		}
		x.listed, x.payers = began, map[string][]string{}
		for subject := range all {
			payer, _, _ := x.subjects.SplitJobs(subject)
			if tenant, key := wire.SplitPayer(payer); key != "" {
				x.payers[tenant] = append(x.payers[tenant], subject)
			}
		}
	}
	return slices.Clone(x.payers[tenant]), nil
}

func (x *indexes) stream(sched bool) string {
	if sched {
		return x.subjects.Stream(wire.StreamSched)
	}
	return x.subjects.Stream(wire.StreamJobs)
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
		i = &index{turn: make(chan struct{}, 1), next: map[string]uint64{}, at: map[uint64]standsAt{}}
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
	m, ok, err := peek.At(ctx, x.conn, x.stream(at.sched), at.seq)
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
	queues, err := x.queues(ctx, tenant)
	if err != nil {
		return err
	}
	for n, subject := range queues {
		full, sched := false, n == len(queues)-1
		w := peek.Walk{Conn: x.conn, Stream: x.stream(sched), Subject: subject, From: i.next[subject], Batch: scanBatch, Bytes: scanBytes}
		_, err := w.Run(ctx, func(m peek.Message) {
			if full = full || len(i.at) >= x.most; full {
				return
			}
			i.next[subject] = m.Seq + 1
			x.count()
			if id := idOf(x.subjects, m); id != "" {
				i.at[maphash.String(x.seed, id)] = standsAt{sched, m.Seq}
			}
		}, func() bool { return full })
		switch {
		case full: // of jobs that are gone, perhaps: from the start, at the next question
			i.at, i.next = map[uint64]standsAt{}, map[string]uint64{}
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

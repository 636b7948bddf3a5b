package dispatch

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// depths is one look at the work stream: messages per pool subject (queued
// and running), as of sequence last.
type depths struct {
	bySubject map[string]uint64
	last      uint64
	at        time.Time
}

// watchDepths looks at the work stream each time it is asked to.
func (d *Dispatcher) watchDepths(ctx context.Context, work jetstream.Stream) {
	for {
		select {
		case <-d.wake:
		case <-ctx.Done():
			return
		}
		at := time.Now()
		info, err := work.Info(ctx, jetstream.WithSubjectFilter(d.cfg.Subjects.WorkAll()))
		if err != nil {
			if ctx.Err() == nil {
				d.cfg.Logger.Warn("cannot read queue depths, using the last ones", "err", err)
			}
			continue
		}
		if d.cfg.Observer != nil {
			d.cfg.Observer.CatchUp(ctx)
		}
		select {
		case d.depths <- depths{bySubject: info.State.Subjects, last: info.State.LastSeq, at: at}:
		case <-ctx.Done():
			return
		}
	}
}

// tally is what the loop knows of the pools' queues: the server's
// count plus our own publishes that it could not have counted yet.
type tally struct {
	table    *router.Table
	subjects []string          // by pool index
	load     []router.Load     // by pool index: what Decide sees
	own      []ownPublish      // acknowledged, sequence above the last look
	unacked  []int32           // by pool index: published, not acknowledged
	facts    *observe.Snapshot // what load was filled from beside the depths, nil: nothing is known
	seen     time.Time         // of the last look
	came     time.Time         // when it was there
	last     uint64            // the work stream's last sequence then
	turn     int64             // when the clock alone changes what load says, 0: never
	asked    time.Time         // when the look under way was asked for, zero: none
	changed  []int32           // pools whose load is other than when the last decision was noted
	differs  []bool            // by pool index: it is in changed
}

// differ notes that a pool's load is not what it was.
func (t *tally) differ(pool int) {
	if !t.differs[pool] {
		t.differs[pool] = true
		t.changed = append(t.changed, int32(pool))
	}
}

// noted forgets what differed.
func (t *tally) noted() {
	for _, i := range t.changed {
		t.differs[i] = false
	}
	t.changed = t.changed[:0]
}

// ownPublish is a work message of ours.
type ownPublish struct {
	pool int
	seq  uint64
}

// reset fits the tally to a new table. The depth of a pool that stays is kept,
// others start at zero, and the next look corrects both.
func (t *tally) reset(table *router.Table, s wire.Subjects) {
	pools := table.Pools()
	was := *t
	*t = tally{table: table, load: make([]router.Load, len(pools)), unacked: make([]int32, len(pools)), asked: t.asked, differs: make([]bool, len(pools))}
	for i, p := range pools {
		t.subjects = append(t.subjects, s.Work(p.Name))
		if was.table == nil {
			continue
		}
		if old := was.table.PoolIndex(p.Name); old >= 0 {
			t.load[i].Depth = was.load[old].Depth
		}
	}
}

// fill writes what is known beside the depths. A snapshot of another table
// says nothing: the one of this table is on its way.
func (t *tally) fill(s *observe.Snapshot, now time.Time) {
	if s == nil || s.Table != t.table {
		t.facts = nil
		return
	}
	t.facts, t.turn = s, 0
	at := now.UnixNano()
	for i := range t.load {
		l := &t.load[i]
		s.Fill(i, at, t.last, l)
		t.differ(i)
		for _, until := range [...]int64{l.OpenUntil, l.LimitedUntil} {
			if until > at && (t.turn == 0 || until < t.turn) {
				t.turn = until
			}
		}
	}
}

// look takes in the server's counts. Publishes of ours up to its sequence are
// in them; later ones are added.
func (t *tally) look(d depths) {
	for i := range t.load {
		t.differ(i)
		t.load[i].Depth = int32(d.bySubject[t.subjects[i]]) + t.unacked[i]
	}
	kept := t.own[:0]
	for _, o := range t.own {
		if o.seq > d.last {
			t.load[o.pool].Depth++
			kept = append(kept, o)
		}
	}
	t.own, t.seen, t.last, t.asked = kept, d.at, d.last, time.Time{}
}

// sent counts a publish of ours before its acknowledgement.
func (t *tally) sent(pool int) {
	t.unacked[pool]++
	t.differ(pool)
	l := &t.load[pool]
	l.Depth++
	l.Probes = max(l.Probes-1, 0)
	if l.Requests.Limit > 0 {
		l.Requests.Used++
	}
	if l.Tokens.Limit > 0 {
		l.Tokens.Used += max(t.facts.Pools[pool].Each, 1)
	}
}

// settled takes the outcome of a publish of ours.
func (t *tally) settled(o outcome) {
	if o.table != t.table || o.pool == parked {
		return // the tally was reset since, or does not know it
	}
	t.unacked[o.pool]--
	if o.err != nil {
		t.differ(o.pool)
		t.load[o.pool].Depth--
		return
	}
	t.own = append(t.own, ownPublish{pool: o.pool, seq: o.seq})
}

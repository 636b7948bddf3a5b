package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// scoresMost is how many reports go into one insert.
const scoresMost = 1000

// scores carries what was reported of answers into the table scores, until ctx
// or held ends. Its position is the table's, as with the ledger; a report that
// comes twice, after a crash, changes nothing.
func (in *Ingester) scores(ctx, held context.Context) {
	in.carry(ctx, held, "reported quality is not written yet, and tried again", in.follow)
}

// carry runs session again and again, until ctx or held ends; it resets the
// pause between two once it gets on.
func (in *Ingester) carry(ctx, held context.Context, waits string, session func(ctx, held context.Context, retry *backoff) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(held, cancel)()
	retry := backoff{max: in.cfg.RetryMax}
	for ctx.Err() == nil {
		err := session(ctx, held, &retry)
		if ctx.Err() != nil {
			return
		}
		if now := time.Now(); retry.next == retry.max && now.Sub(retry.reported) >= remindInterval {
			retry.reported = now
			in.log.Warn(waits, "error", err)
		}
		retry.pause(ctx)
	}
}

// follow inserts reports as they come; it returns why it cannot go on.
func (in *Ingester) follow(ctx, held context.Context, retry *backoff) error {
	position, err := in.cfg.Store.MaxSeq(ctx, store.Scores)
	if err != nil {
		return err
	}
	kv, err := in.cfg.JS.KeyValue(ctx, in.cfg.Subjects.Stream(wire.BucketQuality))
	if err != nil {
		return err
	}
	w, err := kv.Watch(ctx, ledger.ScoreKeys, jetstream.IgnoreDeletes(), jetstream.ResumeFromRevision(position+1))
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }() // its consumer goes by itself
	for {
		rows, err := in.collect(ctx, w.Updates())
		if len(rows) > 0 {
			if err := in.insertScores(held, rows); err != nil {
				return err
			}
			retry.reset()
		}
		if err != nil {
			return err
		}
	}
}

var errWatchEnded = errors.New("the watch of reported quality ended")

// collect waits for a report, and a little longer for others.
func (in *Ingester) collect(ctx context.Context, updates <-chan jetstream.KeyValueEntry) (rows []store.Score, err error) {
	var late <-chan time.Time
	for len(rows) < scoresMost {
		select {
		case e, ok := <-updates:
			if !ok {
				return rows, errWatchEnded
			}
			if row, ok := scoreOf(e); ok {
				if rows = append(rows, row); late == nil {
					late = time.After(in.cfg.FlushInterval)
				}
			}
		case <-late:
			return rows, nil
		case <-ctx.Done():
			return rows, ctx.Err()
		}
	}
	return rows, nil
}

// scoreOf reads an entry; false: it is none, or of a version that kept only
// that there was one.
func scoreOf(e jetstream.KeyValueEntry) (store.Score, bool) {
	if e == nil || len(e.Value()) == 0 {
		return store.Score{}, false
	}
	var s ledger.Score
	tenant, job, ok := ledger.ParseScoreKey(e.Key())
	if !ok || json.Unmarshal(e.Value(), &s) != nil || !(s.Score >= 0 && s.Score <= 1) {
		return store.Score{}, false
	}
	return store.Score{Seq: e.Revision(), TS: e.Created(), Tenant: tenant, Job: job, Quality: s.Score}, true
}

func (in *Ingester) insertScores(ctx context.Context, rows []store.Score) error {
	ctx, cancel := context.WithTimeout(ctx, in.cfg.InsertTimeout)
	defer cancel()
	return in.cfg.Store.InsertScores(ctx, rows)
}

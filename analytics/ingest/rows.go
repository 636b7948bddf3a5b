package ingest

import (
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// decode makes the rows of one record.
func decode(m *ledger.Seen) (a *store.Attempt, j *store.Job, err error) {
	rec, err := m.Record()
	if err != nil {
		return nil, nil, err
	}
	if rec.EndsAttempt() {
		a = &store.Attempt{Seq: m.Seq, TS: m.At, Job: &rec.Entry.Meta, Attempt: rec.Entry.Attempt}
	}
	if rec.Status.Terminal() && rec.Entry.Meta.Shadow == "" {
		j = jobRow(m, rec)
	}
	return a, j, nil
}

// rowless says of a record that it makes no row, without decoding it: it is
// neither the end of an attempt nor terminal, but a claim or a wait.
func rowless(m *ledger.Seen) bool {
	status := wire.Status(first(m.Header, wire.HeaderStatus))
	return (status == wire.Running || status == wire.Waiting) && len(m.Header[wire.HeaderInputTokens]) == 0
}

func jobRow(m *ledger.Seen, rec *wire.Record) *store.Job {
	e := &rec.Entry
	j := &store.Job{Seq: m.Seq, FinishedAt: m.At, Job: &e.Meta, Status: rec.Status, ErrorCode: e.Error,
		Attempts: e.Progress.Attempts, Wait: m.At.Sub(time.Unix(0, e.Meta.SubmittedAt))}
	if !e.Progress.Unknown {
		j.Cost = &e.Progress.Spent
	}
	if rec.EndsAttempt() {
		j.Wait -= time.Duration(e.Attempt.LatencyMS) * time.Millisecond
		if j.ErrorCode == "" && rec.Status != wire.Succeeded {
			j.ErrorCode = e.Attempt.ErrorCode
		}
	}
	j.Wait = max(j.Wait, 0)
	return j
}

func first(h map[string][]string, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

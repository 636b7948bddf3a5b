package ingest

import (
	"fmt"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/wire"
)

// decode makes the rows of one record. A record that is neither the end of an
// attempt nor terminal (a claim, a wait) makes none and is not decoded.
func decode(m *message) (a *store.Attempt, j *store.Job, err error) {
	status := wire.Status(first(m.header, wire.HeaderStatus))
	if !status.Terminal() && len(m.header[wire.HeaderInputTokens]) == 0 {
		if status != wire.Running && status != wire.Waiting {
			return nil, nil, fmt.Errorf("record with unknown status %.20q", string(status))
		}
		return nil, nil, nil
	}
	rec, err := wire.DecodeRecord(m.header, nil)
	if err != nil {
		return nil, nil, err
	}
	if rec.EndsAttempt() {
		a = &store.Attempt{Seq: m.seq, TS: m.at, Job: &rec.Entry.Meta, Attempt: rec.Entry.Attempt}
	}
	if rec.Status.Terminal() {
		j = jobRow(m, &rec)
	}
	return a, j, nil
}

func jobRow(m *message, rec *wire.Record) *store.Job {
	e := &rec.Entry
	j := &store.Job{Seq: m.seq, FinishedAt: m.at, Job: &e.Meta, Status: rec.Status, ErrorCode: e.Error,
		Attempts: e.Progress.Attempts, Wait: m.at.Sub(time.Unix(0, e.Meta.SubmittedAt))}
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

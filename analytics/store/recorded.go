package store

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// RecordedJob is a finished job with all its attempts, as the tables have it.
type RecordedJob struct {
	SubmittedAt, FinishedAt                        time.Time
	Tenant, ID, Class, Route, Status, Error, Batch string
	Labels                                         map[string]string
	// What it asked for; zero where it did not say, and in rows of before these
	// were kept.
	BodyBytes, MaxTokens uint32
	Region               string
	Needs                uint16
	Attempts             []RecordedAttempt // in order
}

// RecordedAttempt is an attempt of a RecordedJob.
type RecordedAttempt struct {
	EndedAt                              time.Time
	N                                    uint16
	Endpoint, Pool, Model, Status, Error string
	HTTP                                 uint16
	Usage                                wire.Usage
	Cost                                 *wire.NanoUSD // nil: not known
	QueueMS, TTFTMS, LatencyMS           uint32
	// Depth is how many jobs the decision saw at the pool, and Crowded says
	// that it found a candidate full.
	Depth   uint32
	Crowded bool
}

// Recorded reads the jobs that were submitted from since on and finished before
// until, in the order of their submission, with their attempts; shadows are
// left out. The zero time leaves a side open. Of more than limit jobs it gives
// the latest, and more says so. It holds all of them in memory, about a
// kilobyte each.
func (s *Store) Recorded(ctx context.Context, since, until time.Time, limit int) (list []RecordedJob, more bool, err error) {
	bounds := func(column string, q segment) string { return join(append([]string{"1"}, q.conds(column)...)) }
	// ClickHouse 26.5 mistakes the type of a plain column that it sorts by.
	err = s.eachSQL(ctx, "recorded jobs", "SELECT submitted_at, finished_at, tenant, job_id, class, route, status, error_code, batch_id, labels, body_bytes, max_tokens, user_region, needs FROM jobs WHERE "+
		bounds("finished_at", segment{from: since, to: until})+" AND "+bounds("submitted_at", segment{from: since})+
		" ORDER BY submitted_at + toIntervalSecond(0) DESC, seq DESC LIMIT "+strconv.Itoa(limit+1), func(scan func(...any) error) error {
		var j RecordedJob
		err := scan(&j.SubmittedAt, &j.FinishedAt, &j.Tenant, &j.ID, &j.Class, &j.Route, &j.Status, &j.Error, &j.Batch, &j.Labels, &j.BodyBytes, &j.MaxTokens, &j.Region, &j.Needs)
		list = append(list, j)
		return err
	})
	if err != nil || len(list) == 0 {
		return nil, false, err
	}
	if more = len(list) > limit; more {
		list = list[:limit]
	}
	slices.Reverse(list)
	return list, more, s.addAttempts(ctx, list, until)
}

// addAttempts adds their attempts to jobs that are in order.
func (s *Store) addAttempts(ctx context.Context, list []RecordedJob, until time.Time) error {
	type key struct{ tenant, id string }
	jobs := make(map[key][]*RecordedJob, len(list)) // an ID may be used again after its retention
	for i := range list {
		k := key{list[i].Tenant, list[i].ID}
		jobs[k] = append(jobs[k], &list[i])
	}
	span := segment{from: list[0].SubmittedAt, to: until}
	err := s.eachSQL(ctx, "recorded attempts", `SELECT tenant, job_id, ts, attempt, endpoint, pool, model, status, error_code, http_status,
		input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_nano_usd, queue_ms, ttft_ms, latency_ms,
		`+"`candidates.depth`[indexOf(arrayZip(`candidates.pool`, `candidates.model`), (pool, model))], has(`candidates.excluded`, 'full')"+`
		FROM attempts WHERE `+join(append([]string{"shadow = ''"}, span.conds("ts")...))+` ORDER BY seq`, func(scan func(...any) error) error {
		var k key
		var a RecordedAttempt
		var in, read, write, out, reasoning uint64
		var cost *int64
		var crowded uint8
		if err := scan(&k.tenant, &k.id, &a.EndedAt, &a.N, &a.Endpoint, &a.Pool, &a.Model, &a.Status, &a.Error, &a.HTTP,
			&in, &read, &write, &out, &reasoning, &cost, &a.QueueMS, &a.TTFTMS, &a.LatencyMS, &a.Depth, &crowded); err != nil {
			return err
		}
		a.Usage = wire.Usage{Input: int64(in), CacheRead: int64(read), CacheWrite: int64(write), Output: int64(out), Reasoning: int64(reasoning)}
		a.Cost, a.Crowded = (*wire.NanoUSD)(cost), crowded != 0
		for _, j := range jobs[k] {
			if !a.EndedAt.Before(j.SubmittedAt) && !a.EndedAt.After(j.FinishedAt) {
				j.Attempts = append(j.Attempts, a)
				break
			}
		}
		return nil
	})
	return err
}

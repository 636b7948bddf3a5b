package store

import (
	"context"
	"fmt"
	"time"
)

// Scores is the table of what is said of jobs' answers. Anybody may insert;
// its position is that of the reports to the broker.
const Scores Table = "scores"

// Score is a row of scores: what was reported to the broker of an answer.
type Score struct {
	Seq         uint64 // its place among the reports
	TS          time.Time
	Tenant, Job string
	Quality     float64 // 0 (useless) to 1 (best)
}

var scoreColumns = []column[Score]{
	{"seq", "UInt64", all(func(r *Score) uint64 { return r.Seq })},
	{"ts", typeTime, all(func(r *Score) time.Time { return r.TS })},
	{"tenant", typeWord, all(func(r *Score) string { return r.Tenant })},
	{"job_id", "String", all(func(r *Score) string { return r.Job })},
	{"quality", "Float64", all(func(r *Score) float64 { return r.Quality })},
	{"source", typeWord, all(func(*Score) string { return "report" })},
}

// InsertScores adds reports, in the order of their seq. One that is there
// already changes nothing that is read from the table.
func (s *Store) InsertScores(ctx context.Context, rows []Score) error {
	if len(rows) == 0 {
		return nil
	}
	return s.wrap("insert into "+string(Scores), send(ctx, s, Scores, scoreColumns, rows, token(rows[0].Seq, 0)))
}

// Score stores what somebody says of a job's answer, from 0 (useless) to 1
// (best). The latest word on a job counts.
func (s *Store) Score(ctx context.Context, tenant, job string, quality float64, source string) error {
	if !(quality >= 0 && quality <= 1) {
		return fmt.Errorf("a score must be from 0 (useless) to 1 (best), not %g", quality)
	}
	sql := fmt.Sprintf("INSERT INTO scores (tenant, job_id, quality, source) SELECT %s, %s, %g, %s", quote(tenant), quote(job), quality, quote(source))
	return s.wrap("score", s.conn.Exec(ctx, sql))
}

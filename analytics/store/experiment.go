package store

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/sluicehq/sluice/analytics/stats"
)

// VariantRow is what a variant of an experiment, or of a rollout, has shown.
// Its unit is the finished job: the cost of all its attempts, and what became
// of it. A job that began in one variant and went on in another counts for the
// first. Cancelled jobs are left out.
type VariantRow struct {
	Variant   string
	Jobs      uint64
	Succeeded uint64
	Attempts  uint64
	Unknown   uint64        // jobs whose cost is not known: not in Cost
	Cost      stats.Moments // nano-dollars a job
	// Total is from submission to the end, Latency the provider's time for the
	// last attempt, TTFT its time to the first token; of jobs that succeeded, in
	// milliseconds.
	Total, Latency, TTFT stats.Moments
	Quality              stats.Moments // of the jobs that have a score
	TotalP50, TotalP95   float64
}

// Experiment sums up the jobs of an experiment that finished since (included)
// and until (excluded), by variant in the order of their names. The zero time
// leaves a side open.
func (s *Store) Experiment(ctx context.Context, name string, since, until time.Time) ([]VariantRow, error) {
	bounds := ""
	if !since.IsZero() {
		bounds += " AND finished_at >= " + moment(since)
	}
	if !until.IsZero() {
		bounds += " AND finished_at < " + moment(until)
	}
	rows, err := s.conn.Query(ctx, experimentSQL(name, bounds))
	if err != nil {
		return nil, s.wrap("experiment", err)
	}
	defer rows.Close()
	var list []VariantRow
	for rows.Next() {
		var r VariantRow
		var known, ok, ttft, scored uint64
		dest := []any{&r.Variant, &r.Jobs, &r.Succeeded, &r.Attempts, &known, &ttft, &scored}
		moments := []*stats.Moments{&r.Cost, &r.Total, &r.Latency, &r.TTFT, &r.Quality}
		for _, m := range moments {
			dest = append(dest, &m.Mean, &m.Variance)
		}
		if err := rows.Scan(append(dest, &r.TotalP50, &r.TotalP95)...); err != nil {
			return nil, s.wrap("experiment", err)
		}
		ok, r.Unknown = r.Succeeded, r.Jobs-known
		for i, n := range []uint64{known, ok, ok, ttft, scored} {
			m := moments[i]
			if m.N = float64(n); n < 2 || math.IsNaN(m.Variance) {
				m.Variance = 0
			}
			if n == 0 {
				m.Mean = 0
			}
		}
		for _, q := range []*float64{&r.TotalP50, &r.TotalP95} {
			if math.IsNaN(*q) {
				*q = 0
			}
		}
		list = append(list, r)
	}
	return list, s.wrap("experiment", rows.Err())
}

// experimentSQL sums attempts up to jobs first. A job's rows in both tables
// share tenant, ID and the ledger sequence of its end.
func experimentSQL(name, bounds string) string {
	const jobs = `SELECT tenant, job_id, seq, status, total_ms, attempts FROM jobs WHERE status != 'cancelled'`
	attempts := `SELECT tenant, job_id, argMin(variant, attempt) AS variant, argMax(latency_ms, attempt) AS latency, argMax(ttft_ms, attempt) AS ttft,
		if(countIf(cost_nano_usd IS NULL) = 0, toFloat64(sum(cost_nano_usd)), NULL) AS cost
		FROM attempts WHERE experiment = ` + quote(name) + ` GROUP BY tenant, job_id`
	const scores = `SELECT tenant, job_id, toNullable(argMax(quality, ts)) AS score FROM scores GROUP BY tenant, job_id`
	moments := ""
	for _, m := range []struct{ value, where string }{
		{"assumeNotNull(cost)", "cost IS NOT NULL"}, {"toFloat64(total_ms)", "status = 'succeeded'"},
		{"toFloat64(latency)", "status = 'succeeded'"}, {"toFloat64(ttft)", "status = 'succeeded' AND ttft > 0"}, {"assumeNotNull(score)", "score IS NOT NULL"},
	} {
		moments += fmt.Sprintf(", avgIf(%s, %s), varSampIf(%s, %s)", m.value, m.where, m.value, m.where)
	}
	return `SELECT toString(variant), count(), countIf(status = 'succeeded'), toUInt64(sum(attempts)), count(cost), countIf(status = 'succeeded' AND ttft > 0), count(score)` + moments + `,
		toFloat64(quantileTDigestIf(0.5)(total_ms, status = 'succeeded')), toFloat64(quantileTDigestIf(0.95)(total_ms, status = 'succeeded'))
		FROM (` + attempts + `) AS a INNER JOIN (` + jobs + bounds + `) AS j ON a.tenant = j.tenant AND a.job_id = j.job_id
		LEFT JOIN (` + scores + `) AS q ON a.tenant = q.tenant AND a.job_id = q.job_id
		GROUP BY variant ORDER BY variant`
}

package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Decided is an attempt with the decision that led to it.
type Decided struct {
	At         time.Time // of the attempt's end
	Tenant, ID string
	Attempt    int
	Status     string
	ErrorCode  string
	LatencyMS  int64
	Cost       *wire.NanoUSD // nil: not known
	Decision   wire.Decision // without Left, Next and Seen, which no table has
}

// Decisions lists the attempts that ended last within the window, the newest
// first; Limit defaults to 100. By and Rows are not used.
//
// The hours that can hold them are found in a projection, and only their rows
// are read.
func (s *Store) Decisions(ctx context.Context, q CostQuery) ([]Decided, error) {
	sql, err := q.decisionsSQL()
	if err != nil {
		return nil, err
	}
	var list []Decided
	err = s.eachSQL(ctx, "decisions", sql, func(scan func(...any) error) error {
		var x Decided
		d := &x.Decision
		var n, fallback uint16
		var latency uint32
		var cost *int64
		var weights, depths []uint32
		var pools, models, excluded []string
		var scores []float64
		err := scan(&x.At, &x.Tenant, &x.ID, &n, &x.Status, &x.ErrorCode, &latency, &cost, &d.Route, &d.Strategy, &d.Pool, &d.Model, &d.Sequence,
			&d.Rules, &d.Failed, &d.Experiment, &d.Variant, &fallback, &pools, &models, &weights, &depths, &scores, &excluded)
		if err != nil {
			return err
		}
		if cost != nil {
			known := wire.NanoUSD(*cost)
			x.Cost = &known
		}
		x.Attempt, x.LatencyMS, d.Fallback, d.Candidates = int(n), int64(latency), int(fallback), make([]wire.Candidate, len(pools))
		for i := range pools {
			d.Candidates[i] = wire.Candidate{Pool: pools[i], Model: models[i], Weight: int(weights[i]), Depth: int(depths[i]), Score: scores[i], Excluded: excluded[i]}
		}
		list = append(list, x)
		return nil
	})
	return list, err
}

func (q *CostQuery) decisionsSQL() (string, error) {
	limit := q.Limit
	if limit <= 0 {
		limit = 100
	}
	d := dimensionOf("ts", slices.Concat(attemptSums, attemptRows))
	conds := []string{"1"}
	for _, name := range sortedKeys(q.Where) {
		expr, err := d(name, &segment{})
		if err != nil {
			return "", err
		}
		conds = append(conds, equals(name, expr, q.Where[name]))
	}
	// An hour at the window's end may hold rows behind it: it says nothing of
	// how many there are before.
	wide, rows, whole := segment{unit: time.Hour}, segment{from: q.Since, to: q.Until}, "1"
	if !q.Since.IsZero() {
		wide.from = q.Since.Truncate(time.Hour)
	}
	if !q.Until.IsZero() {
		wide.to = q.Until.Truncate(time.Hour).Add(time.Hour)
		whole = "u < " + moment(q.Until.Truncate(time.Hour))
	}
	return fmt.Sprintf("WITH hours AS (SELECT toStartOfHour(ts) AS u, count() AS n FROM attempts WHERE %[1]s GROUP BY u),\n"+
		"	first AS (SELECT min(u) FROM (SELECT u, sum(if(%[2]s, n, 0)) OVER (ORDER BY u DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS newer FROM hours) WHERE newer < %[3]d)\n"+
		"SELECT ts, tenant, job_id, attempt, status, error_code, latency_ms, cost_nano_usd, decision_route, strategy, pool, model, decision_sequence,\n"+
		"	rules, rules_failed, experiment, variant, fallback,\n"+
		"	`candidates.pool`, `candidates.model`, `candidates.weight`, `candidates.depth`, `candidates.score`, `candidates.excluded`\n"+
		"FROM attempts WHERE %[4]s AND toStartOfHour(ts) >= (SELECT * FROM first) ORDER BY seq + 0 DESC LIMIT %[3]d", // of a plain column ClickHouse 26.5 mistakes the type
		join(append(slices.Clone(conds), wide.conds("ts")...)), whole, limit, join(append(slices.Clone(conds), rows.conds("ts")...))), nil
}

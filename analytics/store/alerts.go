package store

import (
	"context"
	"fmt"
	"time"
)

// Slice is a stretch of time of one series: how many attempts or jobs ended in
// it, and one figure of theirs.
type Slice struct {
	Keys  []string // pool and model of attempts, route of jobs
	N     uint64
	Value float64
}

// LatencySlices cuts a window from its beginning on into stretches of a width,
// and gives the latency below which a share of the successful attempts of each
// pool and model stayed, in milliseconds to 1 %, oldest first.
func (s *Store) LatencySlices(ctx context.Context, since, until time.Time, width time.Duration, share float64) ([]Slice, error) {
	return s.slices(ctx, "latencies", 2, fmt.Sprintf(`SELECT pool, model, count(), toFloat64(quantileDD(0.01, %g)(latency_ms)), %s AS slice FROM attempts
		WHERE %s AND status = 'succeeded' AND latency_ms > 0 GROUP BY pool, model, slice ORDER BY slice, pool, model`,
		share, sliceOf("ts", since, width), between("ts", since, until)))
}

// CostSlices does the same for the mean cost of a route's jobs, in dollars; jobs
// without a known cost are left out.
func (s *Store) CostSlices(ctx context.Context, since, until time.Time, width time.Duration) ([]Slice, error) {
	return s.slices(ctx, "costs of jobs", 1, fmt.Sprintf(`SELECT route, count(), sum(cost_nano_usd) / count() / 1e9, %s AS slice FROM jobs
		WHERE %s AND cost_nano_usd IS NOT NULL AND route != '' GROUP BY route, slice ORDER BY slice, route`,
		sliceOf("finished_at", since, width), between("finished_at", since, until)))
}

func sliceOf(ts string, since time.Time, width time.Duration) string {
	return fmt.Sprintf("intDiv(toUnixTimestamp64Micro(%s) - %d, %d)", ts, since.UnixMicro(), max(width.Microseconds(), 1))
}

func between(ts string, since, until time.Time) string {
	return ts + " >= " + moment(since) + " AND " + ts + " < " + moment(until)
}

func (s *Store) slices(ctx context.Context, step string, keys int, sql string) ([]Slice, error) {
	var list []Slice
	err := s.eachSQL(ctx, step, sql, func(scan func(...any) error) error {
		x := Slice{Keys: make([]string, keys)}
		var value *float64
		var slice int64
		err := scan(append(pointers(x.Keys), &x.N, &value, &slice)...)
		if value != nil {
			x.Value = *value
			list = append(list, x)
		}
		return err
	})
	return list, err
}

// Turn is what a candidate of a route got, beside what it should have got.
type Turn struct {
	Route, Pool, Model string
	Got                uint64
	// Expected is the sum, over all the decisions, of the candidate's part of the
	// weights of those that could be chosen just then.
	Expected float64
}

// Turns counts the turns of candidates in routes whose strategy is one of some,
// by the weights of each decision itself: neither a changed weight nor a pool
// that was out for a while disturbs it.
func (s *Store) Turns(ctx context.Context, since, until time.Time, strategies []string) ([]Turn, error) {
	names := "''"
	for _, n := range strategies {
		names += ", " + quote(n)
	}
	var list []Turn
	err := s.eachSQL(ctx, "turns", fmt.Sprintf(`SELECT r, p, m, countIf(p = pool AND m = model) AS got, toFloat64(sum(w / total)) AS expected FROM
	(
		SELECT if(decision_route = '', route, decision_route) AS r, pool, model, p, m, w, total FROM
		(
			SELECT route, decision_route, pool, model, `+"`candidates.pool` AS ps, `candidates.model` AS ms,"+`
				arrayMap((w, x) -> if(x = '', w, 0), `+"`candidates.weight`, `candidates.excluded`"+`) AS ws, arraySum(ws) AS total
			FROM attempts WHERE %s AND strategy IN (%s) AND status != 'shadow'
		)
		ARRAY JOIN ps AS p, ms AS m, ws AS w
		WHERE total > 0
	)
	GROUP BY r, p, m ORDER BY r, p, m`, between("ts", since, until), names), func(scan func(...any) error) error {
		var x Turn
		if err := scan(&x.Route, &x.Pool, &x.Model, &x.Got, &x.Expected); err != nil {
			return err
		}
		list = append(list, x)
		return nil
	})
	return list, err
}

package store

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// CostQuery asks what attempts cost.
type CostQuery struct {
	// By lists the dimensions to group by, see [Dimensions]. Empty: one row
	// for everything.
	By []string
	// Since (included) and Until (excluded) bound the ledger's timestamp, to
	// the microsecond. The zero time leaves that side open.
	Since, Until time.Time
	// Where keeps attempts whose dimension has this value.
	Where map[string]string
	// Rows reads every row of the window instead of projections: for distinct
	// jobs, and for percentiles by any dimension. That takes time in
	// proportion to their number. Dimensions that no projection has are read
	// from rows anyway.
	Rows bool
	// Limit is the most rows to return, the dearest first. Defaults to 1,000.
	Limit int
}

// Quantiles of a time in milliseconds, to 1 %; all 0 when nothing has the
// figure, or when it needs [CostQuery.Rows].
type Quantiles struct{ P50, P90, P95, P99 float64 }

// CostRow is one group of attempts.
type CostRow struct {
	Keys     []string     // values of CostQuery.By
	Spend    wire.NanoUSD // sum of the known costs
	Attempts uint64
	Unknown  uint64 // attempts whose cost is not known: not in Spend
	// Succeeded, Failed (neither succeeded nor cancelled nor a shadow's success)
	// and the rest make up Attempts. Wasted is what all but the succeeded cost.
	Succeeded, Failed uint64
	Wasted            wire.NanoUSD
	Jobs              uint64 // distinct jobs; 0 unless read from rows
	Usage             wire.Usage
	Latency, TTFT     Quantiles
}

// ErrorShare is the share of failed attempts, from 0 to 1.
func (r *CostRow) ErrorShare() float64 { return ratio(r.Failed, r.Attempts) }

// CacheShare is the share of the tokens in that a provider's cache answered.
func (r *CostRow) CacheShare() float64 {
	return ratio(r.Usage.CacheRead, r.Usage.Input+r.Usage.CacheRead+r.Usage.CacheWrite)
}

// PerSuccess is the whole spend, failures included, per successful attempt in
// dollars, 0 if there is none.
func (r *CostRow) PerSuccess() float64 { return ratio(r.Spend, r.Succeeded) / wire.NanosPerUSD }

// Per1000Tokens is the spend per 1,000 tokens of all kinds in dollars, 0 if
// there are none.
func (r *CostRow) Per1000Tokens() float64 {
	u := r.Usage
	return 1000 * ratio(r.Spend, u.Input+u.CacheRead+u.CacheWrite+u.Output+u.Reasoning) / wire.NanosPerUSD
}

// ratio is 0 where there is nothing to divide by.
func ratio[A, B ~int64 | ~uint64](a A, b B) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

const (
	sums = `count() AS n, count(cost_nano_usd) AS known, sum(cost_nano_usd) AS spend,
	sum(input_tokens) AS t1, sum(cache_read_tokens) AS t2, sum(cache_write_tokens) AS t3,
	sum(output_tokens) AS t4, sum(reasoning_tokens) AS t5`
	outerSums = `toUInt64(sum(n)) AS attempts, toInt64(sum(known)), toInt64(ifNull(sum(spend), 0)) AS spent,
	toUInt64(sumIf(n, st = 'succeeded')), toUInt64(sumIf(n, st NOT IN ('succeeded', 'cancelled', 'shadow'))),
	toInt64(ifNull(sumIf(spend, st != 'succeeded'), 0)),
	toInt64(sum(t1)), toInt64(sum(t2)), toInt64(sum(t3)), toInt64(sum(t4)), toInt64(sum(t5))`

	// The quantiles' levels and precision, as the projections have them.
	levels = `(0.01, 0.5, 0.9, 0.95, 0.99)`
	times  = `quantilesDDStateIf` + levels + `(latency_ms, latency_ms > 0) AS a,
	quantilesDDStateIf` + levels + `(ttft_ms, ttft_ms > 0) AS b`
	outerTimes = `quantilesDDMerge` + levels + `(a), quantilesDDMerge` + levels + `(b)`
)

// Cost sums up attempts, the dearest group first; groups by hour or day come
// in the order of time. The window is exact whatever answers it.
func (s *Store) Cost(ctx context.Context, q CostQuery) ([]CostRow, error) {
	sum, quantiles, err := q.plan()
	if err != nil {
		return nil, err
	}
	type pair struct {
		keys []string
		a, b Quantiles
	}
	var list []pair
	var failed error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	if quantiles != nil { // on another core
		wg.Go(func() {
			failed = s.addTimes(ctx, quantiles, func(keys []string, a, b Quantiles) { list = append(list, pair{keys, a, b}) })
		})
	}
	rows, err := s.costRows(ctx, sum, q.fromRows())
	if err != nil || len(rows) == 0 {
		cancel()
	}
	if wg.Wait(); err != nil || len(rows) == 0 {
		return rows, err
	}
	for _, p := range list {
		if i := slices.IndexFunc(rows, func(r CostRow) bool { return slices.Equal(r.Keys, p.keys) }); i >= 0 {
			rows[i].Latency, rows[i].TTFT = p.a, p.b
		}
	}
	return rows, failed
}

// fromRows reports whether only rows have what is asked for.
func (q *CostQuery) fromRows() bool {
	names := asked(q.By, q.Where)
	return q.Rows || !within(names, attemptSums, false) && !within(names, attemptLabels, true)
}

// plan is the question for the sums, and that for the quantiles if they come
// from elsewhere.
func (q *CostQuery) plan() (sum, quantiles *question, err error) {
	base := question{table: Attempts, ts: "ts", since: q.Since, until: q.Until, by: q.By, where: q.Where,
		dimension: dimensionOf("ts", slices.Concat(attemptSums, attemptRows))}
	for _, name := range asked(q.By, q.Where) {
		if _, err := base.dimension(name, &segment{}); err != nil {
			return nil, nil, err
		}
	}
	s := base
	s.group, s.inner, s.outer, s.order, s.limit = "status AS st", sums, outerSums, "spent DESC, attempts DESC", q.Limit
	if s.limit <= 0 {
		s.limit = 1000
	}
	names := asked(q.By, q.Where)
	switch {
	case q.fromRows():
		s.inner += ", uniqExactState(cityHash64(tenant, job_id)) AS jobs, " + times
		s.outer += ", uniqExactMerge(jobs), " + outerTimes
		return &s, nil, nil
	case within(names, attemptSums, false):
		s.units = hours
	default:
		s.units = sixths
	}
	t := base
	t.inner, t.outer = times, outerTimes
	switch {
	case within(names, attemptTimes, false):
		t.units = hours
	case within(names, attemptTenantTimes, false):
		t.units = sixths
	default:
		return &s, nil, nil
	}
	return &s, &t, nil
}

func (s *Store) costRows(ctx context.Context, q *question, whole bool) ([]CostRow, error) {
	var list []CostRow
	err := s.each(ctx, "cost", q, func(scan func(...any) error) error {
		r := CostRow{Keys: make([]string, len(q.by))}
		var known int64
		var a, b []float64
		dest := append(pointers(r.Keys), &r.Attempts, &known, (*int64)(&r.Spend), &r.Succeeded, &r.Failed, (*int64)(&r.Wasted),
			&r.Usage.Input, &r.Usage.CacheRead, &r.Usage.CacheWrite, &r.Usage.Output, &r.Usage.Reasoning)
		if whole {
			dest = append(dest, &r.Jobs, &a, &b)
		}
		if err := scan(dest...); err != nil {
			return err
		}
		r.Unknown, r.Latency, r.TTFT = r.Attempts-uint64(known), quantilesOf(a), quantilesOf(b)
		if r.Attempts > 0 || len(r.Keys) == 0 {
			list = append(list, r)
		}
		return nil
	})
	return list, err
}

// addTimes hands over two quantiles by their keys.
func (s *Store) addTimes(ctx context.Context, q *question, add func(keys []string, a, b Quantiles)) error {
	return s.each(ctx, "percentiles", q, func(scan func(...any) error) error {
		keys := make([]string, len(q.by))
		var a, b []float64
		if err := scan(append(pointers(keys), &a, &b)...); err != nil {
			return err
		}
		add(keys, quantilesOf(a), quantilesOf(b))
		return nil
	})
}

// each runs a question and hands over its rows.
func (s *Store) each(ctx context.Context, step string, q *question, row func(scan func(...any) error) error) error {
	sql, err := q.sql()
	if err != nil {
		return err
	}
	return s.eachSQL(ctx, step, sql, row)
}

func (s *Store) eachSQL(ctx context.Context, step, sql string, row func(scan func(...any) error) error) error {
	rows, err := s.conn.Query(ctx, sql)
	if err != nil {
		return s.wrap(step, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return s.wrap(step, err)
		}
	}
	return s.wrap(step, rows.Err())
}

func pointers(keys []string) []any {
	list := make([]any, len(keys), len(keys)+16)
	for i := range keys {
		list[i] = &keys[i]
	}
	return list
}

func quantilesOf(v []float64) Quantiles {
	if len(v) != 4 || math.IsNaN(v[0]) {
		return Quantiles{}
	}
	return Quantiles{v[0], v[1], v[2], v[3]}
}

// Unpriced is a model that attempts used without a known price.
type Unpriced struct {
	Pool, Provider, Model string
	Attempts              uint64
	Last                  time.Time
}

// Unpriced lists the models whose attempts since a time (the zero time: ever)
// were costed as unknown because they had no price, the most used first.
func (s *Store) Unpriced(ctx context.Context, since time.Time) ([]Unpriced, error) {
	from := "1"
	if !since.IsZero() {
		from = "ts >= " + moment(since)
	}
	var list []Unpriced
	err := s.eachSQL(ctx, "models without a price", `SELECT pool, provider, model, count() AS n, max(ts) FROM attempts
		WHERE `+from+` AND cost_nano_usd IS NULL AND price_version = '' AND model != ''
		GROUP BY pool, provider, model ORDER BY n DESC, pool, model LIMIT 1000`, func(scan func(...any) error) error {
		var u Unpriced
		if err := scan(&u.Pool, &u.Provider, &u.Model, &u.Attempts, &u.Last); err != nil {
			return err
		}
		list = append(list, u)
		return nil
	})
	return list, err
}

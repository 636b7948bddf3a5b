package store

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// CostQuery asks what attempts cost.
type CostQuery struct {
	// By lists the dimensions to group by, see [Dimensions]. Empty: one row
	// for everything.
	By []string
	// Since (included) and Until (excluded) bound the ledger's timestamp. The
	// zero time leaves that side open.
	Since, Until time.Time
	// Where keeps attempts whose dimension has this value.
	Where map[string]string
	// Hourly answers from the hourly projection, which does not grow with the
	// number of attempts: bounds are widened to whole hours, only the
	// dimensions in it are allowed, and Jobs and the quantiles stay zero.
	Hourly bool
	// Limit is the most rows to return, the dearest first. Defaults to 1,000.
	Limit int
}

// CostRow is one group of attempts.
type CostRow struct {
	Keys     []string     // values of CostQuery.By
	Spend    wire.NanoUSD // sum of the known costs
	Attempts uint64
	Unknown  uint64 // attempts whose cost is not known: not in Spend
	Failed   uint64 // attempts that neither succeeded nor were cancelled
	Jobs     uint64 // distinct jobs
	Usage    wire.Usage
	// Quantiles in milliseconds, 0 when no attempt has the figure.
	LatencyP50, LatencyP95, TTFTP50, TTFTP95 float64
}

// ErrorShare is the share of failed attempts, from 0 to 1.
func (r *CostRow) ErrorShare() float64 {
	if r.Attempts == 0 {
		return 0
	}
	return float64(r.Failed) / float64(r.Attempts)
}

// hourlyDimensions are in the hourly projection of attempts; rowDimensions
// need the rows. Both give a text.
var hourlyDimensions = map[string]string{
	"tenant": "tenant", "pool": "pool", "provider": "provider", "model": "model", "route": "route",
	"class": "class", "status": "status",
	"hour": "formatDateTime(toStartOfHour(ts), '%F %H:00')", "day": "toString(toDate(toStartOfHour(ts)))",
}

var rowDimensions = map[string]string{
	"strategy": "strategy", "region": "region", "batch_id": "batch_id", "endpoint": "endpoint",
	"error_code": "error_code", "price_version": "price_version", "usage_source": "usage_source",
	"experiment": "experiment", "variant": "variant",
}

const labelDimension = "label:"

// Dimensions lists what [CostQuery] can group and filter by. Beside these
// there is label:<name> for every label.
func Dimensions() []string {
	list := slices.AppendSeq(slices.Collect(maps.Keys(hourlyDimensions)), maps.Keys(rowDimensions))
	slices.Sort(list)
	return list
}

// dimension is the SQL of a dimension.
func dimension(name string, hourly bool) (string, error) {
	if sql, ok := hourlyDimensions[name]; ok {
		return sql, nil
	}
	if hourly {
		allowed := slices.Sorted(maps.Keys(hourlyDimensions))
		return "", fmt.Errorf("dimension %.40q is not in the hourly projection: use %s", name, strings.Join(allowed, ", "))
	}
	if sql, ok := rowDimensions[name]; ok {
		return sql, nil
	}
	if label, ok := strings.CutPrefix(name, labelDimension); ok && wire.ValidName(label) {
		return "labels[" + quote(strings.ToLower(label)) + "]", nil
	}
	return "", fmt.Errorf("dimension %.40q is not known: use %s or label:<name>", name, strings.Join(Dimensions(), ", "))
}

// Cost sums up attempts, the dearest group first; groups by hour or day come
// in the order of time.
func (s *Store) Cost(ctx context.Context, q CostQuery) ([]CostRow, error) {
	sql, err := q.sql()
	if err != nil {
		return nil, err
	}
	rows, err := s.conn.Query(ctx, sql)
	if err != nil {
		return nil, s.wrap("cost", err)
	}
	defer rows.Close()
	var list []CostRow
	for rows.Next() {
		r := CostRow{Keys: make([]string, len(q.By))}
		var spend, known int64
		dest := make([]any, 0, len(q.By)+15)
		for i := range r.Keys {
			dest = append(dest, &r.Keys[i])
		}
		dest = append(dest, &r.Attempts, &known, &spend, &r.Failed,
			&r.Usage.Input, &r.Usage.CacheRead, &r.Usage.CacheWrite, &r.Usage.Output, &r.Usage.Reasoning,
			&r.Jobs, &r.LatencyP50, &r.LatencyP95, &r.TTFTP50, &r.TTFTP95)
		if err := rows.Scan(dest...); err != nil {
			return nil, s.wrap("cost", err)
		}
		r.Spend, r.Unknown = wire.NanoUSD(spend), r.Attempts-uint64(known)
		for _, v := range []*float64{&r.LatencyP50, &r.LatencyP95, &r.TTFTP50, &r.TTFTP95} {
			if math.IsNaN(*v) {
				*v = 0
			}
		}
		list = append(list, r)
	}
	return list, s.wrap("cost", rows.Err())
}

// sums are taken per status first, in both forms, so that the inner query of
// the hourly form is one that the projection answers.
const sums = `count() AS n, count(cost_nano_usd) AS known, sum(cost_nano_usd) AS spend,
	sum(input_tokens) AS t1, sum(cache_read_tokens) AS t2, sum(cache_write_tokens) AS t3,
	sum(output_tokens) AS t4, sum(reasoning_tokens) AS t5`

const failed = `NOT IN ('succeeded', 'cancelled')`

func (q *CostQuery) sql() (string, error) {
	var keys, names []string
	order := "spend DESC, n DESC"
	for i, name := range q.By {
		expr, err := dimension(name, q.Hourly)
		if err != nil {
			return "", err
		}
		k := fmt.Sprintf("k%d", i)
		keys, names = append(keys, "toString("+expr+") AS "+k), append(names, k)
		if name == "hour" || name == "day" {
			order = k + ", " + order
		}
	}
	where, err := q.where()
	if err != nil {
		return "", err
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 1000
	}
	inner := "SELECT " + list(keys, "status AS st", sums) + " FROM attempts" + where + " GROUP BY " + list(names, "st")
	outer := `toUInt64(sum(n)), toInt64(sum(known)), toInt64(ifNull(sum(spend), 0)) AS spend, toUInt64(sumIf(n, st ` + failed + `)),
	toInt64(sum(t1)), toInt64(sum(t2)), toInt64(sum(t3)), toInt64(sum(t4)), toInt64(sum(t5))`
	if !q.Hourly {
		return q.rowsSQL(keys, names, where, order, limit), nil
	}
	group := ""
	if len(names) > 0 {
		group = " GROUP BY " + strings.Join(names, ", ")
	}
	return fmt.Sprintf("SELECT %s, toUInt64(0), 0., 0., 0., 0. FROM (%s)%s ORDER BY %s LIMIT %d",
		list(names, outer), inner, group, strings.ReplaceAll(order, "n DESC", "sum(n) DESC"), limit), nil
}

// rowsSQL reads rows: what no projection holds is in it.
func (q *CostQuery) rowsSQL(keys, names []string, where, order string, limit int) string {
	sql := "SELECT " + list(keys, `count() AS n, toInt64(count(cost_nano_usd)), toInt64(ifNull(sum(cost_nano_usd), 0)) AS spend,
	countIf(status `+failed+`), toInt64(sum(input_tokens)), toInt64(sum(cache_read_tokens)), toInt64(sum(cache_write_tokens)),
	toInt64(sum(output_tokens)), toInt64(sum(reasoning_tokens)), uniqExact(cityHash64(tenant, job_id)),
	toFloat64(quantileTDigestIf(0.5)(latency_ms, latency_ms > 0)), toFloat64(quantileTDigestIf(0.95)(latency_ms, latency_ms > 0)),
	toFloat64(quantileTDigestIf(0.5)(ttft_ms, ttft_ms > 0)), toFloat64(quantileTDigestIf(0.95)(ttft_ms, ttft_ms > 0))`) +
		" FROM attempts" + where
	if len(names) > 0 {
		sql += " GROUP BY " + strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s ORDER BY %s LIMIT %d", sql, order, limit)
}

func (q *CostQuery) where() (string, error) {
	var conds []string
	ts := "ts"
	since, until := q.Since, q.Until
	if q.Hourly {
		ts = "toStartOfHour(ts)"
		since = since.Truncate(time.Hour)
		if !until.Equal(until.Truncate(time.Hour)) {
			until = until.Truncate(time.Hour).Add(time.Hour)
		}
	}
	if !since.IsZero() {
		conds = append(conds, ts+" >= "+moment(since))
	}
	if !until.IsZero() {
		conds = append(conds, ts+" < "+moment(until))
	}
	for _, name := range slices.Sorted(maps.Keys(q.Where)) {
		expr, err := dimension(name, q.Hourly)
		if err != nil {
			return "", err
		}
		conds = append(conds, expr+" = "+quote(q.Where[name]))
	}
	if len(conds) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(conds, " AND "), nil
}

// Unpriced is a model that attempts used without a known price.
type Unpriced struct {
	Pool, Provider, Model string
	Attempts              uint64
	Last                  time.Time
}

// Unpriced lists the models whose attempts were costed as unknown because they
// had no price, the most used first.
func (s *Store) Unpriced(ctx context.Context) ([]Unpriced, error) {
	rows, err := s.conn.Query(ctx, `SELECT pool, provider, model, count() AS n, max(ts) FROM attempts
		WHERE cost_nano_usd IS NULL AND price_version = '' AND model != ''
		GROUP BY pool, provider, model ORDER BY n DESC, pool, model LIMIT 1000`)
	if err != nil {
		return nil, s.wrap("models without a price", err)
	}
	defer rows.Close()
	var list []Unpriced
	for rows.Next() {
		var u Unpriced
		if err := rows.Scan(&u.Pool, &u.Provider, &u.Model, &u.Attempts, &u.Last); err != nil {
			return nil, s.wrap("models without a price", err)
		}
		list = append(list, u)
	}
	return list, s.wrap("models without a price", rows.Err())
}

// moment is a timestamp as SQL, to the microsecond as stored.
func moment(t time.Time) string {
	return fmt.Sprintf("fromUnixTimestamp64Micro(toInt64(%d), 'UTC')", t.UnixMicro())
}

// list joins select items.
func list(items []string, more ...string) string {
	return strings.Join(append(slices.Clip(items), more...), ", ")
}

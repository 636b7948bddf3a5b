package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// JobsQuery asks how finished jobs did. Its fields are those of [CostQuery];
// the dimensions are [JobDimensions].
type JobsQuery struct {
	By           []string
	Since, Until time.Time
	Where        map[string]string
	Limit        int
}

// JobsRow is one group of finished jobs.
type JobsRow struct {
	Keys            []string
	Jobs, Succeeded uint64
	Failed          uint64       // failed or expired; the rest were cancelled
	Attempts        uint64       // of all of them
	Spend           wire.NanoUSD // of the jobs whose cost is known
	Unknown         uint64       // jobs whose cost is not known: not in Spend
	// Wait is from submission to the start of the last attempt, Total to the
	// end. By tenant and class at once, or by what is in no projection, they
	// are 0.
	Wait, Total Quantiles
}

// PerJob is the spend per job in dollars, 0 without jobs.
func (r *JobsRow) PerJob() float64 { return ratio(r.Spend, r.Jobs) / wire.NanosPerUSD }

// PerSuccess is the spend, failures included, per job that succeeded, in
// dollars; 0 without one.
func (r *JobsRow) PerSuccess() float64 { return ratio(r.Spend, r.Succeeded) / wire.NanosPerUSD }

// SuccessShare is the share of jobs that succeeded, from 0 to 1.
func (r *JobsRow) SuccessShare() float64 { return ratio(r.Succeeded, r.Jobs) }

// Retries is the number of attempts beyond the first, per job.
func (r *JobsRow) Retries() float64 { return max(0, ratio(r.Attempts, r.Jobs)-1) }

// Jobs sums up finished jobs, the dearest group first; groups by hour or day
// come in the order of time.
func (s *Store) Jobs(ctx context.Context, q JobsQuery) ([]JobsRow, error) {
	base := question{table: Jobs, ts: "finished_at", since: q.Since, until: q.Until, by: q.By, where: q.Where,
		dimension: dimensionOf("finished_at", slices.Concat(jobSums, jobRows))}
	sum, names := base, asked(q.By, q.Where)
	sum.group, sum.limit, sum.order = "status AS st", q.Limit, "spent DESC, jobs DESC"
	if sum.limit <= 0 {
		sum.limit = 1000
	}
	sum.inner = "count() AS n, count(cost_nano_usd) AS known, sum(cost_nano_usd) AS spend, sum(attempts) AS tries"
	sum.outer = `toUInt64(sum(n)) AS jobs, toUInt64(sumIf(n, st = 'succeeded')), toUInt64(sumIf(n, st IN ('failed', 'expired'))),
	toUInt64(sum(tries)), toInt64(ifNull(sum(spend), 0)) AS spent, toUInt64(sum(n) - sum(known))`
	if within(names, jobSums, false) {
		sum.units = hours
	}
	var list []JobsRow
	err := s.each(ctx, "jobs", &sum, func(scan func(...any) error) error {
		r := JobsRow{Keys: make([]string, len(q.By))}
		err := scan(append(pointers(r.Keys), &r.Jobs, &r.Succeeded, &r.Failed, &r.Attempts, (*int64)(&r.Spend), &r.Unknown)...)
		list = append(list, r)
		return err
	})
	times := base
	times.inner = "quantilesDDState" + levels + "(wait_ms) AS a, quantilesDDState" + levels + "(total_ms) AS b"
	times.outer = outerTimes
	switch {
	case err != nil || len(list) == 0:
		return list, err
	case within(names, jobTimes, false):
		times.units = hours
	case within(names, jobTenantTimes, false):
		times.units = sixths
	default:
		return list, nil
	}
	return list, s.addTimes(ctx, &times, func(keys []string, a, b Quantiles) {
		if i := slices.IndexFunc(list, func(r JobsRow) bool { return slices.Equal(r.Keys, keys) }); i >= 0 {
			list[i].Wait, list[i].Total = a, b
		}
	})
}

// DearJob is a finished job and what it cost.
type DearJob struct {
	FinishedAt                                         time.Time
	Tenant, ID, Route, Class, Status, ErrorCode, Batch string
	Attempts                                           uint16
	Cost                                               wire.NanoUSD
	TotalMS                                            uint32
	Labels                                             map[string]string
}

// DearestJobs lists the jobs that cost most, the dearest first; limit defaults
// to 20. Where takes tenant, route, class and status.
//
// The hours and tenants whose own dearest job can be among them are found in a
// projection; only their rows are read.
func (s *Store) DearestJobs(ctx context.Context, q JobsQuery) ([]DearJob, error) {
	p, err := q.dearest()
	if err != nil {
		return nil, err
	}
	err = s.eachSQL(ctx, "hours of dearest jobs", p.hours(), func(scan func(...any) error) error {
		var h dearHour
		err := scan(&h.at, &h.tenant, &h.most)
		p.candidates = append(p.candidates, h)
		return err
	})
	if err != nil {
		return nil, err
	}
	var list []DearJob
	err = s.eachSQL(ctx, "dearest jobs", p.rows(), func(scan func(...any) error) error {
		var j DearJob
		var cost *int64
		err := scan(&j.FinishedAt, &j.Tenant, &j.ID, &j.Route, &j.Class, &j.Status, &j.ErrorCode, &j.Batch, &j.Attempts, &cost, &j.TotalMS, &j.Labels)
		if err == nil && cost != nil {
			j.Cost = wire.NanoUSD(*cost)
			list = append(list, j)
		}
		return err
	})
	return list, err
}

// dearest is how the dearest jobs are looked for.
type dearest struct {
	conds        []string // of the dimensions
	since, until time.Time
	first, last  time.Time // whole hours within the window; zero: open
	limit        int
	candidates   []dearHour
}

// dearHour is the dearest job of a tenant in a whole hour.
type dearHour struct {
	at     time.Time
	tenant string
	most   int64
}

func (q *JobsQuery) dearest() (*dearest, error) {
	p := &dearest{since: q.Since, until: q.Until, limit: q.Limit}
	if p.limit <= 0 {
		p.limit = 20
	}
	d := dimensionOf("finished_at", slices.Concat(jobSums, jobRows))
	for _, name := range sortedKeys(q.Where) {
		expr, err := d(name, &segment{})
		if err != nil {
			return nil, err
		}
		p.conds = append(p.conds, equals(name, expr, q.Where[name]))
	}
	if !q.Since.IsZero() {
		p.first = q.Since.Add(time.Hour - 1).Truncate(time.Hour)
	}
	if !q.Until.IsZero() {
		p.last = q.Until.Truncate(time.Hour)
	}
	return p, nil
}

// hours are the tenants' whole hours with the dearest jobs: each has one that is
// among the dearest, or at least as dear as the last of them.
func (p *dearest) hours() string {
	whole := segment{from: p.first, to: p.last, unit: time.Hour}
	return "SELECT toStartOfHour(finished_at) AS u, tenant, ifNull(max(cost_nano_usd), 0) AS m FROM jobs WHERE " +
		join(append(slices.Clone(p.conds), whole.conds("finished_at")...)) +
		fmt.Sprintf(" GROUP BY u, tenant HAVING m > 0 ORDER BY m DESC LIMIT %d", p.limit)
}

// rows are the jobs of the candidates, and of the parts of hours at the window's
// edges, that can be among the dearest.
func (p *dearest) rows() string {
	inside := segment{from: p.since, to: p.until}
	var where []string
	if !p.first.IsZero() {
		where = append(where, "finished_at < "+moment(p.first))
	}
	if !p.last.IsZero() {
		where = append(where, "finished_at >= "+moment(p.last))
	}
	least := int64(1)
	if n := len(p.candidates); n > 0 {
		var list []string
		for _, c := range p.candidates {
			list = append(list, fmt.Sprintf("(toDateTime(%d, 'UTC'), %s)", c.at.Unix(), quote(c.tenant)))
		}
		where = append(where, "(toStartOfHour(finished_at), tenant) IN ("+strings.Join(list, ", ")+")")
		if n == p.limit {
			least = p.candidates[n-1].most
		}
	}
	if len(where) == 0 {
		where = []string{"0"} // an open window without a known cost
	}
	// ClickHouse 26.5 mistakes the type of a plain column that it sorts by.
	return fmt.Sprintf("SELECT finished_at, tenant, job_id, route, class, status, error_code, batch_id, attempts, cost_nano_usd, total_ms, labels FROM jobs "+
		"WHERE %s AND cost_nano_usd >= %d AND (%s) ORDER BY cost_nano_usd + 0 DESC, seq LIMIT %d",
		join(append(slices.Clone(p.conds), inside.conds("finished_at")...)), least, strings.Join(where, " OR "), p.limit)
}

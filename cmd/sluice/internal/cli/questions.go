package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// question is one of the standard questions below `sluice cost`: it asks with
// the flags' query, and gives a value for programs and a table for people.
type question struct {
	use, short string
	by         []string // default; nil: no --by
	dimensions []string
	limit      int
	ask        func(ctx context.Context, s *store.Store, q store.CostQuery, c *config.Config) (any, *table, error)
}

func (g *globals) questionCommand(x question) *cobra.Command {
	var f costFlags
	cmd := &cobra.Command{Use: x.use, Short: x.short, Args: exactly(0, "no arguments")}
	if x.by != nil {
		cmd.Long = x.short + ". Dimensions: " + strings.Join(x.dimensions, ", ") + " and label:<name>."
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		q, err := f.query(time.Now(), x.dimensions)
		if err != nil {
			return err
		}
		c, err := g.load(cmd)
		if err != nil {
			return err
		}
		s, err := openStoreOf(c)
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }() // only read from
		value, t, err := x.ask(cmd.Context(), s, q, c)
		switch {
		case err != nil:
			return asked(err)
		case g.json:
			return printJSON(cmd.OutOrStdout(), value)
		}
		return t.print(cmd.OutOrStdout())
	}
	f.flags(cmd, x.by, x.limit)
	return cmd
}

func (g *globals) costJobsCommand() *cobra.Command {
	return g.questionCommand(question{use: "jobs", short: "Show what finished jobs cost: per job, per success, with retries and waits",
		by: []string{"route"}, dimensions: store.JobDimensions(), limit: 1000,
		ask: func(ctx context.Context, s *store.Store, q store.CostQuery, _ *config.Config) (any, *table, error) {
			rows, err := s.Jobs(ctx, store.JobsQuery{By: q.By, Since: q.Since, Until: q.Until, Where: q.Where, Limit: q.Limit})
			t := newTable(slices.Concat(heads(q.By), []string{">JOBS", ">SUCCEEDED", ">RETRIES/JOB", ">WAIT P95 MS", ">TOTAL P50 MS", ">TOTAL P95 MS", ">USD/JOB", ">USD/SUCCESS", ">USD"})...)
			list := make([]any, 0, len(rows))
			for i := range rows {
				r := &rows[i]
				t.row(append(slices.Clone(r.Keys), number(r.Jobs), percent(r.SuccessShare()), fmt.Sprintf("%.3f", r.Retries()),
					millis(r.Wait.P95), millis(r.Total.P50), millis(r.Total.P95), dollars(r.PerJob()), dollars(r.PerSuccess()), r.Spend.String())...)
				list = append(list, map[string]any{"by": byJSON(q.By, r.Keys), "jobs": r.Jobs, "succeeded": r.Succeeded, "failed": r.Failed, "attempts": r.Attempts,
					"unknown_cost": r.Unknown, "wait_ms_p95": r.Wait.P95, "total_ms_p50": r.Total.P50, "total_ms_p95": r.Total.P95,
					"usd_per_job": r.PerJob(), "usd_per_success": r.PerSuccess(), "cost_nano_usd": r.Spend})
			}
			return map[string]any{"rows": list}, t, err
		}})
}

func (g *globals) costDearestCommand() *cobra.Command {
	return g.questionCommand(question{use: "dearest", short: "List the jobs that cost most", dimensions: store.JobDimensions(), limit: 20,
		ask: func(ctx context.Context, s *store.Store, q store.CostQuery, _ *config.Config) (any, *table, error) {
			jobs, err := s.DearestJobs(ctx, store.JobsQuery{Since: q.Since, Until: q.Until, Where: q.Where, Limit: q.Limit})
			t := newTable("JOB", "TENANT", "ROUTE", "STATUS", ">ATTEMPTS", ">MS", "FINISHED", ">USD")
			list := make([]any, 0, len(jobs))
			for i := range jobs {
				j := &jobs[i]
				t.row(j.ID, j.Tenant, j.Route, j.Status, number(j.Attempts), number(j.TotalMS), j.FinishedAt.Local().Format(time.DateTime), j.Cost.String())
				list = append(list, map[string]any{"job_id": j.ID, "tenant": j.Tenant, "route": j.Route, "class": j.Class, "status": j.Status,
					"attempts": j.Attempts, "total_ms": j.TotalMS, "finished_at": j.FinishedAt, "labels": j.Labels, "cost_nano_usd": j.Cost})
			}
			return map[string]any{"jobs": list}, t, err
		}})
}

func (g *globals) costWasteCommand() *cobra.Command {
	return g.questionCommand(question{use: "waste", short: "Show money spent on attempts that gave no answer", by: []string{"pool", "model"},
		dimensions: store.Dimensions(), limit: 1000,
		ask: func(ctx context.Context, s *store.Store, q store.CostQuery, _ *config.Config) (any, *table, error) {
			rows, err := s.Waste(ctx, q)
			t := newTable(append(heads(q.By), "REASON", ">ATTEMPTS", ">WASTED USD")...)
			list := make([]any, 0, len(rows))
			for _, r := range rows {
				t.row(append(slices.Clone(r.Keys), r.Reason, number(r.Attempts), r.Spend.String())...)
				list = append(list, map[string]any{"by": byJSON(q.By, r.Keys), "reason": r.Reason, "attempts": r.Attempts, "wasted_nano_usd": r.Spend})
			}
			return map[string]any{"rows": list}, t, err
		}})
}

func (g *globals) costSharesCommand() *cobra.Command {
	return g.questionCommand(question{use: "shares", short: "Compare how a route's attempts were spread with the weights (--where route=NAME)",
		dimensions: []string{"route"}, limit: 1000,
		ask: func(ctx context.Context, s *store.Store, q store.CostQuery, _ *config.Config) (any, *table, error) {
			rows, err := s.Distribution(ctx, q.Since, q.Until, q.Where["route"])
			t := newTable("ROUTE", "POOL", "MODEL", ">WEIGHT", ">EXPECTED", ">SHARE", ">ATTEMPTS", ">USD")
			list := make([]any, 0, len(rows))
			for _, r := range rows {
				o := map[string]any{"route": r.Route, "pool": r.Pool, "model": r.Model, "attempts": r.Attempts, "share": r.Share, "cost_nano_usd": r.Spend}
				weight, expected := "", ""
				if r.Expected >= 0 {
					weight, expected = number(r.Weight), percent(r.Expected)
					o["weight"], o["expected"] = r.Weight, r.Expected
				}
				t.row(r.Route, r.Pool, r.Model, weight, expected, percent(r.Share), number(r.Attempts), r.Spend.String())
				list = append(list, o)
			}
			return map[string]any{"rows": list}, t, err
		}})
}

func (g *globals) costCacheCommand() *cobra.Command {
	return g.questionCommand(question{use: "cache", short: "Show what providers' prompt caches saved, at today's prices", dimensions: []string{}, limit: 1000,
		ask: func(ctx context.Context, s *store.Store, q store.CostQuery, c *config.Config) (any, *table, error) {
			price := func(string, string) *wire.Price { return nil }
			if g.deps.Prices != nil {
				price = g.deps.Prices(c)
			}
			rows, err := s.Savings(ctx, q.Since, q.Until, price)
			t := newTable("POOL", "MODEL", ">CACHED TOKENS", ">HIT SHARE", ">SAVED USD")
			list := make([]any, 0, len(rows))
			for _, r := range rows {
				saved := "not known"
				o := map[string]any{"pool": r.Pool, "model": r.Model, "cache_read_tokens": r.CacheRead, "hit_share": r.HitShare}
				if r.Saved != nil {
					saved = r.Saved.String()
					o["saved_nano_usd"] = *r.Saved
				}
				t.row(r.Pool, r.Model, number(r.CacheRead), percent(r.HitShare), saved)
				list = append(list, o)
			}
			return map[string]any{"rows": list}, t, err
		}})
}

func heads(by []string) []string {
	list := make([]string, len(by))
	for i, name := range by {
		list[i] = strings.ToUpper(name)
	}
	return list
}

func byJSON(by, keys []string) map[string]string {
	m := make(map[string]string, len(by))
	for i, name := range by {
		m[name] = keys[i]
	}
	return m
}

func number[N ~int64 | ~uint64 | ~uint32 | ~uint16](n N) string { return fmt.Sprint(n) }

func percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 1, 64) + "%" }

// dollars is a price that is not an amount paid, such as one per job.
func dollars(usd float64) string { return strconv.FormatFloat(usd, 'f', 9, 64) }

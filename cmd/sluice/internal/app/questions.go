package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/broker/gateway"
	"github.com/sluicehq/sluice/sdk/wire"
)

// answers asks ClickHouse what the dashboard wants to know. A question of a
// tenant is about that tenant only.
type answers struct {
	store *store.Store
	price func(pool, model string) *wire.Price
}

// ask answers one question; what is asked wrongly is the asker's error.
func (a *answers) ask(ctx context.Context, q gateway.Question) (any, error) {
	where := maps.Clone(q.Where)
	if q.Tenant != "" {
		where["tenant"] = q.Tenant
	}
	dimensions := store.Dimensions()
	if q.Name == "jobs" || q.Name == "dearest" {
		dimensions = store.JobDimensions()
	}
	for _, name := range append(slices.Clone(q.By), slices.Collect(maps.Keys(where))...) {
		label, isLabel := strings.CutPrefix(name, "label:")
		if !slices.Contains(dimensions, name) && !(isLabel && wire.ValidName(label)) {
			return nil, wire.Errorf(wire.CodeInvalidRequest, "by", "there is no dimension %.40q: use %s or label:<name>", name, strings.Join(dimensions, ", "))
		}
	}
	cost := store.CostQuery{By: q.By, Since: q.Since, Until: q.Until, Where: where, Limit: q.Limit}
	jobs := store.JobsQuery{By: q.By, Since: q.Since, Until: q.Until, Where: where, Limit: q.Limit}
	switch q.Name {
	case "cost":
		rows, err := a.store.Cost(ctx, cost)
		return costRows(rows), err
	case "jobs":
		rows, err := a.store.Jobs(ctx, jobs)
		return jobsRows(rows), err
	case "dearest":
		list, err := a.store.DearestJobs(ctx, jobs)
		return dearRows(list), err
	case "decisions":
		list, err := a.store.Decisions(ctx, cost)
		return decidedRows(list), err
	case "waste":
		rows, err := a.store.Waste(ctx, cost)
		out := make([]map[string]any, 0, len(rows))
		for _, r := range rows {
			out = append(out, map[string]any{"keys": r.Keys, "reason": r.Reason, "attempts": r.Attempts, "spend_nano_usd": r.Spend})
		}
		return map[string]any{"rows": out}, err
	case "shares", "cache":
		if q.Tenant != "" { // they are sums over all tenants
			return nil, wire.Errorf(wire.CodePermission, "", "the question %s is an administrator's", q.Name)
		}
		if q.Name == "cache" {
			rows, err := a.store.Savings(ctx, q.Since, q.Until, a.price)
			out := make([]map[string]any, 0, len(rows))
			for _, r := range rows {
				out = append(out, map[string]any{"pool": r.Pool, "model": r.Model, "cache_read_tokens": r.CacheRead, "hit_share": r.HitShare, "saved_nano_usd": r.Saved})
			}
			return map[string]any{"rows": out}, err
		}
		rows, err := a.store.Distribution(ctx, q.Since, q.Until, where["route"])
		out := make([]map[string]any, 0, len(rows))
		for _, r := range rows {
			out = append(out, map[string]any{"route": r.Route, "pool": r.Pool, "model": r.Model, "attempts": r.Attempts,
				"share": r.Share, "expected": r.Expected, "spend_nano_usd": r.Spend})
		}
		return map[string]any{"rows": out}, err
	}
	return nil, wire.Errorf(wire.CodeInvalidRequest, "question", "there is no question %.40q: ask cost, jobs, dearest, decisions, waste, shares or cache", q.Name)
}

func costRows(rows []store.CostRow) any {
	out := make([]map[string]any, 0, len(rows))
	for i := range rows {
		r := &rows[i]
		u := r.Usage
		out = append(out, map[string]any{"keys": r.Keys, "spend_nano_usd": r.Spend, "attempts": r.Attempts, "unknown_cost": r.Unknown,
			"succeeded": r.Succeeded, "failed": r.Failed, "wasted_nano_usd": r.Wasted,
			"tokens_in": u.Input + u.CacheRead + u.CacheWrite, "tokens_cached": u.CacheRead, "tokens_out": u.Output + u.Reasoning,
			"latency_ms": spread(r.Latency), "ttft_ms": spread(r.TTFT)})
	}
	return map[string]any{"rows": out}
}

func jobsRows(rows []store.JobsRow) any {
	out := make([]map[string]any, 0, len(rows))
	for i := range rows {
		r := &rows[i]
		out = append(out, map[string]any{"keys": r.Keys, "jobs": r.Jobs, "succeeded": r.Succeeded, "failed": r.Failed, "attempts": r.Attempts,
			"spend_nano_usd": r.Spend, "unknown_cost": r.Unknown, "wait_ms": spread(r.Wait), "total_ms": spread(r.Total)})
	}
	return map[string]any{"rows": out}
}

func dearRows(list []store.DearJob) any {
	out := make([]map[string]any, 0, len(list))
	for i := range list {
		j := &list[i]
		out = append(out, map[string]any{"finished_at": j.FinishedAt, "tenant": j.Tenant, "job_id": j.ID, "route": j.Route, "class": j.Class,
			"status": j.Status, "attempts": j.Attempts, "spend_nano_usd": j.Cost, "total_ms": j.TotalMS, "labels": j.Labels})
	}
	return map[string]any{"rows": out}
}

func decidedRows(list []store.Decided) any {
	out := make([]map[string]any, 0, len(list))
	for i := range list {
		x := &list[i]
		out = append(out, map[string]any{"at": x.At, "tenant": x.Tenant, "job_id": x.ID, "attempt": x.Attempt, "status": x.Status, "error_code": x.ErrorCode,
			"latency_ms": x.LatencyMS, "cost_nano_usd": x.Cost, "decision": x.Decision})
	}
	return map[string]any{"rows": out}
}

func spread(q store.Quantiles) map[string]float64 {
	return map[string]float64{"p50": q.P50, "p90": q.P90, "p95": q.P95, "p99": q.P99}
}

// newAnswers opens ClickHouse for the gateway, if there is one to open.
func (a *App) newAnswers() (*answers, error) {
	dsn := a.dsn
	if dsn == "" {
		dsn = a.cfg.ClickHouse.DSN.Reveal()
	}
	if dsn == "" {
		return nil, nil
	}
	st, err := store.Open(a.cfg.Store(dsn))
	if err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	return &answers{store: st, price: func(pool, model string) *wire.Price { return Prices(a.current())(pool, model) }}, nil
}

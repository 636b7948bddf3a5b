package invoice

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/wire"
)

// mostLines of our own that are compared.
const mostLines = 1_000_000

// Ours asks the tables for what the export is compared with, from the first to
// the last of its days; where keeps attempts whose dimension has a value.
func Ours(ctx context.Context, s *store.Store, e *Export, where map[string]string) (map[Key]*Figures, error) {
	first, err := time.Parse(time.DateOnly, e.First)
	if err != nil {
		return nil, err
	}
	last, err := time.Parse(time.DateOnly, e.Last)
	if err != nil {
		return nil, err
	}
	q := store.CostQuery{By: e.By(), Since: first, Until: last.AddDate(0, 0, 1), Where: where, Limit: mostLines}
	rows, err := s.Cost(ctx, q)
	if err != nil {
		return nil, err
	}
	out := map[Key]*Figures{}
	for i := range rows {
		u := rows[i].Usage
		plus(out, keyOf(q.By, rows[i].Keys), &Figures{Unpriced: rows[i].Unknown,
			N: [kinds]int64{u.Input, u.CacheRead, u.CacheWrite, u.Output + u.Reasoning, int64(rows[i].Spend)}})
	}
	q.Where = maps.Clone(where)
	if q.Where == nil {
		q.Where = map[string]string{}
	}
	q.Where["usage_source"] = string(wire.UsageEstimated)
	if rows, err = s.Cost(ctx, q); err != nil {
		return nil, err
	}
	for i := range rows {
		plus(out, keyOf(q.By, rows[i].Keys), &Figures{Estimated: rows[i].Attempts})
	}
	return out, nil
}

func keyOf(by, keys []string) Key {
	get := func(name string) string {
		if i := slices.Index(by, name); i >= 0 {
			return keys[i]
		}
		return ""
	}
	return Key{Day: get("day"), Provider: get("provider"), Pool: get("pool"), Model: get("model")}
}

package store_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestDecisions: the newest attempts of a window with the decisions that led to
// them, as they were inserted.
func TestDecisions(t *testing.T) {
	s := storetest.Open(t)
	rows := costRows(3000)
	for start := 0; start < len(rows); start += 1000 {
		for _, part := range partitions(rows[start : start+1000]) {
			must(t, s.InsertAttempts(t.Context(), part))
		}
	}
	for name, c := range map[string]struct {
		q    store.CostQuery
		keep func(*store.Attempt) bool
	}{
		"all":             {store.CostQuery{Limit: 3000}, nil},
		"the newest":      {store.CostQuery{Limit: 7}, nil},
		"by default":      {store.CostQuery{}, nil},
		"over many hours": {store.CostQuery{Limit: 500}, nil},
		"a window": {store.CostQuery{Since: day.Add(90 * time.Minute), Until: day.Add(5*time.Hour + time.Second), Limit: 120},
			func(a *store.Attempt) bool {
				return !a.TS.Before(day.Add(90*time.Minute)) && a.TS.Before(day.Add(5*time.Hour+time.Second))
			}},
		"an end within the first minute of an hour": {store.CostQuery{Until: day.Add(5*time.Hour + time.Minute), Limit: 3},
			func(a *store.Attempt) bool { return a.TS.Before(day.Add(5*time.Hour + time.Minute)) }},
		"of a pool": {store.CostQuery{Where: map[string]string{"pool": rows[5].Attempt.Pool}, Limit: 40},
			func(a *store.Attempt) bool { return a.Attempt.Pool == rows[5].Attempt.Pool }},
		"that failed, of a team": {store.CostQuery{Where: map[string]string{"status": "failed", "label:team": "it's"}, Limit: 40},
			func(a *store.Attempt) bool { return a.Attempt.Status == "failed" && a.Job.Labels["team"] == "it's" }},
		"none": {store.CostQuery{Where: map[string]string{"pool": "none"}}, func(*store.Attempt) bool { return false }},
	} {
		got, err := s.Decisions(t.Context(), c.q)
		must(t, err)
		var want []*store.Attempt
		for i := len(rows) - 1; i >= 0; i-- {
			if c.keep == nil || c.keep(&rows[i]) {
				want = append(want, &rows[i])
			}
		}
		limit := c.q.Limit
		if limit == 0 {
			limit = 100
		}
		want = want[:min(limit, len(want))]
		if len(got) != len(want) {
			t.Errorf("%s: %d decisions, want %d", name, len(got), len(want))
			continue
		}
		for i := range got {
			g, w := &got[i], want[i]
			if g.ID != w.Job.ID || g.Tenant != w.Job.Tenant || g.Attempt != w.Attempt.N || !g.At.Equal(w.TS) || g.Status != string(w.Attempt.Status) ||
				g.ErrorCode != string(w.Attempt.ErrorCode) || g.LatencyMS != w.Attempt.LatencyMS || (g.Cost == nil) != (w.Attempt.Cost == nil) || g.Cost != nil && *g.Cost != *w.Attempt.Cost ||
				!reflect.DeepEqual(g.Decision.Candidates, w.Attempt.Decision.Candidates) || g.Decision.Route != w.Attempt.Decision.Route || g.Decision.Pool != w.Attempt.Pool {
				t.Fatalf("%s, %d: %+v, want %+v %+v", name, i, *g, *w.Attempt, *w.Attempt.Decision)
			}
		}
	}
	if _, err := s.Decisions(t.Context(), store.CostQuery{Where: map[string]string{"nothing": "x"}}); err == nil {
		t.Error("a dimension that is none is taken")
	}
}

// partitions divides rows into those of a day each, as an insert wants them.
func partitions(rows []store.Attempt) (list [][]store.Attempt) {
	for len(rows) > 0 {
		n := slices.IndexFunc(rows, func(a store.Attempt) bool { return store.PartitionOf(a.TS) != store.PartitionOf(rows[0].TS) })
		if n < 0 {
			n = len(rows)
		}
		list, rows = append(list, rows[:n]), rows[n:]
	}
	return list
}

// openFiltering is a store on a ClickHouse that has its filter for the first of a
// sorted column on, as external servers of 26.5 have it: it mistakes the type of
// what is sorted by, if that is a column, where parts hold rows of one hour. The
// embedded engine has it off.
func openFiltering(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(store.Config{DSN: storetest.DSN(t) + "?use_top_k_dynamic_filtering=1"})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	must(t, s.Migrate(t.Context()))
	return s
}

// TestDecisionsOfOneHour: many parts that hold rows of one hour, as a table has
// them while it is written.
func TestDecisionsOfOneHour(t *testing.T) {
	s := openFiltering(t)
	rows := insertOneHour(t, s)
	for _, since := range []time.Time{{}, day.Add(-20 * time.Minute), day.Add(10 * time.Minute)} {
		got, err := s.Decisions(t.Context(), store.CostQuery{Since: since, Limit: 200})
		must(t, err)
		if len(got) != 200 || got[0].ID != rows[2999].Job.ID || got[199].ID != rows[2800].Job.ID {
			t.Errorf("since %s: %d decisions, from %s", since, len(got), got[0].ID)
		}
	}
}

// TestSortedColumnOfOneHour: the embedded engine answers anybody's question where
// openFiltering's ClickHouse fails.
func TestSortedColumnOfOneHour(t *testing.T) {
	s := storetest.Open(t)
	rows := insertOneHour(t, s)
	sql, err := store.CostQuery{Limit: 200}.DecisionsSQL()
	must(t, err)
	plain := strings.Replace(sql, "ORDER BY seq + 0 DESC", "ORDER BY seq DESC", 1)
	if plain == sql {
		t.Fatalf("nothing to replace in %s", sql)
	}
	if got := query(t, s, plain); len(got) != 200 || got[0][2] != rows[2999].Job.ID {
		t.Errorf("%d rows", len(got))
	}
}

// insertOneHour makes many parts of attempts that all ended within an hour.
func insertOneHour(t *testing.T, s *store.Store) []store.Attempt {
	t.Helper()
	rows := costRows(3000)
	for i := range rows {
		rows[i].TS = day.Add(time.Duration(i) * time.Second)
	}
	for start := 0; start < len(rows); start += 150 {
		must(t, s.InsertAttempts(t.Context(), rows[start:start+150]))
	}
	return rows
}

// TestDearestJobsOfOneHour: as TestDecisionsOfOneHour.
func TestDearestJobsOfOneHour(t *testing.T) {
	s := openFiltering(t)
	rows := costJobs(3000)
	var dearest wire.NanoUSD
	for i := range rows {
		rows[i].FinishedAt = day.Add(time.Duration(i) * time.Second)
		if c := rows[i].Cost; c != nil {
			dearest = max(dearest, *c)
		}
	}
	for start := 0; start < len(rows); start += 150 {
		must(t, s.InsertJobs(t.Context(), rows[start:start+150]))
		for _, since := range []time.Time{{}, day.Add(-20 * time.Minute)} {
			got, err := s.DearestJobs(t.Context(), store.JobsQuery{Since: since, Limit: 10})
			must(t, err)
			if len(got) != 10 || start == 2850 && got[0].Cost != dearest {
				t.Errorf("since %s: %+v", since, got)
			}
		}
	}
}

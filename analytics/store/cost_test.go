package store_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
	"github.com/sluicehq/sluice/sdk/wire"
)

// costRows are rows over several hours with every kind of outcome.
func costRows(n int) []store.Attempt {
	r := rand.New(rand.NewPCG(7, 7))
	rows := fakeAttempts(1, n)
	for i := range rows {
		rows[i].TS = day.Add(time.Duration(i) * 8 * time.Hour / time.Duration(n))
		rows[i].Job.Labels = map[string]string{"team": []string{"red", "blue", "it's"}[r.IntN(3)]}
		a := rows[i].Attempt
		switch r.IntN(8) {
		case 0:
			a.Status, a.ErrorCode = wire.Failed, wire.CodeTimeout
		case 1:
			a.Status, a.Cost, a.Price, a.Model = wire.Succeeded, nil, nil, "unpriced"
		case 2:
			a.Status = wire.Cancelled
		case 3:
			a.Status, a.Cost, a.TTFTMS = wire.Interrupted, nil, 0 // cut before its usage was known
		}
		if i > 0 && r.IntN(10) == 0 {
			rows[i].Job, a.N = rows[i-1].Job, rows[i-1].Attempt.N+1
		}
	}
	return rows
}

// oracle is Cost, written plainly.
func oracle(rows []store.Attempt, key func(*store.Attempt) string) map[string]store.CostRow {
	groups, jobs := map[string]store.CostRow{}, map[string]bool{}
	for i := range rows {
		r := &rows[i]
		k := key(r)
		g := groups[k]
		g.Attempts++
		if r.Attempt.Cost == nil {
			g.Unknown++
		} else {
			g.Spend += *r.Attempt.Cost
		}
		if r.Attempt.Status != wire.Succeeded && r.Attempt.Status != wire.Cancelled {
			g.Failed++
		}
		if id := k + "|" + r.Job.Tenant + "|" + r.Job.ID; !jobs[id] {
			jobs[id] = true
			g.Jobs++
		}
		u := r.Attempt.Usage
		g.Usage.Input += u.Input
		g.Usage.Output += u.Output
		groups[k] = g
	}
	return groups
}

func compare(t *testing.T, name string, got []store.CostRow, want map[string]store.CostRow, hourly bool) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d groups, want %d", name, len(got), len(want))
	}
	for _, g := range got {
		w := want[strings.Join(g.Keys, "|")]
		if hourly {
			w.Jobs = 0
		} else if g.LatencyP50 <= 0 || g.LatencyP95 < g.LatencyP50 || g.TTFTP95 < g.TTFTP50 ||
			(g.TTFTP50 > 0) == slices.Contains(g.Keys, "interrupted") {
			t.Errorf("%s %v: quantiles %+v", name, g.Keys, g)
		}
		k := g.Keys
		g.Keys, g.LatencyP50, g.LatencyP95, g.TTFTP50, g.TTFTP95 = nil, 0, 0, 0, 0
		if fmt.Sprint(g) != fmt.Sprint(w) {
			t.Errorf("%s %v:\n got %+v\nwant %+v", name, k, g, w)
		}
	}
}

func TestCost(t *testing.T) {
	s := storetest.Open(t)
	rows := costRows(4000)
	must(t, s.InsertAttempts(t.Context(), rows))
	keys := map[string]func(*store.Attempt) string{
		"":             func(*store.Attempt) string { return "" },
		"pool":         func(r *store.Attempt) string { return r.Attempt.Pool },
		"tenant,model": func(r *store.Attempt) string { return r.Job.Tenant + "|" + r.Attempt.Model },
		"hour,status":  func(r *store.Attempt) string { return r.TS.Format("2006-01-02 15:00") + "|" + string(r.Attempt.Status) },
		"day":          func(r *store.Attempt) string { return r.TS.Format("2006-01-02") },
		"label:team":   func(r *store.Attempt) string { return r.Job.Labels["team"] },
		"error_code":   func(r *store.Attempt) string { return string(r.Attempt.ErrorCode) },
	}
	for name, key := range keys {
		q := store.CostQuery{}
		if name != "" {
			q.By = strings.Split(name, ",")
		}
		got, err := s.Cost(t.Context(), q)
		must(t, err)
		compare(t, name, got, oracle(rows, key), false)
		if strings.HasPrefix(name, "hour") {
			if !slices.IsSortedFunc(got, func(a, b store.CostRow) int { return cmp.Compare(a.Keys[0], b.Keys[0]) }) {
				t.Error("hours are not in the order of time")
			}
		} else if !slices.IsSortedFunc(got, func(a, b store.CostRow) int { return cmp.Compare(b.Spend, a.Spend) }) {
			t.Errorf("%s: not the dearest first", name)
		}
		if q.Hourly = true; name != "label:team" && name != "error_code" {
			got, err := s.Cost(t.Context(), q)
			must(t, err)
			compare(t, "hourly "+name, got, oracle(rows, key), true)
		}
	}
}

func TestCostBounds(t *testing.T) {
	s := storetest.Open(t)
	rows := costRows(2000)
	must(t, s.InsertAttempts(t.Context(), rows))
	since, until := day.Add(90*time.Minute), day.Add(200*time.Minute)
	pick := func(from, to time.Time) (out []store.Attempt) {
		for _, r := range rows {
			if !r.TS.Before(from) && r.TS.Before(to) && r.Job.Labels["team"] == "it's" {
				out = append(out, r)
			}
		}
		return out
	}
	all := func(*store.Attempt) string { return "" }
	q := store.CostQuery{Since: since, Until: until, Where: map[string]string{"label:team": "it's"}}
	got, err := s.Cost(t.Context(), q)
	must(t, err)
	compare(t, "exact bounds", got, oracle(pick(since, until), all), false)

	got, err = s.Cost(t.Context(), store.CostQuery{Since: since, Until: until, Hourly: true})
	must(t, err)
	if len(got) != 1 || got[0].Attempts != 750 { // 3 of 8 hours
		t.Errorf("whole hours: %+v", got)
	}
	got, err = s.Cost(t.Context(), store.CostQuery{By: []string{"tenant"}, Limit: 2})
	must(t, err)
	if len(got) != 2 {
		t.Errorf("limit 2 gave %d rows", len(got))
	}
	got, err = s.Cost(t.Context(), store.CostQuery{By: []string{"tenant"}, Since: day.Add(100 * time.Hour)})
	if err != nil || len(got) != 0 {
		t.Errorf("nothing there: %v, %v", got, err)
	}
}

func TestCostRefuses(t *testing.T) {
	for name, q := range map[string]store.CostQuery{
		"group":  {By: []string{"job_id"}},
		"filter": {Where: map[string]string{"1=1; --": "x"}},
		"label":  {By: []string{"label:x'] OR 1"}},
		"empty":  {By: []string{""}},
		"hourly": {By: []string{"region"}, Hourly: true},
	} {
		_, err := q.SQL()
		if err == nil || !strings.Contains(err.Error(), "tenant") || !strings.Contains(err.Error(), "dimension") {
			t.Errorf("%s: error %v, want one that names the allowed dimensions", name, err)
		}
	}
	s := storetest.Open(t)
	for _, evil := range []string{`'`, `\`, `\'`, `' OR 1=1 --`, "`"} {
		if _, err := s.Cost(t.Context(), store.CostQuery{Where: map[string]string{"tenant": evil, "label:x": evil}}); err != nil {
			t.Errorf("where %q: %v", evil, err)
		}
	}
}

// Standard questions are answered from the projection, and a time bound reads
// only the partitions in it.
func TestPlans(t *testing.T) {
	s := storetest.Open(t)
	must(t, s.InsertAttempts(t.Context(), costRows(20_000)))
	must(t, s.InsertJobs(t.Context(), fakeJobs(1, 5000)))
	hourly, err := store.CostQuery{By: []string{"hour", "tenant", "model"}, Since: day, Hourly: true, Where: map[string]string{"pool": "pool-1"}}.SQL()
	must(t, err)
	for _, sql := range []string{
		hourly,
		"SELECT max(seq) FROM attempts",
		"SELECT max(seq) FROM jobs",
		"SELECT pool, sum(cost_nano_usd), count() FROM attempts GROUP BY pool",
		"SELECT toStartOfHour(finished_at), status, count(), sum(total_ms) FROM jobs GROUP BY ALL",
	} {
		plan := fmt.Sprint(query(t, s, "EXPLAIN "+sql))
		if !strings.Contains(plan, "(hourly)") {
			t.Errorf("the projection is not used by %s:\n%s", sql, plan)
		}
	}
	bounded, err := store.CostQuery{By: []string{"tenant"}, Since: day.Add(24 * time.Hour)}.SQL()
	must(t, err)
	if plan := fmt.Sprint(query(t, s, "EXPLAIN indexes = 1 "+bounded)); !strings.Contains(plan, "Parts: 0/1") {
		t.Errorf("a bound does not prune partitions:\n%s", plan)
	}
}

func TestUnpriced(t *testing.T) {
	s := storetest.Open(t)
	rows := costRows(1000)
	must(t, s.InsertAttempts(t.Context(), rows))
	want := map[string]uint64{}
	for _, r := range rows {
		if r.Attempt.Price == nil {
			want[r.Attempt.Pool]++
		}
	}
	got, err := s.Unpriced(t.Context())
	must(t, err)
	if len(got) != len(want) {
		t.Errorf("%d models, want %d", len(got), len(want))
	}
	for _, u := range got {
		if u.Model != "unpriced" || u.Attempts != want[u.Pool] || u.Provider != "simulated" || u.Last.IsZero() {
			t.Errorf("%+v, want %d attempts", u, want[u.Pool])
		}
	}
}

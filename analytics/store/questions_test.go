package store_test

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
	"github.com/sluicehq/sluice/sdk/wire"
)

// costJobs are jobs with attempts, outcomes and costs of all sizes, on one day.
func costJobs(n int) []store.Job {
	rows := make([]store.Job, n)
	for i, a := range costRows(4 * n)[:n] {
		rows[i] = store.Job{Seq: a.Seq, FinishedAt: a.TS, Job: a.Job, Status: wire.Succeeded, Attempts: 1 + i%3, Cost: a.Attempt.Cost, Wait: time.Duration(i) * time.Millisecond}
		rows[i].Job.SubmittedAt = a.TS.Add(-time.Duration(2*i) * time.Millisecond).UnixNano()
		rows[i].Job.Route = []string{"chat", "smart"}[i%2]
		switch i % 7 {
		case 0:
			rows[i].Status = wire.Failed
		case 1:
			rows[i].Status = wire.Expired
		case 2:
			rows[i].Status = wire.Cancelled
		}
	}
	return rows
}

func TestJobs(t *testing.T) {
	s := storetest.Open(t)
	rows := costJobs(2000)
	must(t, s.InsertJobs(t.Context(), rows))
	since, until := day.Add(100*time.Minute), day.Add(11*time.Hour+time.Second)
	want, waits := map[string]store.JobsRow{}, map[string][]int64{}
	for _, j := range rows {
		if j.FinishedAt.Before(since) || !j.FinishedAt.Before(until) {
			continue
		}
		k := j.Job.Route
		w := want[k]
		w.Jobs, w.Attempts = w.Jobs+1, w.Attempts+uint64(j.Attempts)
		switch j.Status {
		case wire.Succeeded:
			w.Succeeded++
		case wire.Failed, wire.Expired:
			w.Failed++
		}
		if j.Cost == nil {
			w.Unknown++
		} else {
			w.Spend += *j.Cost
		}
		want[k], waits[k] = w, append(waits[k], j.Wait.Milliseconds())
	}
	got, err := s.Jobs(t.Context(), store.JobsQuery{By: []string{"route"}, Since: since, Until: until})
	must(t, err)
	if len(got) != 2 {
		t.Fatalf("got %+v", got)
	}
	for _, g := range got {
		k := g.Keys[0]
		if !near(g.Wait.P95, waits[k], .95) || g.Total.P50 < g.Wait.P50 {
			t.Errorf("%s: wait %+v, total %+v", k, g.Wait, g.Total)
		}
		g.Keys, g.Wait, g.Total = nil, store.Quantiles{}, store.Quantiles{}
		if fmt.Sprint(g) != fmt.Sprint(want[k]) {
			t.Errorf("%s:\n got %+v\nwant %+v", k, g, want[k])
		}
		if r := g.Retries(); math.Abs(r-1) > 0.05 || g.PerSuccess() <= g.PerJob() || g.SuccessShare() > 0.65 {
			t.Errorf("%s: %.3f retries, $%f a job, $%f a success, %f succeed", k, r, g.PerJob(), g.PerSuccess(), g.SuccessShare())
		}
	}
	for _, by := range []string{"tenant", "error_code", "label:team", "class"} {
		list, err := s.Jobs(t.Context(), store.JobsQuery{By: []string{by}, Where: map[string]string{"status": "failed"}})
		must(t, err)
		n := uint64(0)
		for _, r := range list {
			n += r.Failed
		}
		if n != 286 { // every seventh
			t.Errorf("by %s: %d failed", by, n)
		}
	}
	if _, err := s.Jobs(t.Context(), store.JobsQuery{By: []string{"pool"}}); err == nil {
		t.Error("a job has no pool")
	}
}

func TestDearestJobs(t *testing.T) {
	s := storetest.Open(t)
	rows := costJobs(3000)
	must(t, s.InsertJobs(t.Context(), rows))
	for name, q := range map[string]store.JobsQuery{
		"all":     {},
		"window":  {Since: day.Add(90 * time.Minute), Until: day.Add(7*time.Hour + 7*time.Minute), Limit: 7},
		"minutes": {Since: day.Add(90 * time.Minute), Until: day.Add(95 * time.Minute), Limit: 500},
		"tenant":  {Where: map[string]string{"tenant": "tenant-3"}, Since: day.Add(time.Hour), Limit: 5},
		"tenants": {Where: map[string]string{"tenant": "tenant-3", "route": "smart"}, Limit: 6},
		"status":  {Where: map[string]string{"status": "failed", "class": "standard"}, Limit: 5},
	} {
		var want []store.Job
		for _, j := range rows {
			if j.Cost != nil && *j.Cost > 0 && !j.FinishedAt.Before(q.Since) && (q.Until.IsZero() || j.FinishedAt.Before(q.Until)) &&
				(q.Where["route"] == "" || q.Where["route"] == j.Job.Route) && (q.Where["tenant"] == "" || q.Where["tenant"] == j.Job.Tenant) && (q.Where["status"] == "" || q.Where["status"] == string(j.Status)) {
				want = append(want, j)
			}
		}
		slices.SortStableFunc(want, func(a, b store.Job) int { return cmp.Compare(*b.Cost, *a.Cost) })
		want = want[:min(len(want), max(q.Limit, 5+15*(1-min(q.Limit, 1))))]
		got, err := s.DearestJobs(t.Context(), q)
		must(t, err)
		if len(got) != len(want) {
			t.Errorf("%s: %d jobs, want %d", name, len(got), len(want))
			continue
		}
		for i := range got {
			if got[i].Cost != *want[i].Cost {
				t.Errorf("%s: place %d is %+v, want %s at %s", name, i, got[i], want[i].Job.ID, *want[i].Cost)
			}
		}
	}
}

func TestDistributionWasteAndSavings(t *testing.T) {
	s := storetest.Open(t)
	rows := costRows(4000)[:1000]
	for i := range rows {
		rows[i].Attempt.Usage.CacheRead = int64(i % 3)
	}
	must(t, s.InsertAttempts(t.Context(), rows))
	shares, err := s.Distribution(t.Context(), time.Time{}, time.Time{}, "chat")
	must(t, err)
	var sum, expected float64
	for _, x := range shares {
		sum += x.Share
		if x.Model == "sim-"+x.Pool {
			expected += x.Expected
			if want := float64(x.Pool[5]-'0'+1) / 6; math.Abs(x.Expected-want) > 1e-9 {
				t.Errorf("%+v, want %f expected", x, want)
			}
		}
	}
	if math.Abs(sum-1) > 1e-9 || math.Abs(expected-1) > 1e-9 {
		t.Errorf("shares add up to %f and %f: %+v", sum, expected, shares)
	}
	wasted, want := wire.NanoUSD(0), wire.NanoUSD(0)
	list, err := s.Waste(t.Context(), store.CostQuery{By: []string{"pool"}})
	must(t, err)
	for _, w := range list {
		wasted += w.Spend
		if len(w.Keys) != 1 || w.Reason == "succeeded" || w.Reason == "" {
			t.Errorf("%+v", w)
		}
	}
	tokens := int64(0)
	for _, r := range rows {
		if r.Attempt.Status != wire.Succeeded && r.Attempt.Cost != nil {
			want += *r.Attempt.Cost
		}
		tokens += r.Attempt.Usage.CacheRead
	}
	if wasted != want || want == 0 {
		t.Errorf("wasted %s, want %s", wasted, want)
	}
	savings, err := s.Savings(t.Context(), time.Time{}, time.Time{}, func(_, model string) *wire.Price {
		if model == "unpriced" {
			return nil
		}
		return &wire.Price{Input: 3_000_000, CacheRead: 1_000_000}
	})
	must(t, err)
	for _, x := range savings {
		tokens -= x.CacheRead
		if (x.Saved == nil) != (x.Model == "unpriced") || x.Saved != nil && *x.Saved != wire.NanoUSD(2000*x.CacheRead) || x.HitShare <= 0 || x.HitShare > 1 {
			t.Errorf("%+v", x)
		}
	}
	if tokens != 0 {
		t.Errorf("%d cached tokens are missing", tokens)
	}
}

// A database of the version before, with rows and that version's projections:
// questions are exact at once, and from the new projections afterwards.
func TestMigrateOldRows(t *testing.T) {
	s := storetest.Open(t)
	for _, table := range []string{"attempts", "jobs"} {
		for _, p := range query(t, s, "SELECT name FROM system.projections WHERE database = currentDatabase() AND name != 'hourly' AND table = '"+table+"'") {
			exec(t, s, fmt.Sprintf("ALTER TABLE %s DROP PROJECTION %s", table, p[0]))
		}
	}
	names, statements, err := store.LoadMigrations(store.BuiltIn())
	must(t, err)
	exec(t, s, "DROP TABLE jobs")
	exec(t, s, statements[0][1]) // as it was then
	old, err := os.ReadFile("testdata/projections_v7.sql")
	must(t, err)
	asked := statements[slices.Index(names, "0009_asked")] // the columns that rows are written with
	for _, sql := range append(store.SplitStatements(string(old)), asked...) {
		exec(t, s, sql)
	}
	rows, jobs := costRows(4000)[:1000], costJobs(1000)
	must(t, s.InsertAttempts(t.Context(), rows))
	must(t, s.InsertJobs(t.Context(), jobs))
	have := func() string {
		return fmt.Sprint(query(t, s, "SELECT table, arraySort(groupUniqArray(name)) FROM system.projection_parts WHERE active AND database = currentDatabase() GROUP BY table ORDER BY table"))
	}
	const before = "[[attempts [daily daily_labels daily_tenant_times daily_times hourly hourly_times]] [jobs [daily daily_tenant_times daily_times hourly hourly_dearest hourly_times]]]"
	if got := have(); got != before {
		t.Fatalf("before: %s", got)
	}
	exec(t, s, "DELETE FROM schema_migrations WHERE version > 7")
	must(t, s.Migrate(t.Context()))
	spent := wire.NanoUSD(0)
	for _, j := range jobs {
		if j.Cost != nil {
			spent += *j.Cost
		}
	}
	exact := func(when string) {
		t.Helper()
		got, err := s.Cost(t.Context(), store.CostQuery{By: []string{"tenant"}, Since: day.Truncate(24 * time.Hour)})
		must(t, err)
		compare(t, when, got, rows, func(r *store.Attempt) string { return r.Job.Tenant }, false, true)
		list, err := s.Jobs(t.Context(), store.JobsQuery{})
		must(t, err)
		if len(list) != 1 || list[0].Spend != spent || list[0].Jobs != 1000 || list[0].Total.P50 <= 0 {
			t.Errorf("%s: %+v, want a spend of %s", when, list, spent)
		}
	}
	exact("at once") // from rows and projections as they are
	const after = "[[attempts [hourly hourly_times sixths_labels sixths_tenant_times]] [jobs [hourly_sums hourly_times sixths_tenant_times]]]"
	for end := time.Now().Add(time.Minute); have() != after; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the projections are not made: %s", have())
		}
	}
	exact("afterwards")
}

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

// costRows are rows over two days with every kind of outcome.
func costRows(n int) []store.Attempt {
	r := rand.New(rand.NewPCG(7, 7))
	rows := fakeAttempts(1, n)
	for i := range rows {
		rows[i].TS = day.Add(time.Duration(i) * 52 * time.Hour / time.Duration(n))
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
		switch r.Attempt.Status {
		case wire.Succeeded:
			g.Succeeded++
		case wire.Cancelled:
		default:
			g.Failed++
		}
		if r.Attempt.Status != wire.Succeeded && r.Attempt.Cost != nil {
			g.Wasted += *r.Attempt.Cost
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

// near reports whether a quantile is within 2 % of the exact one: 1 % of the
// sketch, and as much for the gap between neighbours.
func near(got float64, values []int64, level float64) bool {
	slices.Sort(values)
	if len(values) == 0 {
		return got == 0
	}
	i := int(level * float64(len(values)-1))
	lo, hi := values[max(i-1, 0)], values[min(i+1, len(values)-1)]
	return got >= 0.98*float64(lo) && got <= 1.02*float64(hi)
}

// compare holds rows to the oracle; their times are compared where they are
// to be known.
func compare(t *testing.T, name string, got []store.CostRow, rows []store.Attempt, key func(*store.Attempt) string, distinct, times bool) {
	t.Helper()
	want := oracle(rows, key)
	if len(got) != len(want) {
		t.Errorf("%s: %d groups, want %d", name, len(got), len(want))
	}
	latency, ttft := map[string][]int64{}, map[string][]int64{}
	for i := range rows {
		k, a := key(&rows[i]), rows[i].Attempt
		latency[k] = append(latency[k], a.LatencyMS)
		if a.TTFTMS > 0 {
			ttft[k] = append(ttft[k], a.TTFTMS)
		}
	}
	for _, g := range got {
		k := strings.Join(g.Keys, "|")
		w := want[k]
		if !distinct {
			w.Jobs = 0
		}
		if known := g.Latency.P50 > 0; known != times {
			t.Errorf("%s %v: times %+v, want known %v", name, g.Keys, g.Latency, times)
		} else if times && !(near(g.Latency.P50, latency[k], .5) && near(g.Latency.P99, latency[k], .99) && near(g.TTFT.P90, ttft[k], .9)) {
			t.Errorf("%s %v: times %+v %+v", name, g.Keys, g.Latency, g.TTFT)
		}
		g.Keys, g.Latency, g.TTFT = nil, store.Quantiles{}, store.Quantiles{}
		if fmt.Sprint(g) != fmt.Sprint(w) {
			t.Errorf("%s %v:\n got %+v\nwant %+v", name, k, g, w)
		}
	}
}

// keysOf are groupings, and whether projections know their times.
var keysOf = []struct {
	by    string
	times bool
	key   func(*store.Attempt) string
}{
	{"", true, func(*store.Attempt) string { return "" }},
	{"pool", true, func(r *store.Attempt) string { return r.Attempt.Pool }},
	{"tenant", true, func(r *store.Attempt) string { return r.Job.Tenant }},
	{"tenant,model", false, func(r *store.Attempt) string { return r.Job.Tenant + "|" + r.Attempt.Model }},
	{"hour,status", true, func(r *store.Attempt) string {
		return r.TS.Format("2006-01-02 15:00") + "|" + string(r.Attempt.Status)
	}},
	{"minute,pool", true, func(r *store.Attempt) string { return r.TS.Format("2006-01-02 15:04") + "|" + r.Attempt.Pool }},
	{"day", true, func(r *store.Attempt) string { return r.TS.Format("2006-01-02") }},
	{"label:team", false, func(r *store.Attempt) string { return r.Job.Labels["team"] }},
	{"error_code", true, func(r *store.Attempt) string { return string(r.Attempt.ErrorCode) }},
}

// Whatever answers a question, projections and rows together, over windows
// that begin and end anywhere, each figure is the exact one.
func TestCost(t *testing.T) {
	s := storetest.Open(t)
	rows := costRows(6000)
	for i, at := 0, 0; i < len(rows); i = at { // over three days
		for at = i; at < len(rows) && store.PartitionOf(rows[at].TS) == store.PartitionOf(rows[i].TS); at++ {
		}
		must(t, s.InsertAttempts(t.Context(), rows[i:at]))
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	anywhere := func() time.Time {
		return day.Add(time.Duration(r.Int64N(int64(52 * time.Hour)))).Truncate(time.Microsecond)
	}
	for round := range 12 {
		var since, until time.Time
		if round%3 > 0 {
			since = anywhere()
		}
		if round%4 > 1 {
			until = anywhere()
		}
		var in []store.Attempt
		for _, x := range rows {
			if !x.TS.Before(since) && (until.IsZero() || x.TS.Before(until)) {
				in = append(in, x)
			}
		}
		if len(in) == 0 {
			continue
		}
		k := keysOf[(round*5)%len(keysOf)]
		for _, whole := range []bool{false, true} {
			q := store.CostQuery{Since: since, Until: until, Rows: whole, Limit: 10_000}
			if k.by != "" {
				q.By = strings.Split(k.by, ",")
			}
			got, err := s.Cost(t.Context(), q)
			must(t, err)
			name := fmt.Sprintf("%s from %s until %s, rows %v", k.by, since, until, whole)
			compare(t, name, got, in, k.key, whole || k.by == "error_code" || k.by == "minute,pool", whole || k.times)
			if strings.HasPrefix(k.by, "hour") {
				if !slices.IsSortedFunc(got, func(a, b store.CostRow) int { return cmp.Compare(a.Keys[0], b.Keys[0]) }) {
					t.Error("hours are not in the order of time")
				}
			} else if k.by != "day" && k.by != "minute,pool" && !slices.IsSortedFunc(got, func(a, b store.CostRow) int { return cmp.Compare(b.Spend, a.Spend) }) {
				t.Errorf("%s: not the dearest first", name)
			}
		}
	}
}

func TestCostBounds(t *testing.T) {
	s := storetest.Open(t)
	rows := costRows(2000)[:400]
	must(t, s.InsertAttempts(t.Context(), rows))
	since, until := day.Add(90*time.Minute), day.Add(200*time.Minute)
	var in []store.Attempt
	for _, r := range rows {
		if !r.TS.Before(since) && r.TS.Before(until) && r.Job.Labels["team"] == "it's" {
			in = append(in, r)
		}
	}
	q := store.CostQuery{Since: since, Until: until, Where: map[string]string{"label:team": "it's"}, Rows: true}
	got, err := s.Cost(t.Context(), q)
	must(t, err)
	compare(t, "exact bounds", got, in, func(*store.Attempt) string { return "" }, true, true)
	got, err = s.Cost(t.Context(), store.CostQuery{By: []string{"tenant"}, Limit: 2})
	must(t, err)
	if len(got) != 2 {
		t.Errorf("limit 2 gave %d rows", len(got))
	}
	for name, q := range map[string]store.CostQuery{
		"later":      {By: []string{"tenant"}, Since: day.Add(100 * time.Hour)},
		"no window":  {By: []string{"tenant"}, Since: until, Until: since},
		"no instant": {By: []string{"tenant"}, Since: until, Until: until},
	} {
		if got, err := s.Cost(t.Context(), q); err != nil || len(got) != 0 {
			t.Errorf("%s: nothing there: %v, %v", name, got, err)
		}
	}
}

func TestCostRefuses(t *testing.T) {
	for name, q := range map[string]store.CostQuery{
		"group":  {By: []string{"job_id"}},
		"filter": {Where: map[string]string{"1=1; --": "x"}},
		"label":  {By: []string{"label:x'] OR 1"}},
		"empty":  {By: []string{""}},
		"rows":   {By: []string{"regio"}, Rows: true},
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

// Standard questions are answered from projections, and a time bound reads
// only the partitions in it.
func TestPlans(t *testing.T) {
	s := storetest.Open(t)
	must(t, s.InsertAttempts(t.Context(), costRows(8000)[:2000]))
	must(t, s.InsertJobs(t.Context(), fakeJobs(1, 5000)))
	plans := map[string]string{
		"SELECT max(seq) FROM attempts":                                                            "hourly",
		"SELECT max(seq) FROM jobs":                                                                "hourly_sums",
		"SELECT pool, sum(cost_nano_usd), count() FROM attempts GROUP BY pool":                     "hourly",
		"SELECT toStartOfHour(finished_at), status, count(), sum(total_ms) FROM jobs GROUP BY ALL": "hourly_sums",
		"SELECT * FROM spend_hourly WHERE hour >= '2026-01-01 00:00:00'":                           "hourly",
		"SELECT * FROM spend_daily WHERE day >= '2026-01-01 00:00:00'":                             "hourly",
		"SELECT sum(spend_usd) FROM spend_daily":                                                   "hourly",
		"SELECT * FROM unit_costs_daily":                                                           "hourly",
		"SELECT * FROM pool_share_hourly":                                                          "hourly",
		"SELECT * FROM times_hourly":                                                               "hourly_times",
		"SELECT * FROM success_hourly":                                                             "hourly",
		"SELECT * FROM retries_hourly":                                                             "hourly_sums",
		"SELECT * FROM cache_daily":                                                                "hourly",
		"SELECT * FROM waste_daily":                                                                "hourly",
		"SELECT * FROM labels_daily":                                                               "sixths_labels",
	}
	add := func(projection string, q store.CostQuery) {
		list, err := q.SQL()
		must(t, err)
		plans[list[len(list)-1]] = projection
	}
	where := map[string]string{"pool": "pool-1"}
	add("hourly_times", store.CostQuery{By: []string{"hour", "model"}, Since: day, Where: where})
	add("sixths_tenant_times", store.CostQuery{By: []string{"tenant"}})
	add("hourly_times", store.CostQuery{By: []string{"model"}, Since: day.Truncate(24 * time.Hour)})
	add("sixths_labels", store.CostQuery{By: []string{"label:team"}})
	add("hourly", store.CostQuery{By: []string{"tenant", "class"}, Since: day.Truncate(24 * time.Hour)})
	add("hourly", store.CostQuery{By: []string{"day", "provider", "class"}, Since: day.Truncate(24 * time.Hour)})
	for sql, projection := range plans {
		plan := fmt.Sprint(query(t, s, "EXPLAIN "+sql))
		if !strings.Contains(plan, "("+projection+")") || strings.Contains(plan, ".attempts)") || strings.Contains(plan, ".jobs)") {
			t.Errorf("the projection %s is not used by %s:\n%s", projection, sql, plan)
		}
	}
	bounded, err := store.CostQuery{By: []string{"tenant"}, Since: day.Add(24 * time.Hour), Rows: true}.SQL()
	must(t, err)
	if plan := fmt.Sprint(query(t, s, "EXPLAIN indexes = 1 "+bounded[0])); !strings.Contains(plan, "Parts: 0/1") {
		t.Errorf("a bound does not prune partitions:\n%s", plan)
	}
}

func TestUnpriced(t *testing.T) {
	s := storetest.Open(t)
	rows := costRows(4000)[:1000]
	must(t, s.InsertAttempts(t.Context(), rows))
	want := map[string]uint64{}
	for _, r := range rows {
		if r.Attempt.Price == nil {
			want[r.Attempt.Pool]++
		}
	}
	got, err := s.Unpriced(t.Context(), time.Time{})
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

package alert

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
	"github.com/sluicehq/sluice/sdk/wire"
)

func rules() Rules {
	return Rules{Every: time.Minute, Window: 10 * time.Minute, Baseline: 12 * time.Hour, RaiseAfter: 2, ClearAfter: 5, Samples: 50,
		ErrorRate: 0.1, LatencyShift: 0.5, CostShift: 0.5, ShareShift: 0.1, BudgetBurn: 4, Unpriced: true, Shares: []string{"round_robin"}}
}

// traffic is a simulation of two pools behind a route, all named alike, with
// what goes wrong in the last window.
type traffic struct {
	rnd              *rand.Rand
	name             string
	slow, dear       float64 // factor of latency at pool a, of the cost of a job
	failing, unequal float64 // share of failures at pool b, of a's turns
	unpriced         int
	barred           bool // pool a may not be chosen
}

// rows makes the attempts and jobs of a stretch, n of them.
func (x *traffic) rows(from time.Time, over time.Duration, n int, seq *uint64) (attempts []store.Attempt, jobs []store.Job) {
	for i := range n {
		*seq++
		ts := from.Add(time.Duration(i) * over / time.Duration(n)).Truncate(time.Microsecond)
		a := &wire.Attempt{N: 1, Pool: "b-" + x.name, Provider: "sim", Model: "m", Strategy: "round_robin", Status: wire.Succeeded, HTTP: 200,
			Price: &wire.Price{Version: "v", Input: 1_000_000, Output: 2_000_000}}
		cands := []wire.Candidate{{Pool: "a-" + x.name, Model: "m", Weight: 3}, {Pool: "b-" + x.name, Model: "m", Weight: 1}}
		if x.barred {
			cands[0].Excluded = "circuit"
		}
		a.Decision = &wire.Decision{Route: x.name, Strategy: "round_robin", Candidates: cands}
		latency := 800 * math.Exp(0.5*x.rnd.NormFloat64())
		if x.rnd.Float64() < x.unequal {
			a.Pool, latency = cands[0].Pool, latency*x.slow
		}
		a.LatencyMS = int64(latency) + 1
		if a.Pool != cands[0].Pool && x.rnd.Float64() < x.failing {
			a.Status, a.ErrorCode = wire.Failed, wire.CodeProviderError
		}
		a.Settle(wire.Usage{Input: int64(x.dear * float64(500+x.rnd.IntN(1000))), Output: int64(x.dear * float64(100+x.rnd.IntN(400)))}, wire.UsageFromProvider)
		if i < x.unpriced {
			a.Model, a.Price, a.Cost = "new", nil, nil
		}
		meta := &wire.Meta{ID: fmt.Sprint("j", *seq), Tenant: "t", Class: wire.Standard, Endpoint: wire.ChatCompletions, Route: x.name, SubmittedAt: ts.UnixNano()}
		attempts = append(attempts, store.Attempt{Seq: *seq, TS: ts, Attempt: a, Job: meta})
		jobs = append(jobs, store.Job{Seq: *seq, FinishedAt: ts, Job: meta, Status: wire.Succeeded, Attempts: 1, Cost: a.Cost})
	}
	return attempts, jobs
}

// normal is traffic as it always is.
func normal(name string, seed uint64) *traffic {
	return &traffic{name: name, rnd: rand.New(rand.NewPCG(seed, 3)), slow: 1, dear: 1, failing: 0.05, unequal: 0.75}
}

// insert writes rows of several routes in the order of time.
func insert(t *testing.T, s *store.Store, attempts []store.Attempt, jobs []store.Job) {
	t.Helper()
	slices.SortStableFunc(attempts, func(a, b store.Attempt) int { return a.TS.Compare(b.TS) })
	slices.SortStableFunc(jobs, func(a, b store.Job) int { return a.FinishedAt.Compare(b.FinishedAt) })
	for i := range attempts {
		attempts[i].Seq, jobs[i].Seq = uint64(i+1), uint64(i+1)
	}
	must(t, s.InsertAttempts(t.Context(), attempts))
	must(t, s.InsertJobs(t.Context(), jobs))
}

// bad looks with rules, and tells what is bad.
func bad(t *testing.T, s *store.Store, r Rules, now time.Time) []string {
	t.Helper()
	l := &looker{store: s, baselines: map[string]baseline{}}
	list, err := l.look(t.Context(), &r, now)
	must(t, err)
	var out []string
	for _, f := range list {
		if !f.bad {
			continue
		}
		out = append(out, f.ID())
		if f.Summary == "" || f.Samples == 0 && f.Kind != wire.AlertBudgetBurn || !f.At.Equal(now) {
			t.Errorf("%+v", f)
		}
	}
	slices.Sort(out)
	return out
}

// Hours of ordinary traffic, and then ten minutes of each trouble on a route of
// its own: that one is found in the real tables, and no other.
func TestFindsWhatIsWrong(t *testing.T) {
	s := storetest.Open(t)
	r := rules()
	r.Baseline, r.Samples = 3*time.Hour, 20
	var attempts []store.Attempt
	var jobs []store.Job
	var want []string
	for name, x := range map[string]struct {
		wrong func(*traffic)
		want  string
	}{
		"fine":     {func(*traffic) {}, ""},
		"slow":     {func(x *traffic) { x.slow = 2.5 }, "latency_shift model=m pool=a-slow"},
		"slower":   {func(x *traffic) { x.slow = 1.1 }, ""},
		"dear":     {func(x *traffic) { x.dear = 2 }, "cost_shift route=dear"},
		"failing":  {func(x *traffic) { x.failing = 0.7 }, "error_rate pool=b-failing"},
		"uneven":   {func(x *traffic) { x.unequal = 0.45 }, "share_shift route=uneven"},
		"barred":   {func(x *traffic) { x.unequal, x.barred = 0, true }, ""}, // that is what is due
		"unpriced": {func(x *traffic) { x.unequal, x.barred, x.unpriced = 0, true, 5 }, "unpriced model=new pool=b-unpriced provider=sim"},
		"burning":  {func(*traffic) {}, "budget_burn budget=burning usd/day tenant=t"},
	} {
		var seq uint64
		a, j := normal(name, 7).rows(noon.Add(-r.Window-r.Baseline), r.Baseline, 18*120, &seq)
		attempts, jobs = append(attempts, a...), append(jobs, j...)
		last := normal(name, 8)
		x.wrong(last)
		a, j = last.rows(noon.Add(-r.Window), r.Window, 120, &seq)
		attempts, jobs = append(attempts, a...), append(jobs, j...)
		if x.want != "" {
			want = append(want, x.want)
		}
	}
	insert(t, s, attempts, jobs)
	slices.Sort(want)
	here := map[string]string{"route": "burning", "tenant": "t"}
	spent, err := s.Cost(t.Context(), store.CostQuery{Where: here, Since: noon.Add(-time.Hour), Until: noon})
	must(t, err)
	rate := float64(spent[0].Spend) * 24 // an hour's, for a day
	r.Budgets = []Budget{{ID: "burning usd/day", Where: here, Tenant: "t", Unit: USD, Limit: int64(rate / 4.2), Window: 24 * time.Hour},
		{ID: "calm usd/day", Where: here, Unit: USD, Limit: int64(rate / 3.7), Window: 24 * time.Hour},
		{ID: "calm jobs/hour", Where: here, Unit: Jobs, Limit: 250, Window: time.Hour}, // 720 an hour: 2.9 times
		{ID: "calm tokens/week", Where: map[string]string{"route": "fine"}, Unit: Tokens, Limit: 1e9, Window: 7 * 24 * time.Hour},
		{ID: "nobody's", Where: map[string]string{"route": "nobody"}, Unit: USD, Limit: 1, Window: time.Hour}}
	if got := bad(t, s, r, noon); !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
	r.Budgets[2].Limit = 150 // 4.8 times
	if got := bad(t, s, r, noon); !slices.Contains(got, "budget_burn budget=calm jobs/hour") {
		t.Errorf("got %s", strings.Join(got, ", "))
	}
	few := r
	few.Samples, few.Budgets = 100_000, nil
	if got := bad(t, s, few, noon); len(got) != 1 { // unpriced is a fact
		t.Errorf("of too few: %s", strings.Join(got, ", "))
	}
	if got := bad(t, s, Rules{Window: r.Window, Baseline: r.Baseline, Budgets: r.Budgets}, noon); len(got) != 0 {
		t.Errorf("all off: %s", strings.Join(got, ", "))
	}
	if got := bad(t, s, r, noon.Add(24*time.Hour)); len(got) != 0 {
		t.Errorf("without traffic: %s", strings.Join(got, ", "))
	}
}

// fixed gives a looker series without a database.
type fixed struct {
	Store
	latency []store.Slice
	window  []store.Slice
	asked   int
}

func (f *fixed) LatencySlices(_ context.Context, since, until time.Time, width time.Duration, _ float64) ([]store.Slice, error) {
	f.asked++
	if until.Sub(since) > width {
		return f.latency, nil
	}
	return f.window, nil
}

// A thousand windows of ordinary noise raise next to nothing, and windows half
// as slow again are nearly always found.
func TestFalseAlarms(t *testing.T) {
	rnd := rand.New(rand.NewPCG(11, 11))
	median := func(factor float64) store.Slice { // of 60 log-normal latencies
		v := make([]float64, 60)
		for i := range v {
			v[i] = factor * 800 * math.Exp(0.6*rnd.NormFloat64())
		}
		slices.Sort(v)
		return store.Slice{Keys: []string{"p", "m"}, N: 60, Value: (v[29] + v[30]) / 2}
	}
	r := rules()
	run := func(factor float64) int {
		alarms := 0
		for range 1000 {
			f := &fixed{}
			for range 72 {
				f.latency = append(f.latency, median(1))
			}
			f.window = []store.Slice{median(factor)}
			l := &looker{store: f, baselines: map[string]baseline{}}
			list, err := l.latencies(t.Context(), &r, noon)
			must(t, err)
			if len(list) != 1 {
				t.Fatalf("%d findings", len(list))
			}
			if list[0].bad {
				alarms++
			}
		}
		return alarms
	}
	if n := run(1); n > 2 {
		t.Errorf("%d false alarms in 1000 windows", n)
	}
	if n := run(1.8); n < 950 {
		t.Errorf("only %d of 1000 shifts by 80 %% were found", n)
	}
}

// A baseline is asked for once in a window, and again when the rules change.
func TestBaselinesAreKept(t *testing.T) {
	f := &fixed{}
	l := &looker{store: f, baselines: map[string]baseline{}}
	r := rules()
	for i, want := range []int{4, 6, 8, 12} { // two levels, each with and without its baseline
		now := noon.Add(time.Duration(i) * 4 * time.Minute)
		if i == 3 {
			now = noon.Add(10 * time.Minute)
		}
		_, err := l.latencies(t.Context(), &r, now)
		must(t, err)
		if f.asked != want {
			t.Errorf("look %d: asked %d times, want %d", i, f.asked, want)
		}
	}
	r.Window *= 2
	_, err := l.latencies(t.Context(), &r, noon.Add(11*time.Minute))
	must(t, err)
	if f.asked != 16 {
		t.Errorf("asked %d times", f.asked)
	}
}

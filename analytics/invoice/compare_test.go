package invoice

import (
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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func plainOf(t *testing.T, rows ...string) *Export {
	t.Helper()
	e, err := Read(strings.NewReader("day,model,input_tokens,output_tokens,cost_usd\n" + strings.Join(rows, "\n")))
	must(t, err)
	e, err = Merge([]*Export{e})
	must(t, err)
	return e
}

func ourLine(day, model string, input, written, output, cost int64) (Key, *Figures) {
	return Key{Day: day, Model: model}, &Figures{N: [kinds]int64{input, 7, written, output, cost}}
}

func ourLines(list ...any) map[Key]*Figures {
	m := map[Key]*Figures{}
	for i := 0; i < len(list); i += 2 {
		m[list[i].(Key)] = list[i+1].(*Figures)
	}
	return m
}

func states(r *Report) string {
	var out []string
	for _, l := range r.Lines {
		out = append(out, fmt.Sprint(l.Key.Day, " ", l.Key.Model, " ", l.State, " ", l.Beyond))
	}
	return strings.Join(out, "\n")
}

// The states of lines, the tolerance's edges, days outside, and what is merged.
func TestCompare(t *testing.T) {
	e := plainOf(t, "2026-03-14,a,1000,100,1.00", "2026-03-14,gone,5,5,0.50", "2026-03-14,nothing,0,0,0", "2026-03-15,a,1000,100,1.00", "2026-03-16,a,1000,100,1.00")
	m := ourLines()
	for _, x := range []struct {
		day, model                   string
		input, written, output, cost int64
	}{
		{"2026-03-13", "a", 9, 9, 9, 9}, // before the export begins
		{"2026-03-14", "a", 900, 90, 99, 990_000_000},
		{"2026-03-14", "idle", 0, 0, 0, 0},
		{"2026-03-15", "a", 900, 89, 98, 980_000_000},
		{"2026-03-15", "mine", 1, 0, 0, 20_000_000},
		{"2026-03-16", "a", 1000, 0, 100, 1_000_000_000},
	} {
		k, f := ourLine(x.day, x.model, x.input, x.written, x.output, x.cost)
		m[k] = f
	}
	r := Compare(e, m, Options{Relative: 0.01, Nanos: 10_000_000})
	want := "2026-03-14 a same []\n2026-03-14 gone unknown [input_tokens output_tokens cost_usd]\n" +
		"2026-03-15 a differs [input_tokens output_tokens cost_usd]\n2026-03-15 mine unpaid [input_tokens cost_usd]\n2026-03-16 a same []"
	if got := states(r); got != want || r.Different() != 3 {
		t.Errorf("%d differ\n%s", r.Different(), got)
	}
	if r.Theirs.N != [kinds]int64{3005, 0, 0, 305, 3_500_000_000} || r.Ours.N != [kinds]int64{2980, 0, 0, 297, 2_990_000_000} {
		t.Errorf("sums %v and %v", r.Theirs.N, r.Ours.N)
	}
	// Of all days together a is 1.5 % off, and only then what is missing counts.
	r = Compare(e, m, Options{Relative: 0.02, Nanos: 10_000_000, Whole: true})
	if got := states(r); got != " a same []\n gone unknown [input_tokens output_tokens cost_usd]\n mine unpaid [input_tokens cost_usd]" {
		t.Errorf("got\n%s", got)
	}
	if r = Compare(e, m, Options{Since: "2026-03-16", Until: "2026-03-20"}); states(r) != "2026-03-16 a same []" || r.First != "2026-03-16" || r.Last != "2026-03-16" {
		t.Errorf("%s to %s\n%s", r.First, r.Last, states(r))
	}
}

// What the console has rounded is no difference; without that slack it is.
func TestRoundedAmounts(t *testing.T) {
	e := files(t, "anthropic-costs.csv")
	k, f := ourLine("2026-03-14", "claude-haiku-4-5", 0, 0, 0, 79_999_999) // theirs: 0.05 + 0.02, each within half a cent
	r := Compare(e, ourLines(k, f), Options{})
	if r.Lines[0].State != Same || r.Lines[0].Key.Model != "claude-haiku-4-5" {
		t.Errorf("got\n%s", states(r))
	}
	f.N[Cost] = 80_000_001
	if r = Compare(e, ourLines(k, f), Options{}); r.Lines[0].State != Differs {
		t.Errorf("got\n%s", states(r))
	}
}

// Names of one model meet however they are written, and stay apart where both
// sides tell them apart.
func TestModelNames(t *testing.T) {
	for _, pair := range [][2]string{{"Claude Haiku 4.5", "claude-haiku-4-5-20251001"}, {"gpt-4o-2024-08-06", "gpt-4o"}, {"gpt-4.1-mini-2025-04-14", "gpt-4.1-mini"},
		{"Claude 3.5 Sonnet 2024-10-22", "claude-3-5-sonnet-latest"}, {"claude-sonnet-4@20250514", "claude-sonnet-4-20250514"}} {
		if a, b := family(pair[0]), family(pair[1]); a != b {
			t.Errorf("%s is %s, %s is %s", pair[0], a, pair[1], b)
		}
	}
	for _, pair := range [][2]string{{"gpt-4o", "gpt-4o-mini"}, {"ft:gpt-4o-2024-08-06:a::b", "gpt-4o"}, {"o3", "o3-pro"}} {
		if family(pair[0]) == family(pair[1]) {
			t.Errorf("%v are one", pair)
		}
	}
	const day = "2026-03-14"
	for name, x := range map[string]struct {
		theirs, ours []string
		alias        map[string]string
		want         string
	}{
		"dated there":         {[]string{"gpt-4o-2024-08-06"}, []string{"gpt-4o"}, nil, "gpt-4o"},
		"dated on both sides": {[]string{"gpt-4o-2024-05-13", "gpt-4o-2024-08-06"}, []string{"gpt-4o-2024-08-06", "gpt-4o-2024-05-13"}, nil, "gpt-4o-2024-05-13 gpt-4o-2024-08-06"},
		"two and one":         {[]string{"gpt-4o-2024-05-13", "gpt-4o-2024-08-06"}, []string{"gpt-4o", "gpt-4o-2024-08-06"}, nil, "gpt-4o"},
		"alias":               {[]string{"deployment-7"}, []string{"gpt-4o"}, map[string]string{"deployment-7": "gpt-4o"}, "gpt-4o"},
	} {
		a, b := map[Key]*Figures{}, map[Key]*Figures{}
		for _, m := range x.theirs {
			plus(a, Key{Day: day, Model: m}, &Figures{N: [kinds]int64{Cost: 10 / int64(len(x.theirs))}})
		}
		for _, m := range x.ours {
			plus(b, Key{Day: day, Model: m}, &Figures{N: [kinds]int64{Cost: 10 / int64(len(x.ours))}})
		}
		e := &Export{lines: a, First: day, Last: day}
		e.has[Cost] = true
		r := Compare(e, b, Options{Aliases: x.alias})
		var got []string
		for _, l := range r.Lines {
			got = append(got, l.Key.Model)
		}
		if strings.Join(got, " ") != x.want || r.Different() != 0 {
			t.Errorf("%s: got\n%s", name, states(r))
		}
	}
}

// books are a provider's own: what its calls used, summed up by day and model
// and written as the export of its API.
type books map[Key]*Figures

func (b books) costs(factor float64) string {
	var out []string
	for k, f := range b {
		t, _ := time.Parse(time.DateOnly, k.Day)
		for kind, part := range map[Kind]string{Input: "input", CacheRead: "cached input", Output: "output"} {
			share := float64(f.N[Cost]) / 3 * factor
			out = append(out, fmt.Sprintf(`{"start_time":%d,"end_time":%d,"results":[{"amount":{"value":%.12f,"currency":"usd"},"line_item":"%s-2024-08-06, %s","quantity":%d,"quantity_unit":"tokens"}]}`,
				t.Unix(), t.Unix()+86400, share/1e9, k.Model, part, f.N[kind]))
		}
	}
	return `{"object":"page","data":[` + strings.Join(out, ",") + `],"has_more":false}`
}

// Calls of several days, models and providers in the real tables agree with
// the provider's export, to the nano-dollar's rounding; one call that it does
// not know, one day that it lacks and a wrong price are found.
func TestAgainstTables(t *testing.T) {
	s := storetest.Open(t)
	r := rand.New(rand.NewPCG(5, 5))
	b := books{}
	start := time.Date(2026, 3, 14, 0, 0, 0, 0, time.UTC)
	var rows []store.Attempt
	for i := range 600 {
		model, provider := []string{"gpt-4o", "gpt-4o-mini", "o3"}[r.IntN(3)], "openai"
		if r.IntN(4) == 0 {
			model, provider = "claude-sonnet-4-5", "anthropic"
		}
		a := &wire.Attempt{N: 1, Pool: provider + "-eu", Provider: provider, Model: model, Status: wire.Succeeded, HTTP: 200, LatencyMS: 5,
			Price: &wire.Price{Version: "v", Input: 2_500_000, CacheRead: 1_250_000, Output: 10_000_000, Reasoning: 10_000_000}}
		a.Settle(wire.Usage{Input: r.Int64N(5000), CacheRead: r.Int64N(900), Output: r.Int64N(800), Reasoning: r.Int64N(300)}, wire.UsageFromProvider)
		ts := start.Add(time.Duration(i) * 72 * time.Hour / 600)
		rows = append(rows, store.Attempt{Seq: uint64(i + 1), TS: ts, Attempt: a,
			Job: &wire.Meta{ID: fmt.Sprint("j", i), Tenant: "t", Class: wire.Standard, Endpoint: wire.ChatCompletions, Route: "chat", SubmittedAt: ts.UnixNano()}})
		if provider == "openai" {
			plus(b, Key{Day: ts.Format(time.DateOnly), Model: model}, &Figures{N: [kinds]int64{a.Usage.Input, a.Usage.CacheRead, 0, a.Usage.Output + a.Usage.Reasoning, int64(*a.Cost)}})
		}
	}
	guessed := slices.IndexFunc(rows, func(r store.Attempt) bool { return r.Attempt.Provider == "openai" })
	rows[guessed].Attempt.Source = wire.UsageEstimated
	for i := 0; i < len(rows); i += 200 {
		must(t, s.InsertAttempts(t.Context(), rows[i:i+200]))
	}
	reconcile := func(text string, o Options) *Report {
		t.Helper()
		e, err := Read(strings.NewReader(text))
		must(t, err)
		e, err = Merge([]*Export{e})
		must(t, err)
		ours, err := Ours(t.Context(), s, e, map[string]string{"provider": "openai"})
		must(t, err)
		return Compare(e, ours, o)
	}
	exact := Options{Nanos: 3}
	if rep := reconcile(b.costs(1), exact); rep.Different() != 0 || len(rep.Lines) != 9 || len(rep.Kinds) != 5 {
		t.Errorf("%d differ\n%s", rep.Different(), states(rep))
	}
	if rep := reconcile(b.costs(1.02), Options{Relative: 0.01}); rep.Different() != 9 || fmt.Sprint(rep.Lines[0].Beyond) != "[cost_usd]" {
		t.Errorf("a price that is 2 %% off\n%s", states(rep))
	}
	first := Key{Day: "2026-03-14", Model: "o3"}
	had := *b[first]
	b[first].N[Output]++
	rep := reconcile(b.costs(1), exact)
	if rep.Different() != 1 || rep.Lines[2].Key.Model != "o3" || fmt.Sprint(rep.Lines[2].Beyond) != "[output_tokens]" {
		t.Errorf("one token\n%s", states(rep))
	}
	*b[first] = had
	delete(b, Key{Day: "2026-03-15", Model: "gpt-4o"})
	b[Key{Day: "2026-03-16", Model: "gpt-5"}] = &Figures{N: [kinds]int64{1, 0, 0, 0, 30}}
	rep = reconcile(b.costs(1), exact)
	if rep.Different() != 2 || !strings.Contains(states(rep), "2026-03-15 gpt-4o unpaid") || !strings.Contains(states(rep), "2026-03-16 gpt-5-2024-08-06 unknown") {
		t.Errorf("%s", states(rep))
	}
	estimated := uint64(0)
	for _, l := range rep.Lines {
		estimated += l.Ours.Estimated
	}
	if estimated != 1 {
		t.Errorf("%d estimated attempts, want 1", estimated)
	}
}

// The tables' own figures, written as a plain CSV by SQL, agree with the tables.
func TestPlainOfSQL(t *testing.T) {
	s := storetest.Open(t)
	a := &wire.Attempt{N: 1, Pool: "p", Provider: "x", Model: "m", Status: wire.Succeeded, Price: &wire.Price{Version: "v", Input: 1_000_000, Output: 1_000_000}}
	a.Settle(wire.Usage{Input: 10, CacheWrite: 3, Output: 5, Reasoning: 2}, wire.UsageFromProvider)
	ts := time.Date(2026, 3, 14, 23, 59, 59, 0, time.UTC)
	must(t, s.InsertAttempts(t.Context(), []store.Attempt{{Seq: 1, TS: ts, Attempt: a, Job: &wire.Meta{ID: "j", Tenant: "t", SubmittedAt: 1}}}))
	rows, err := s.Query(t.Context(), `SELECT toString(toDate(ts)), provider, pool, model, toString(sum(input_tokens)), toString(sum(cache_write_tokens)),
		toString(sum(output_tokens)), toString(sum(reasoning_tokens)), toString(sum(cost_usd)) FROM attempts GROUP BY 1, 2, 3, 4`)
	must(t, err)
	defer rows.Close()
	text := "day,provider,pool,model,input_tokens,cache_write_tokens,output_tokens,reasoning_tokens,cost_usd\n"
	for rows.Next() {
		text += strings.Trim(strings.ReplaceAll(fmt.Sprint(rows.Values()), " ", ","), "[]") + "\n"
	}
	e, err := Read(strings.NewReader(text))
	must(t, err)
	if e, err = Merge([]*Export{e}); err != nil || fmt.Sprint(e.By()) != "[day provider pool model]" {
		t.Fatalf("%v, %v", e.By(), err)
	}
	ours, err := Ours(t.Context(), s, e, nil)
	must(t, err)
	if r := Compare(e, ours, Options{}); r.Different() != 0 || len(r.Lines) != 1 {
		t.Errorf("%s\n%s", text, states(r))
	}
}

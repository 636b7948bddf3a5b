package cli

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
	"github.com/sluicehq/sluice/sdk/wire"
)

func TestTable(t *testing.T) {
	tb := newTable("NAME", ">N", "REST")
	tb.row("a", "1")
	tb.row("größer\tals", "1000", "x\x1b[2J\u202e")
	var b strings.Builder
	if err := tb.print(&b); err != nil {
		t.Fatal(err)
	}
	want := "NAME           N  REST\n" +
		"a              1\n" +
		"größer·als  1000  x·[2J·\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	if err := tb.print(broken{}); err == nil {
		t.Error("a failing writer is reported")
	}
}

// broken is a writer that fails.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("pipe closed") }

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain ü 👩‍🚀": "plain ü 👩‍🚀", "a\nb": "a·b", "\x1b]0;x\x07": "·]0;x·", "\xff": "·", "\u2066x": "·x", "\u009bm": "·m",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := cleanLines("a\tb\r\n\x1bc\n"); got != "a    b·\n·c\n" {
		t.Errorf("got %q", got)
	}
}

func TestMoney(t *testing.T) {
	n := wire.NanoUSD(1_234_567_890)
	zero := wire.NanoUSD(0)
	for _, tc := range []struct{ got, want string }{
		{cost(&n, true), "$1.234567890"}, {cost(nil, false), "cost unknown"}, {cost(&zero, false), "cost unknown"},
		{cost(&n, false), "$1.234567890 and an unknown part"}, {cost(&zero, true), "$0.000000000"},
		{usd(&n), "1.234567890"}, {usd(nil), "?"}, {count(1, "job"), "1 job"}, {count(0, "job"), "0 jobs"},
	} {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
}

// rows is a result made of values.
type rows struct {
	columns []store.Column
	values  [][]any
	at      int
	err     error
}

func (r *rows) Columns() []store.Column { return r.columns }
func (r *rows) Next() bool              { r.at++; return r.at <= len(r.values) }
func (r *rows) Values() []any           { return r.values[r.at-1] }
func (r *rows) Err() error              { return r.err }

func example() *rows {
	return &rows{
		columns: []store.Column{{Name: "n", Type: "UInt64"}, {Name: "name", Type: "String"}, {Name: "x", Type: "Nullable(Float64)"}, {Name: "m", Type: "Map(String, String)"}, {Name: "t", Type: "DateTime"}},
		values: [][]any{
			{uint64(math.MaxUint64), "a,\"b\"\n", nil, map[string]string{"k": "v"}, time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)},
			{uint64(7), "", math.NaN(), map[string]string{}, time.Time{}},
		},
	}
}

func TestRowsAsTable(t *testing.T) {
	var b strings.Builder
	if err := printRowsTable(&b, example()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[2], strings.Repeat(" ", 19)+"7 ") {
		t.Errorf("got\n%s", b.String())
	}
	wants(t, b.String(), "18446744073709551615  a,\"b\"·", `{"k":"v"}`, "2026-01-02 03:04:05.000006")

	large := &rows{columns: []store.Column{{Name: "n", Type: "Int8"}}}
	for i := range 2*tableWindow + 3 {
		large.values = append(large.values, []any{i})
	}
	b.Reset()
	if err := printRowsTable(&b, large); err != nil || strings.Count(b.String(), "\n") != len(large.values)+1 || strings.Count(b.String(), "n") != 1 {
		t.Errorf("a large result: %v, %d lines", err, strings.Count(b.String(), "\n"))
	}
	b.Reset()
	if err := printRowsTable(&b, &rows{}); err != nil || b.Len() != 0 {
		t.Errorf("no columns: %q, %v", b.String(), err)
	}
	cut := example()
	cut.err = errors.New("cut off")
	for name, print := range map[string]func(*rows) error{
		"table": func(r *rows) error { return printRowsTable(&b, r) },
		"csv":   func(r *rows) error { return printRowsCSV(&b, r) },
		"json":  func(r *rows) error { return printRowsJSON(&b, r) },
		"none":  func(*rows) error { return printRowsTable(&b, &rows{err: cut.err}) },
	} {
		cut.at = 0
		if err := print(cut); err == nil || !strings.Contains(err.Error(), "cut off") {
			t.Errorf("%s: a result that was cut is an error, not an end: %v", name, err)
		}
	}
}

func TestRowsAsCSVAndJSON(t *testing.T) {
	var b strings.Builder
	if err := printRowsCSV(&b, example()); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
	if err != nil || len(records) != 3 || records[1][1] != "a,\"b\"\n" || records[1][2] != "" || records[0][4] != "t" {
		t.Errorf("got %q, %v", records, err)
	}
	b.Reset()
	if err := printRowsJSON(&b, example()); err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	dec := json.NewDecoder(strings.NewReader(b.String()))
	dec.UseNumber()
	if err := dec.Decode(&list); err != nil || len(list) != 2 || list[0]["n"] != json.Number("18446744073709551615") || list[1]["x"] != nil || list[0]["x"] != nil {
		t.Errorf("got %v, %v in\n%s", list, err, b.String())
	}
	b.Reset()
	if err := printRowsJSON(&b, &rows{}); err != nil || !json.Valid([]byte(b.String())) {
		t.Errorf("no rows: %q, %v", b.String(), err)
	}
	if err := printRowsCSV(broken{}, example()); err == nil {
		t.Error("a failing writer is reported")
	}
}

func TestCostTable(t *testing.T) {
	list := []store.CostRow{
		{Keys: []string{"p", "m"}, Spend: 1_500_000_000, Attempts: 3, Failed: 1, Jobs: 2, Usage: wire.Usage{Input: 1, CacheRead: 2, Output: 4, Reasoning: 5}, Latency: store.Quantiles{P50: 12.4}, Wasted: 7},
		{Keys: []string{"q", "m"}, Spend: 1, Attempts: 1, Unknown: 1, Failed: 1},
	}
	q := &store.CostQuery{By: []string{"pool", "label:team"}}
	var b strings.Builder
	if err := costTable(q, list).print(&b); err != nil {
		t.Fatal(err)
	}
	wants(t, b.String(), "POOL   LABEL:TEAM", "33.3%", "1.500000001", "total", "50.0%", "          3           9      12", "0.000000007")
	if strings.Count(b.String(), "\n") != 4 {
		t.Errorf("got\n%s", b.String())
	}
	b.Reset()
	if err := costTable(q, list[1:]).print(&b); err != nil || strings.Contains(b.String(), "P50") || strings.Contains(b.String(), "JOBS") {
		t.Errorf("columns of what nobody knows: %s, %v", b.String(), err)
	}
	b.Reset()
	if err := costTable(&store.CostQuery{}, list[:1]).print(&b); err != nil || strings.Contains(b.String(), "total") {
		t.Errorf("one row needs no total: %s, %v", b.String(), err)
	}
	text, err := json.Marshal(costJSON(q.By, list))
	if err != nil {
		t.Fatal(err)
	}
	wants(t, string(text), `"cost_nano_usd":1500000001`, `"cost_usd":"1.500000001"`, `"label:team":"m"`, `"unknown_cost":1`)
}

// TestAskClickHouse runs jobs through a whole broker into the real ClickHouse
// and asks what they cost.
func TestAskClickHouse(t *testing.T) {
	dsn := storetest.DSN(t)
	tm := startBroker(t, dsn)
	spent := int64(0)
	for i := range 3 {
		var a answered
		tm.json(&a, "submit", "--label", "team=docs", "--id", fmt.Sprint("job-", i), "Why?")
		spent += *a.Cost
	}
	tm.ok("submit", "--model", "unknown-cost", "Why?")
	until := time.Now().Add(20 * time.Second)
	for tm.run("sql", "SELECT count() FROM attempts", "--csv").out != "count()\n4\n" { // the tables come first, then the rows
		if time.Now().After(until) {
			t.Fatalf("the rows do not come: %s", tm.ok("sql", "SELECT * FROM attempts"))
		}
	}
	var sum struct {
		Rows  []struct{ By map[string]string }
		Total struct {
			Attempts int64
			Unknown  int64 `json:"unknown_cost"`
			Cost     int64 `json:"cost_nano_usd"`
		}
	}
	tm.json(&sum, "cost", "--by", "pool,model", "--since", "1h")
	if sum.Total.Attempts != 4 || sum.Total.Cost != spent || sum.Total.Unknown != 1 || len(sum.Rows) != 2 || sum.Rows[0].By["pool"] != "good" {
		t.Errorf("got %+v, spent %d", sum, spent)
	}
	if tm.json(&sum, "cost", "--by", "label:team", "--where", "label:team=docs", "--since", "all"); sum.Total.Attempts != 3 || sum.Total.Cost != spent {
		t.Errorf("got %+v", sum)
	}
	if tm.json(&sum, "cost", "--since", "2d", "--until", "1d"); sum.Total.Attempts != 0 {
		t.Errorf("got %+v", sum)
	}
	r := tm.run("cost", "--by", "")
	wants(t, r.out+r.err, "ATTEMPTS", wire.NanoUSD(spent).String(), "the cost of 1 attempt is not known")
	if strings.Contains(r.out, "JOBS") {
		t.Errorf("a column of jobs that are not counted: %s", r.out)
	}
	wants(t, tm.ok("cost", "--rows"), "good", "free", "JOBS")
	wants(t, tm.ok("cost", "jobs", "--by", "tenant,status"), "USD/SUCCESS", "default  succeeded     4     100.0%")
	wants(t, tm.ok("cost", "dearest", "--limit", "2"), "JOB", "job-", "succeeded")
	wants(t, tm.ok("cost", "waste"), "REASON")
	wants(t, tm.ok("cost", "shares", "--where", "route=unknown-cost"), "ROUTE", "free", "100.0%")
	wants(t, tm.ok("cost", "cache", "--json"), `"rows"`)

	tm.in = "SELECT tenant, sum(cost_nano_usd) AS spent FROM attempts GROUP BY tenant"
	wants(t, tm.ok("sql", "-"), "tenant   spent\ndefault  ", fmt.Sprint(spent))
	var list []map[string]any
	if tm.json(&list, "sql", "SELECT job_id, cost_usd FROM attempts WHERE pool = 'good' ORDER BY job_id"); len(list) != 3 || list[0]["job_id"] != "job-0" {
		t.Errorf("got %v", list)
	}
	if r := tm.run("sql", "SELECT nothing"); r.code != 1 || r.out != "" || !strings.Contains(r.err, "nothing") {
		t.Errorf("got %+v", r)
	}
	r = tm.run("doctor")
	if r.code != 0 {
		t.Errorf("status %d", r.code)
	}
	wants(t, r.out, "ok    clickhouse", "warn  prices        1 attempt of free/x (simulated) without a known cost")
}

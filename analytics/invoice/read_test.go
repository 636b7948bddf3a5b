package invoice

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// told writes an export as lines, for comparison.
func told(e *Export) []string {
	var out []string
	for _, k := range slices.SortedFunc(maps.Keys(e.lines), Key.compare) {
		s := strings.Join(slices.DeleteFunc([]string{k.Day, k.Provider, k.Pool, k.Model}, func(s string) bool { return s == "" }), "|")
		for kind := range kinds {
			if e.has[kind] {
				s += " " + kind.Show(e.lines[k].N[kind])
			}
		}
		out = append(out, s)
	}
	return out
}

func files(t *testing.T, names ...string) *Export {
	t.Helper()
	paths := make([]string, len(names))
	for i, n := range names {
		paths[i] = filepath.Join("testdata", n)
	}
	e, err := ReadFiles(paths)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The figures of each kind of export are what the file says, by day and model.
func TestReadExports(t *testing.T) {
	openAICost := []string{
		"2026-03-14|gpt-4o-mini-2024-07-18 1000000 200000 0 100000 0.225000000",
		"2026-03-15|gpt-4o-2024-08-06 1 0 0 0 0.000002500",
		"2026-03-15|web search tool calls 0 0 0 0 1.250000000"}
	for name, x := range map[string]struct {
		files    []string
		provider string
		has      string
		first    string
		last     string
		lines    []string
		warnings int
	}{
		"openai costs csv":  {[]string{"openai-costs.csv"}, "openai", "11111", "2026-03-13", "2026-03-15", openAICost, 0},
		"openai costs json": {[]string{"openai-costs.json"}, "openai", "11111", "2026-03-14", "2026-03-15", openAICost, 0},
		"openai usage csv": {[]string{"openai-usage.csv"}, "openai", "11110", "2026-03-14", "2026-03-16", []string{
			"2026-03-14|gpt-4o-mini-2024-07-18 1000000 200000 0 100000", "2026-03-15|gpt-4o-2024-08-06 1 0 0 0"}, 0},
		"openai usage json, by hour": {[]string{"openai-usage.json"}, "openai", "11010", "2026-03-14", "2026-03-15", []string{
			"2026-03-14|gpt-4o-mini-2024-07-18 1000000 200000 100000", "2026-03-15|text-embedding-3-small 20 0 0"}, 0},
		"openai both: the usage counts the tokens": {[]string{"openai-costs.csv", "openai-usage.csv"}, "openai", "11111", "2026-03-13", "2026-03-16", openAICost, 0},
		"anthropic costs json": {[]string{"anthropic-costs.json"}, "anthropic", "00001", "2026-03-14", "2026-03-15", []string{
			"2026-03-14|Web Search Usage 0.100000000", "2026-03-14|claude-sonnet-4-20250514 2.000000000"}, 1},
		"anthropic usage json": {[]string{"anthropic-usage.json"}, "anthropic", "11110", "2026-03-14", "2026-03-14", []string{
			"2026-03-14|claude-sonnet-4-20250514 2000 200 1500 600"}, 0},
		"anthropic costs csv": {[]string{"anthropic-costs.csv"}, "anthropic", "00001", "2026-03-14", "2026-03-15", []string{
			"2026-03-14|Claude Haiku 4.5 0.070000000", "2026-03-15|Claude Sonnet 4.5 0.100000000", "2026-03-15|web_search 0.100000000"}, 0},
		"anthropic usage csv": {[]string{"anthropic-usage.csv"}, "anthropic", "11110", "2026-03-14", "2026-03-15", []string{
			"2026-03-14|claude-haiku-4-5-20251001 50000 1000 500 4000", "2026-03-15|claude-sonnet-4-5-20250929 0 333333 0 0"}, 0},
		"plain": {[]string{"plain.csv"}, "", "11111", "2026-03-14", "2026-03-14", []string{
			"2026-03-14|together-ai|together|meta-llama/Llama-3.3-70B 1500 0 0 500 0.001320000"}, 0},
	} {
		e := files(t, x.files...)
		has := ""
		for kind := range kinds {
			has += map[bool]string{true: "1", false: "0"}[e.Has(kind)]
		}
		if got := told(e); !reflect.DeepEqual(got, x.lines) || e.Provider != x.provider || has != x.has || e.First != x.first || e.Last != x.last || len(e.Warnings) != x.warnings {
			t.Errorf("%s: %s has %s, %s to %s, warnings %q\n%s", name, e.Provider, has, e.First, e.Last, e.Warnings, strings.Join(got, "\n"))
		}
	}
}

// Two pages of one report, in two files, are one export.
func TestPagesInFiles(t *testing.T) {
	text, err := os.ReadFile("testdata/openai-costs.json")
	if err != nil {
		t.Fatal(err)
	}
	one, two, _ := strings.Cut(string(text), "\n{\"object\": \"page\"")
	var parts []*Export
	for _, s := range []string{one, "{\"object\": \"page\"" + two} {
		e, err := Read(strings.NewReader(s))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, e)
	}
	e, err := Merge(parts)
	if err != nil {
		t.Fatal(err)
	}
	if whole := files(t, "openai-costs.json"); !reflect.DeepEqual(told(e), told(whole)) {
		t.Errorf("got %s", strings.Join(told(e), "\n"))
	}
	if len(e.Warnings) != 1 {
		t.Errorf("warnings %q: of the first file one does not know", e.Warnings)
	}
}

// Costs whose lines do not all have a quantity tell no tokens.
func TestQuantitiesCountWhenComplete(t *testing.T) {
	text := `{"data":[{"start_time":1773446400,"end_time":1773532800,"results":[
		{"amount":{"value":1,"currency":"usd"},"line_item":"m, input","quantity":5,"quantity_unit":"tokens"},
		{"amount":{"value":2,"currency":"usd"},"line_item":"m, output"}]}]}`
	e, err := Read(strings.NewReader(text))
	if err != nil || e.Has(Input) || !e.Has(Cost) {
		t.Errorf("%+v, %v", e, err)
	}
	// Without groups a line is a whole day.
	e, err = Read(strings.NewReader(`{"data":[{"start_time":1773446400,"end_time":1773532800,"results":[{"amount":{"value":0.06,"currency":"usd"},"line_item":null}]}]}`))
	if err != nil || fmt.Sprint(e.By()) != "[day]" || fmt.Sprint(told(e)) != "[2026-03-14 0.060000000]" {
		t.Errorf("%v, %v", told(e), err)
	}
}

// What cannot be read is an error that says where, and nothing is skipped.
func TestBadExports(t *testing.T) {
	const head = "start_time,end_time,amount_value,amount_currency,line_item\n"
	for text, want := range map[string]string{
		"":                                  "is empty",
		"  \n":                              "is empty",
		"a,b\n1,2\n":                        "of no export that is known",
		"day,cost_usd\n2026-03-14,x\n":      "line 2: amount: \"x\" is not a number",
		"day,cost_usd\n2026-03-14,1e9999\n": "is not a number",
		"day,cost_usd\n2026-03-14,0x10\n":   "is not a number",
		"day,cost_usd\n2026-03-14,1e200\n":  "out of range",
		"day,cost_usd\n14.3.,1\n":           "is not a day",
		"day,cost_usd\n2026-03-14,1,2\n":    "wrong number of fields",
		"day,input_tokens,cost_usd\n2026-03-14,,1\n": "line 2: input_tokens is empty",
		"day,input_tokens\n2026-03-14,-4\n":          "is not a number of tokens",
		head + "1773446400,1774051200,1,usd,x\n":     "is more than a day",
		head + "1773450000,1773536400,1,usd,x\n":     "is more than a day", // not UTC's
		head + "1773446400,1773532800,1,eur,x\n":     "only dollars",
		head + "yesterday,1773532800,1,usd,x\n":      "no Unix time",
		head + "1773446400,tomorrow,1,usd,x\n":       "no Unix time",
		"{":                                          "after 0 pages",
		"{}":                                         "no report of OpenAI or Anthropic",
		`{"data":[{"results":[]}]}`:                  "neither start_time",
		`{"data":[{"start_time":1773446400,"end_time":1773532800,"results":[{}]}]}`:                                                         "has no tokens",
		`{"data":[{"starting_at":"2026-03-14T00:00:00Z","ending_at":"2026-03-15T00:00:00Z","results":[{}]}]}`:                               "neither an amount",
		`{"data":[{"starting_at":"2026-03-14T00:00:00Z","ending_at":"2026-03-15T00:00:00Z","results":[{"amount":"5","currency":"EUR"}]}]}`:  "only dollars",
		`{"data":[{"starting_at":"2026-03-14T00:00:00Z","ending_at":"2026-03-15T00:00:00Z","results":[]},{"start_time":1,"end_time":2}]}`:   "those before are anthropic's",
		`{"data":[{"start_time":1773446400,"end_time":1773532800,"results":[{"input_tokens":1},{"amount":{"value":1,"currency":"usd"}}]}]}`: "use one file for each",
		`{"data":[{"start_time":1773446400,"end_time":1773532800,"results":[{"amount":{"value":"one","currency":"usd"}}]}]}`:                "is not a number",
		`{"data":[{"start_time":1773446400,"end_time":1773532800,"results":[{"amount":5}]}]}`:                                               "amount:",
	} {
		if e, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v, want an error with %q", text, e, err, want)
		}
	}
	for _, pair := range [][2]string{{"openai-costs.csv", "anthropic-costs.csv"}, {"plain.csv", "no-such-file"}} {
		if _, err := ReadFiles([]string{filepath.Join("testdata", pair[0]), filepath.Join("testdata", pair[1])}); err == nil {
			t.Errorf("%v are one export", pair)
		}
	}
	empty, err := Read(strings.NewReader(`{"data":[{"start_time":1773446400,"end_time":1773532800,"results":[]}]}`))
	if err == nil {
		_, err = Merge([]*Export{empty})
	}
	if err == nil || !strings.Contains(err.Error(), "no figures") {
		t.Errorf("got %v", err)
	}
}

// Whatever comes, reading ends with figures or an error.
func FuzzRead(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.*")
	for _, n := range names {
		if text, err := os.ReadFile(n); err == nil {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := Read(strings.NewReader(string(text)))
		if err != nil {
			return
		}
		for k := range e.lines {
			if k.Day < e.First || k.Day > e.Last {
				t.Errorf("a line of %q lies outside %s to %s", k.Day, e.First, e.Last)
			}
		}
		if _, err := Merge([]*Export{e, e}); err == nil && len(e.lines) > 0 && e.First == "" {
			t.Error("lines without days")
		}
	})
}

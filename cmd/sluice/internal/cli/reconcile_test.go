package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store/storetest"
)

// TestReconcile runs jobs through a whole broker into the real ClickHouse, and
// compares them with what the answers said was used: as the provider's plain
// CSV, and as a page of OpenAI's cost API.
func TestReconcile(t *testing.T) {
	tm := startBroker(t, storetest.DSN(t))
	var input, output, cost int64
	before := time.Now().UTC().Format(time.DateOnly)
	for i := range 3 {
		var a struct {
			Cost  int64 `json:"cost_nano_usd"`
			Usage struct {
				Input  int64 `json:"input_tokens"`
				Output int64 `json:"output_tokens"`
			}
		}
		tm.json(&a, "submit", "--id", fmt.Sprint("r", i), "Why is the sky blue?")
		input, output, cost = input+a.Usage.Input, output+a.Usage.Output, cost+a.Cost
	}
	if cost == 0 || input == 0 || output == 0 {
		t.Fatalf("used %d, %d for %d", input, output, cost)
	}
	eventually(t, "the rows are there", func() bool { return tm.run("sql", "SELECT count() FROM attempts", "--csv").out == "count()\n3\n" })
	day := time.Now().UTC().Format(time.DateOnly)
	if day != before {
		t.Skip("SKIPPED: a day began between the jobs")
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bill := func(output, cost int64) string {
		return fmt.Sprintf("day,model,pool,input_tokens,output_tokens,cost_usd\n%s,m,good,%d,%d,0.%09d\n", day, input, output, cost)
	}
	right := file("right.csv", bill(output, cost))
	out := tm.ok("cost", "reconcile", right, "--tolerance", "0", "--tolerance-usd", "0")
	wants(t, out, day+" to "+day+", plain: 1 line compared, 0 lines beyond 0", fmt.Sprintf("output_tokens %d theirs, %d ours", output, output))
	wants(t, tm.ok("cost", "reconcile", right, "--all"), "DAY", "POOL", "MODEL", "good  m      input_tokens")

	wrong := file("wrong.csv", bill(output+10, cost)+day+",other,good,5,5,0.50\n")
	r := tm.run("cost", "reconcile", wrong)
	if r.code != 1 || r.err != "" {
		t.Errorf("got %+v", r)
	}
	wants(t, r.out, "output_tokens", "-10", "not in our tables", "2 lines compared, 2 lines beyond 1%")
	var report struct {
		Different int
		Formats   []string
		Lines     []struct {
			Day, Pool, Model, State string
			Beyond                  []string
			Theirs, Ours            map[string]int64
		}
	}
	if r := tm.json(&report, "cost", "reconcile", wrong); r.code != 1 || report.Different != 2 || report.Lines[0].State != "differs" || report.Lines[1].State != "unknown" ||
		report.Lines[0].Theirs["output_tokens"] != output+10 || report.Lines[0].Ours["cost_nano_usd"] != cost {
		t.Errorf("got %+v", r)
	}
	if r := tm.run("cost", "reconcile", wrong, "--where", "pool=nobody"); r.code != 1 || strings.Count(r.out, "not in our tables") < 2 {
		t.Errorf("got %+v", r)
	}

	start := time.Now().UTC().Truncate(24 * time.Hour).Unix()
	page, _ := json.Marshal(map[string]any{"object": "page", "has_more": false, "data": []any{map[string]any{"object": "bucket", "start_time": start, "end_time": start + 86400,
		"results": []any{map[string]any{"object": "organization.costs.result", "line_item": "deployment, output", "amount": map[string]any{"value": float64(cost) / 1e9, "currency": "usd"}}}}}})
	costs := file("costs.json", string(page))
	tm.ok("cost", "reconcile", costs, "--alias", "deployment=m", "--where", "pool=good", "--tolerance-usd", "0.000000001")
	if r := tm.run("cost", "reconcile", costs); r.code != 0 || !strings.Contains(r.out, "0 lines beyond") { // less than a cent, and none of ours is OpenAI's
		t.Errorf("got %+v", r)
	}
	if r := tm.run("cost", "reconcile", costs, "--tolerance-usd", "0"); r.code != 1 || !strings.Contains(r.out, "not in our tables") {
		t.Errorf("got %+v", r)
	}
	tm.ok("cost", "reconcile", wrong, "--since", "2020-01-01", "--until", "2020-01-02")
	for want, args := range map[string][]string{
		"takes the files":        {},
		"must be a share":        {right, "--tolerance", "half"},
		"must be a share from 0": {right, "--tolerance", "NaN"},
		"must be dollars":        {right, "--tolerance-usd", "-1"},
		"is no day":              {right, "--since", "24h"},
		"is not THEIRS=OURS":     {right, "--alias", "a"},
		"there is no dimension":  {right, "--where", "colour=red"},
	} {
		if r := tm.run(append([]string{"cost", "reconcile"}, args...)...); r.code != 2 || !strings.Contains(r.err, want) {
			t.Errorf("%v: got %+v", args, r)
		}
	}
	if r := tm.run("cost", "reconcile", file("no.csv", "a,b\n")); r.code != 1 || !strings.Contains(r.err, "of no export that is known") {
		t.Errorf("got %+v", r)
	}
}

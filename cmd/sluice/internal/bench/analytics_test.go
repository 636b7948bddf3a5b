package bench

import (
	"os"
	"strings"
	"testing"
)

// TestAnalytics: rows are made once, lacking ones are added, and every standard
// question has an answer.
func TestAnalytics(t *testing.T) {
	needEngine(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := AnalyticsOptions{Runs: 1, Data: t.TempDir(), QuestionsOnly: true, Command: []string{exe, "engine"}, Log: t.Output()}
	for _, step := range []struct {
		rows int
		want string
	}{{20_000, "  20000 rows"}, {20_500, "  20500 rows"}, {100, "  20500 rows"}} {
		var out strings.Builder
		o.Rows = step.rows
		if err := Analytics(t.Context(), &out, o); err != nil {
			t.Fatal(err)
		}
		if strings.Count(out.String(), step.want) != 2 || !strings.Contains(out.String(), " questions within 300 ms p95") {
			t.Errorf("asked for %d rows:\n%s", step.rows, out.String())
		}
	}
}

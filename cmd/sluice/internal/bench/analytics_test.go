package bench

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store/storetest"
)

// TestAnalytics: rows are made once, lacking ones are added, and every standard
// question has an answer.
func TestAnalytics(t *testing.T) {
	storetest.Need(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := []string{exe, "engine"}
	o := AnalyticsOptions{Rows: 20_500, Runs: 1, Data: t.TempDir(), QuestionsOnly: true, Command: command}
	first, err := fill(t.Context(), t.Output(), o.Data, command, 20_000)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := Analytics(t.Context(), &out, o); err != nil {
		t.Fatal(err)
	}
	if strings.Count(out.String(), "  20500 rows") != 2 || !strings.Contains(out.String(), " questions within 300 ms p95") {
		t.Errorf("20,500 rows are not asked:\n%s", out.String())
	}
	last, err := fill(t.Context(), t.Output(), o.Data, command, 100) // there are more already
	if step := fillDays * 24 * time.Hour / 20_000; err != nil || last.Sub(first).Round(time.Second) != 500*step {
		t.Errorf("from %s to %s in 500 steps of %s: %v", first, last, step, err)
	}
}

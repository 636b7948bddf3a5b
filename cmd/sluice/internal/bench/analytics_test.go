package bench

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
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
	forget(t, o.Data, command) // as if the fill had been interrupted
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

// forget drops a day of the attempts and all jobs.
func forget(t *testing.T, dir string, command []string) {
	t.Helper()
	eng, err := startEngine(t.Context(), dir, 0, command)
	if err != nil {
		t.Fatal(err)
	}
	defer eng.stop()
	st, err := eng.open(t.Context(), store.DefaultDatabase)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	day := time.Now().UTC().AddDate(0, 0, -fillDays/2).Format("20060102")
	for _, sql := range []string{"ALTER TABLE attempts DROP PARTITION " + day, "TRUNCATE TABLE jobs"} {
		if err := execute(t.Context(), st, sql); err != nil {
			t.Fatal(err)
		}
	}
}

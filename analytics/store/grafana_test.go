package store_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/analytics/store/storetest"
)

// Every panel of the Grafana dashboard asks something that these tables
// answer, with rows.
func TestGrafanaPanels(t *testing.T) {
	s := storetest.Open(t)
	must(t, s.InsertAttempts(t.Context(), costRows(4000)[:1000]))
	must(t, s.InsertJobs(t.Context(), costJobs(500)))
	text, err := os.ReadFile("../../deploy/grafana/sluice.json")
	must(t, err)
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ RawSQL string }
		}
	}
	must(t, json.Unmarshal(text, &dashboard))
	if len(dashboard.Panels) < 10 {
		t.Fatalf("%d panels", len(dashboard.Panels))
	}
	macros := strings.NewReplacer("$__fromTime", "toDateTime(1773446400)", "$__toTime", "toDateTime(1773705600)") // 14 to 17 March 2026
	for _, p := range dashboard.Panels {
		sql := macros.Replace(p.Targets[0].RawSQL)
		if strings.Contains(sql, "$") {
			t.Errorf("%s: a macro is left in %s", p.Title, sql)
		}
		if rows := query(t, s, sql); len(rows) == 0 {
			t.Errorf("%s: no rows for %s", p.Title, sql)
		}
	}
}

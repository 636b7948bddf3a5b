package store_test

import (
	"fmt"
	"testing"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestShadowsAreWaste: what a copy cost that nobody was given is spent, wasted
// and no failure; one that failed is a failure as any other.
func TestShadowsAreWaste(t *testing.T) {
	s := storetest.Open(t)
	rows := fakeAttempts(1, 4)
	for i := range rows {
		cost := wire.NanoUSD(1000 * (i + 1))
		rows[i].Attempt.Cost = &cost
	}
	rows[1].Job.Shadow, rows[1].Job.ID = "try", "j-shadow"
	rows[2].Job.Shadow, rows[2].Attempt.Status = "try", wire.Failed
	must(t, s.InsertAttempts(t.Context(), rows))
	got := fmt.Sprint(query(t, s, "SELECT status, shadow FROM attempts ORDER BY seq"))
	if want := "[[succeeded ] [shadow try] [failed try] [succeeded ]]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, q := range []store.CostQuery{{}, {Rows: true}} {
		sums, err := s.Cost(t.Context(), q)
		must(t, err)
		if r := sums[0]; r.Spend != 10_000 || r.Wasted != 5_000 || r.Attempts != 4 || r.Succeeded != 2 || r.Failed != 1 {
			t.Errorf("%+v: %+v", q, r)
		}
	}
	waste, err := s.Waste(t.Context(), store.CostQuery{By: []string{"shadow"}})
	must(t, err)
	if len(waste) != 2 || waste[0].Keys[0] != "try" || waste[0].Spend+waste[1].Spend != 5_000 {
		t.Errorf("%+v", waste)
	}
	if got := fmt.Sprint(query(t, s, "SELECT toInt64(sum(wasted_nano_usd)), toInt64((SELECT sum(failed) FROM success_hourly)) FROM waste_daily")); got != "[[5000 1]]" {
		t.Errorf("views: %s", got)
	}
}

package fleet

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// livePatience is how long the holds of jobs that ended unseen may live: routers
// ask for their owners after 10 s, and then after as long again (budget.Book).
const livePatience = time.Minute

// checkLive compares what routers say: budgets, queues, dead letters.
func (f *Fleet) checkLive(ctx context.Context, r *Report) error {
	want := map[string]int64{"dead letters": int64(r.Statuses[string(wire.Failed)]), "spent": r.Counted, "held": 0, "limit": int64(r.Limit), "queued": 0, "running": 0}
	var got map[string]int64
	err := until(ctx, livePatience, "the page's budgets and queues", func() (err error) {
		if got, err = f.live(ctx); err != nil {
			return err
		}
		if !maps.Equal(got, want) {
			return errors.New("not what the books say")
		}
		return nil
	})
	if got == nil {
		return err
	}
	r.compare("the page's budgets and queues", got, want) // of the last answer
	return nil
}

// live asks for budgets, queues and dead letters.
func (f *Fleet) live(ctx context.Context) (map[string]int64, error) {
	var budgets struct {
		Budgets []struct{ Spent, Held, Limit int64 }
	}
	var dead struct{ Dead []any }
	var pools struct {
		Pools []struct{ Queued, Running int64 }
	}
	for path, into := range map[string]any{"admin/v1/budgets": &budgets, "admin/v1/dead": &dead, "admin/v1/pools": &pools} {
		if err := f.get(ctx, path, into); err != nil {
			return nil, err
		}
	}
	got := map[string]int64{"dead letters": int64(len(dead.Dead)), "queued": 0, "running": 0}
	for _, b := range budgets.Budgets {
		got["spent"], got["held"], got["limit"] = b.Spent, b.Held, b.Limit
	}
	for _, p := range pools.Pools {
		got["queued"] += p.Queued
		got["running"] += p.Running
	}
	return got, nil
}

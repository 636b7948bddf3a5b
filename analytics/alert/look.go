package alert

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/analytics/stats"
	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Store is what is asked of ClickHouse.
type Store interface {
	Cost(ctx context.Context, q store.CostQuery) ([]store.CostRow, error)
	LatencySlices(ctx context.Context, since, until time.Time, width time.Duration, share float64) ([]store.Slice, error)
	CostSlices(ctx context.Context, since, until time.Time, width time.Duration) ([]store.Slice, error)
	Turns(ctx context.Context, since, until time.Time, strategies []string) ([]store.Turn, error)
	Unpriced(ctx context.Context, since time.Time) ([]store.Unpriced, error)
}

const (
	confidence = 0.999 // of the bound of a share
	chance     = 0.001 // that uneven turns may have
	fewest     = 8     // windows of a baseline
	sketch     = 0.01  // what quantiles are exact to: the least spread of a baseline
	mostRows   = 10_000
)

// looker asks the questions. It keeps baselines for the length of a window.
type looker struct {
	store     Store
	baselines map[string]baseline
}

// baseline is the windows of each series before the one that is judged.
type baseline struct {
	at     time.Time
	of     Rules // whose windows they are
	series map[string][]float64
}

// look gives what is to be said at a moment. An error says that nothing is.
func (l *looker) look(ctx context.Context, r *Rules, now time.Time) ([]finding, error) {
	var all []finding
	for _, ask := range []func(context.Context, *Rules, time.Time) ([]finding, error){l.errors, l.latencies, l.costs, l.turns, l.burns, l.unpriced} {
		list, err := ask(ctx, r, now)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	for i := range all {
		all[i].At = now.UTC()
	}
	return all, nil
}

func (l *looker) errors(ctx context.Context, r *Rules, now time.Time) ([]finding, error) {
	if r.ErrorRate <= 0 {
		return nil, nil
	}
	rows, err := l.store.Cost(ctx, store.CostQuery{By: []string{"pool"}, Since: now.Add(-r.Window), Until: now, Limit: mostRows})
	var list []finding
	for i := range rows {
		c := &rows[i]
		if c.Attempts < uint64(r.Samples) || c.Keys[0] == "" {
			continue
		}
		w := stats.Wilson(stats.Count{K: float64(c.Failed), N: float64(c.Attempts)}, confidence)
		list = append(list, finding{Alert: wire.Alert{Kind: wire.AlertErrorRate, Subject: map[string]string{"pool": c.Keys[0]}, Samples: c.Attempts,
			Value: w.Value, Threshold: r.ErrorRate,
			Summary: fmt.Sprintf("%.1f %% of %d attempts at pool %s failed", 100*w.Value, c.Attempts, c.Keys[0])}}.judged(w.Low > r.ErrorRate))
	}
	return list, err
}

// latencies judges two levels of each series, and reports the worse.
func (l *looker) latencies(ctx context.Context, r *Rules, now time.Time) ([]finding, error) {
	if r.LatencyShift <= 0 {
		return nil, nil
	}
	worst := map[string]finding{}
	for _, level := range []float64{0.5, 0.95} {
		ask := func(since, until time.Time) ([]store.Slice, error) {
			return l.store.LatencySlices(ctx, since, until, r.Window, level)
		}
		list, err := l.shifts(r, now, fmt.Sprint("latency", level), r.LatencyShift, ask, func(s *store.Slice, usual float64) wire.Alert {
			return wire.Alert{Kind: wire.AlertLatencyShift, Subject: map[string]string{"pool": s.Keys[0], "model": s.Keys[1]},
				Summary: fmt.Sprintf("the p%.0f of %s at pool %s is %.0f ms, usually %.0f ms", 100*level, s.Keys[1], s.Keys[0], s.Value, usual)}
		})
		if err != nil {
			return nil, err
		}
		for _, f := range list {
			id := f.ID()
			if had, ok := worst[id]; !ok || f.bad && !had.bad || f.bad == had.bad && f.Value > had.Value {
				worst[id] = f
			}
		}
	}
	var list []finding
	for _, f := range worst {
		list = append(list, f)
	}
	return list, nil
}

func (l *looker) costs(ctx context.Context, r *Rules, now time.Time) ([]finding, error) {
	if r.CostShift <= 0 {
		return nil, nil
	}
	ask := func(since, until time.Time) ([]store.Slice, error) {
		return l.store.CostSlices(ctx, since, until, r.Window)
	}
	return l.shifts(r, now, "cost", r.CostShift, ask, func(s *store.Slice, usual float64) wire.Alert {
		return wire.Alert{Kind: wire.AlertCostShift, Subject: map[string]string{"route": s.Keys[0]},
			Summary: fmt.Sprintf("a job of route %s costs $%.6f, usually $%.6f", s.Keys[0], s.Value, usual)}
	})
}

// shifts compares each series' window with its baseline's.
func (l *looker) shifts(r *Rules, now time.Time, name string, most float64, ask func(since, until time.Time) ([]store.Slice, error),
	alert func(*store.Slice, float64) wire.Alert) ([]finding, error) {
	from := now.Add(-r.Window)
	b, ok := l.baselines[name]
	if !ok || now.Sub(b.at) >= r.Window || b.of.Window != r.Window || b.of.Baseline != r.Baseline || b.of.Samples != r.Samples {
		windows, err := ask(from.Add(-r.Baseline), from)
		if err != nil {
			return nil, err
		}
		b = baseline{at: now, of: *r, series: map[string][]float64{}}
		for _, s := range windows {
			if s.N >= uint64(r.Samples) {
				b.series[keyOf(s.Keys)] = append(b.series[keyOf(s.Keys)], s.Value)
			}
		}
		l.baselines[name] = b
	}
	rows, err := ask(from, now)
	var list []finding
	for i := range rows {
		s, usual := &rows[i], b.series[keyOf(rows[i].Keys)]
		if s.N < uint64(r.Samples) || len(usual) < fewest {
			continue
		}
		score, median := stats.Shift(s.Value, usual, sketch)
		if median <= 0 {
			continue
		}
		f := finding{Alert: alert(s, median)}
		f.Value, f.Threshold, f.Baseline, f.Samples = max(0, s.Value/median-1), most, median, s.N
		list = append(list, f.judged(f.Value > most && score > stats.Outlier))
	}
	return list, err
}

func keyOf(keys []string) string { return strings.Join(keys, "\x00") }

func (l *looker) turns(ctx context.Context, r *Rules, now time.Time) ([]finding, error) {
	if r.ShareShift <= 0 || len(r.Shares) == 0 {
		return nil, nil
	}
	turns, err := l.store.Turns(ctx, now.Add(-r.Window), now, r.Shares)
	var list []finding
	for len(turns) > 0 {
		n := slices.IndexFunc(turns, func(t store.Turn) bool { return t.Route != turns[0].Route })
		if n < 0 {
			n = len(turns)
		}
		if f, ok := uneven(turns[:n], r); ok {
			list = append(list, f)
		}
		turns = turns[n:]
	}
	return list, err
}

// uneven judges the turns of one route.
func uneven(turns []store.Turn, r *Rules) (finding, bool) {
	var got, expected []float64
	var total float64
	for _, t := range turns {
		got, expected = append(got, float64(t.Got)), append(expected, t.Expected)
		total += float64(t.Got)
	}
	if total < float64(r.Samples) || len(turns) < 2 {
		return finding{}, false
	}
	worst := 0
	off := func(i int) float64 { return got[i]/total - expected[i]/total }
	for i := range turns {
		if max(off(i), -off(i)) > max(off(worst), -off(worst)) {
			worst = i
		}
	}
	t, value := &turns[worst], max(off(worst), -off(worst))
	f := finding{Alert: wire.Alert{Kind: wire.AlertShareShift, Subject: map[string]string{"route": t.Route}, Samples: uint64(total), Value: value, Threshold: r.ShareShift,
		Summary: fmt.Sprintf("route %s gave %s/%s %.1f %% of its turns, by weight it is %.1f %%", t.Route, t.Pool, t.Model, 100*got[worst]/total, 100*expected[worst]/total)}}
	return f.judged(value > r.ShareShift && stats.ChiSquare(got, expected) < chance), true
}

// burns judges how fast budgets are spent.
func (l *looker) burns(ctx context.Context, r *Rules, now time.Time) ([]finding, error) {
	if r.BudgetBurn <= 0 {
		return nil, nil
	}
	var list []finding
	for _, b := range r.Budgets {
		long := max(b.Window/24, 5*time.Minute)
		short := max(long/12, time.Minute)
		rate, err := l.burn(ctx, &b, now, long)
		if err != nil {
			return nil, err
		}
		late := rate
		if rate > r.BudgetBurn*easing { // else it does not matter
			if late, err = l.burn(ctx, &b, now, short); err != nil {
				return nil, err
			}
		}
		subject := map[string]string{"budget": b.ID}
		if b.Tenant != "" {
			subject["tenant"] = b.Tenant
		}
		rate = min(rate, late)
		list = append(list, finding{Alert: wire.Alert{Kind: wire.AlertBudgetBurn, Subject: subject, Value: rate, Threshold: r.BudgetBurn,
			Summary: fmt.Sprintf("the budget %q is spent %.1f times as fast as its window allows", b.ID, rate)}}.judged(rate > r.BudgetBurn))
	}
	return list, nil
}

// burn is what was spent in the time before now, as a multiple of what the
// budget has for such a time.
func (l *looker) burn(ctx context.Context, b *Budget, now time.Time, over time.Duration) (float64, error) {
	rows, err := l.store.Cost(ctx, store.CostQuery{Since: now.Add(-over), Until: now, Where: b.Where, Rows: b.Unit == Jobs})
	if err != nil || len(rows) == 0 || b.Limit <= 0 {
		return 0, err
	}
	return b.Unit.of(&rows[0]) / float64(b.Limit) * float64(b.Window) / float64(over), nil
}

func (l *looker) unpriced(ctx context.Context, r *Rules, now time.Time) ([]finding, error) {
	if !r.Unpriced {
		return nil, nil
	}
	models, err := l.store.Unpriced(ctx, now.Add(-r.Window))
	var list []finding
	for _, m := range models {
		list = append(list, finding{bad: true, facts: true, Alert: wire.Alert{Kind: wire.AlertUnpriced, Value: float64(m.Attempts), Samples: m.Attempts,
			Subject: map[string]string{"pool": m.Pool, "provider": m.Provider, "model": m.Model},
			Summary: fmt.Sprintf("%d attempts of %s at pool %s have no known cost: give the model a price", m.Attempts, m.Model, m.Pool)}})
	}
	return list, err
}

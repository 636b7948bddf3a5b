package app

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sluicehq/sluice/analytics/alert"
	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/broker/budget"
	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// alertRules are the configuration's.
func alertRules(cfg *config.Config) alert.Rules {
	c := cfg.Alerts
	r := alert.Rules{Every: c.Every, Window: c.Window, Baseline: c.Baseline, RaiseAfter: c.RaiseAfter, ClearAfter: c.ClearAfter, Samples: c.Samples,
		ErrorRate: c.ErrorRate, LatencyShift: c.LatencyShift, CostShift: c.CostShift, ShareShift: c.ShareShift, BudgetBurn: c.BudgetBurn, Unpriced: c.Unpriced}
	for _, s := range router.Strategies() {
		if s.Shares {
			r.Shares = append(r.Shares, s.Name)
		}
	}
	for _, u := range c.Webhooks {
		r.Webhooks = append(r.Webhooks, u.Reveal())
	}
	r.Budgets = burningOf(budgets(cfg).Budgets)
	return r
}

// burningOf are the budgets that have a pace.
func burningOf(list []account.Budget) (out []alert.Budget) {
	for i := range list {
		if x, ok := burning(&list[i]); ok {
			out = append(out, x)
		}
	}
	return out
}

// windows are the lengths of budgets' windows; one without an end has no pace.
var windows = map[account.Span]time.Duration{account.Hour: time.Hour, account.Day: 24 * time.Hour, account.Week: 7 * 24 * time.Hour, account.Month: 30 * 24 * time.Hour}

// burning is a budget in the dimensions of attempts.
func burning(b *account.Budget) (alert.Budget, bool) {
	x := alert.Budget{ID: b.ID(), Where: map[string]string{}, Limit: b.Limit, Window: windows[b.Window.Span],
		Unit: map[account.Unit]alert.Unit{account.USD: alert.USD, account.Tokens: alert.Tokens, account.Jobs: alert.Jobs}[b.Unit]}
	for _, t := range b.Scope.Terms() {
		switch t.Dimension {
		case account.Label:
			name, value, _ := strings.Cut(t.Value, "=")
			x.Where["label:"+name] = value
		case account.Key, account.Tenant: // a tenant has one key, of its name
			x.Where["tenant"], x.Tenant = t.Value, t.Value
		default:
			x.Where[string(t.Dimension)] = t.Value
		}
	}
	return x, x.Window > 0
}

// startAlerts looks for them beside the ingester, with its store.
func (a *App) startAlerts(ctx context.Context, st *store.Store, wg *sync.WaitGroup) error {
	js, err := a.connect("alerts")
	if err != nil {
		return err
	}
	a.alerts = alert.New(alert.Config{JS: js, Subjects: a.subjects, Store: st, Instance: a.instance, Logger: a.log, Replicas: a.cfg.NATS.Replicas,
		Budgets: func(ctx context.Context) ([]alert.Budget, error) {
			set, err := budget.Stored(ctx, js, a.subjects, a.log)
			return burningOf(set), err
		}}, alertRules(a.cfg))
	wg.Go(func() { _ = a.alerts.Run(ctx) }) // always nil
	return nil
}

// alertMetrics are what GET /metrics shows of the alerts that are raised.
//
//	sluice_alert_raised{kind,subject}   1
type alertMetrics struct {
	list   func(context.Context) ([]wire.Alert, error)
	raised *prometheus.Desc
}

func newAlertMetrics(list func(context.Context) ([]wire.Alert, error)) *alertMetrics {
	return &alertMetrics{list: list, raised: prometheus.NewDesc("sluice_alert_raised", "Alerts that are raised.", []string{"kind", "subject"}, nil)}
}

// Describe implements prometheus.Collector.
func (m *alertMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- m.raised }

// Collect implements prometheus.Collector.
func (m *alertMetrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	list, err := m.list(ctx)
	if err != nil {
		return // the bucket cannot be read: no metric is better than a wrong one
	}
	for _, a := range list {
		if a.Raised {
			ch <- prometheus.MustNewConstMetric(m.raised, prometheus.GaugeValue, 1, string(a.Kind), a.Name())
		}
	}
}

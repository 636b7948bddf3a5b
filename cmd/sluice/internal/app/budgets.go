package app

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sluicehq/sluice/broker/budget"
	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/sdk/ledger"
)

// budgets are the configuration's, which have been checked.
func budgets(cfg *config.Config) budget.Setup {
	s := budget.Setup{Bounds: account.Bounds{Output: cfg.Holds.MaxTokens, Media: cfg.Holds.MediaTokens}}
	for i := range cfg.Budgets {
		def := cfg.Budgets[i].Definition()
		if b, faults := def.Parse(); len(faults) == 0 {
			s.Budgets = append(s.Budgets, b)
		}
	}
	return s
}

// newBook makes the router's view of the budgets.
func (a *App) newBook() error {
	js, err := a.connect("budgets")
	if err != nil {
		return err
	}
	a.book = budget.New(budget.Config{JS: js, Subjects: a.subjects, Ledger: ledger.New(js, a.subjects).Tell(a.echo), Logger: a.log, Instance: a.instance}, budgets(a.cfg))
	return nil
}

// budgetMetrics are what GET /metrics shows of the budgets, where gateway and
// router are one process. Amounts are dollars, tokens or jobs.
//
//	sluice_budget_limit{budget}, _spent, _held   of the current window
//	sluice_budget_events_total{budget,event}     that this process has raised
type budgetMetrics struct {
	app                        *App
	limit, spent, held, events *prometheus.Desc
}

func newBudgetMetrics(a *App) *budgetMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sluice_budget_"+name, help, append([]string{"budget"}, labels...), nil)
	}
	return &budgetMetrics{app: a, limit: desc("limit", "Limit of a budget, in dollars, tokens or jobs."),
		spent: desc("spent", "What is spent of a budget in its window."), held: desc("held", "What is set aside of a budget for attempts under way."),
		events: desc("events_total", "Events that this process has raised.", "event")}
}

// Describe implements prometheus.Collector.
func (m *budgetMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.limit, m.spent, m.held, m.events} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *budgetMetrics) Collect(ch chan<- prometheus.Metric) {
	book := m.app.book
	if book == nil {
		return
	}
	for _, s := range book.Standings(time.Now()) {
		unit := 1.0
		if s.Budget.Unit == account.USD {
			unit = 1e9
		}
		for d, n := range map[*prometheus.Desc]int64{m.limit: s.Budget.Limit, m.spent: s.Spent, m.held: s.Held} {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n)/unit, s.Budget.ID())
		}
	}
	for k, n := range book.Raised() {
		ch <- prometheus.MustNewConstMetric(m.events, prometheus.CounterValue, float64(n), k[0], k[1])
	}
}

package app

import (
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
	a.book = budget.New(budget.Config{JS: js, Subjects: a.subjects, Ledger: ledger.New(js, a.subjects), Logger: a.log, Instance: a.instance}, budgets(a.cfg))
	return nil
}

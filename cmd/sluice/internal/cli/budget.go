package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/broker/budget"
	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

func (g *globals) budgetCommand() *cobra.Command {
	return group("budget", "Look at budgets, and change their limits while running", &cobra.Command{
		Use: "list", Short: "List budgets: limit, spent, held, left, and what the pace comes to", Args: exactly(0, "no arguments"),
		RunE: g.listBudgets,
	}, g.setBudgetCommand())
}

func (g *globals) listBudgets(cmd *cobra.Command, _ []string) error {
	var answer struct {
		Budgets []budget.Entry `json:"budgets"`
	}
	if err := g.askOnce(cmd, "budgets", nil, &answer); err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), answer)
	}
	t := newTable("SCOPE", "WINDOW", ">LIMIT", ">SPENT", ">HELD", ">LEFT", ">USED", "ENDS", ">FORECAST", "EXCEEDED", "SOURCE")
	for i := range answer.Budgets {
		t.row(budgetRow(&answer.Budgets[i])...)
	}
	return t.print(cmd.OutOrStdout())
}

func budgetRow(e *budget.Entry) []string {
	b := account.Budget{Unit: account.Unit(e.Unit)}
	window, ends, forecast := e.Window, "-", "-"
	if e.Rolling {
		window = "rolling " + window
	}
	if t, err := time.Parse(time.RFC3339, e.End); err == nil && !e.Rolling {
		ends = t.Local().Format("2006-01-02 15:04")
	}
	if e.Forecast != nil {
		forecast = b.Show(*e.Forecast)
	}
	spent, source := b.Show(e.Spent), e.Source
	if e.Behind {
		spent += " (counting)"
	}
	used := "-"
	if e.Limit > 0 {
		used = strconv.FormatFloat(100*float64(e.Spent)/float64(e.Limit), 'f', 1, 64) + "%"
	}
	return []string{e.Scope, window, b.Show(e.Limit), spent, b.Show(e.Held), b.Show(e.Left), used, ends, forecast, e.OnExceeded, source}
}

// limitFlags are the flags of budget set.
type limitFlags struct {
	usd, window, zone, exceeded, unknown, cost string
	tokens, jobs                               int64
	rolling, remove                            bool
	alerts                                     []int
}

func (g *globals) setBudgetCommand() *cobra.Command {
	var f limitFlags
	cmd := &cobra.Command{
		Use:   "set SCOPE",
		Short: "Set a limit from now on, at every router",
		Long: "Set a limit from now on, at every router. It goes before the configuration's budget of the same\n" +
			"scope, unit and window, also after restarts, until --remove takes it back.\n\n" +
			"A scope is global, or terms with commas between: tenant:, key:, provider:, pool:, model:, route:\n" +
			"and a name, or label:name=value.",
		Example: "  sluice budget set tenant:acme --limit-usd 50\n" +
			"  sluice budget set tenant:acme,model:gpt-4o --limit-tokens 1000000 --window hour --rolling\n" +
			"  sluice budget set tenant:acme --limit-usd 0 --remove",
		Args: exactly(1, "the scope of a budget"),
		RunE: func(cmd *cobra.Command, args []string) error { return g.setBudget(cmd, args[0], &f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.usd, "limit-usd", "", "limit in dollars, such as 12.50")
	fl.Int64Var(&f.tokens, "limit-tokens", 0, "limit in tokens")
	fl.Int64Var(&f.jobs, "limit-jobs", 0, "limit in jobs")
	fl.StringVar(&f.window, "window", "day", "hour, day, week, month or total")
	fl.BoolVar(&f.rolling, "rolling", false, "the time before each moment, instead of calendar windows")
	fl.StringVar(&f.zone, "zone", "", "time zone of calendar windows, such as Europe/Berlin (default: as it was, or UTC)")
	fl.StringVar(&f.exceeded, "on-exceeded", "", "wait, cheaper or reject (default: as it was, or wait)")
	fl.StringVar(&f.unknown, "unknown-price", "", "refuse or allow (default: as it was, or refuse)")
	fl.StringVar(&f.cost, "unknown-cost", "", "worst or estimate, for attempts that were cut (default: as it was, or worst)")
	fl.IntSliceVar(&f.alerts, "alerts", nil, "percents of the limit that raise an event; 0: none (default: as it was, or 50,80,100)")
	fl.BoolVar(&f.remove, "remove", false, "take back what was set; the kind of limit and the window say of which budget")
	return cmd
}

// definition is what the flags say.
func (f *limitFlags) definition(cmd *cobra.Command, scope string) (account.Definition, error) {
	d := account.Definition{Scope: scope, Window: f.window, Rolling: f.rolling, Zone: f.zone, OnExceeded: f.exceeded, UnknownPrice: f.unknown, UnknownCost: f.cost, Alerts: f.alerts}
	if cmd.Flags().Changed("limit-usd") {
		n, err := wire.ParseUSD(f.usd)
		if err != nil {
			return d, usage("", "--limit-usd %q must be dollars: a plain decimal, at most nine decimals", clean(f.usd))
		}
		d.LimitUSD = &n
	}
	if cmd.Flags().Changed("limit-tokens") {
		d.LimitTokens = &f.tokens
	}
	if cmd.Flags().Changed("limit-jobs") {
		d.LimitJobs = &f.jobs
	}
	b, faults := d.Parse()
	for _, x := range faults {
		if f.remove && strings.HasPrefix(x.Field, "limit") && b.Unit != "" {
			continue // only its kind counts
		}
		return d, usage("see "+cmd.CommandPath()+" --help", "%s %s", strings.ReplaceAll(x.Field, "_", "-"), x.Bound)
	}
	return d, nil
}

func (g *globals) setBudget(cmd *cobra.Command, scope string, f *limitFlags) error {
	d, err := f.definition(cmd, scope)
	if err != nil {
		return err
	}
	op, request, said := "budget.set", map[string]any{"budget": d}, "is set, at every router"
	if f.remove {
		b, _ := d.Parse()
		op, request, said = "budget.remove", map[string]any{"id": b.ID()}, "is as configured again"
	}
	var answer struct {
		ID string `json:"id"`
	}
	if err := g.askOnce(cmd, op, request, &answer); err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), answer)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), "budget", answer.ID, said)
	return err
}

package cli

import (
	"fmt"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// alertsAnswer is what a router says of alerts.
type alertsAnswer struct {
	Alerts []wire.Alert `json:"alerts"`
}

func (g *globals) alertCommand() *cobra.Command {
	var all bool
	list := &cobra.Command{
		Use: "list", Short: "List what is not as it should be: failures, latency, costs, shares, budgets, prices", Args: exactly(0, "no arguments"),
		Long: "List the alerts that are raised: what the attempts and jobs in ClickHouse show that is not as it\n" +
			"should be. Thresholds are in the configuration, under alerts; see docs/alerts.md.",
		RunE: func(cmd *cobra.Command, _ []string) error { return g.listAlerts(cmd, all) },
	}
	list.Flags().BoolVar(&all, "all", false, "also those that were cleared in the last week")
	return group("alert", "Look at alerts", list)
}

func (g *globals) listAlerts(cmd *cobra.Command, all bool) error {
	var answer alertsAnswer
	if err := g.askOnce(cmd, "alerts", map[string]any{"all": all, "tenant": g.tenant}, &answer); err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), answer)
	}
	if len(answer.Alerts) == 0 {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "no alerts")
		return err
	}
	t := newTable("KIND", "SUBJECT", "STATE", "SINCE", "WHAT")
	for i := range answer.Alerts {
		a := &answer.Alerts[i]
		state := "raised"
		if !a.Raised {
			state = "cleared"
		}
		t.row(string(a.Kind), a.Name(), state, a.Since.Local().Format(time.DateTime), a.Summary)
	}
	return t.print(cmd.OutOrStdout())
}

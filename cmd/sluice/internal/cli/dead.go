package cli

import (
	"fmt"
	"strconv"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// deadLetter is what the server says of a dead letter.
type deadLetter struct {
	Tenant   string        `json:"tenant"`
	Job      string        `json:"job_id"`
	Class    wire.Class    `json:"class"`
	Route    string        `json:"route"`
	Attempts int           `json:"attempts"`
	At       string        `json:"at"`
	Error    wire.Code     `json:"error_code,omitempty"`
	Pool     string        `json:"pool,omitempty"`
	Bytes    int           `json:"body_bytes"`
	History  *wire.Answer  `json:"history,omitempty"`
	Cost     *wire.NanoUSD `json:"cost_nano_usd,omitempty"`
}

func (g *globals) deadCommand() *cobra.Command {
	var all bool
	requeue := &cobra.Command{
		Use:   "requeue [ID]",
		Short: "Run a dead job again, or all of them, as new jobs",
		Args: func(_ *cobra.Command, args []string) error {
			if all == (len(args) == 1) || len(args) > 1 {
				return usage("see sluice dead list", "name one job, or --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return g.requeue(cmd, args, all) },
	}
	requeue.Flags().BoolVar(&all, "all", false, "all dead letters (of the tenant, if --tenant is given)")
	return group("dead", "Look at jobs that ran out of attempts, and run them again",
		&cobra.Command{Use: "list", Short: "List dead letters", Args: exactly(0, "no arguments"), RunE: g.listDead},
		&cobra.Command{Use: "show ID", Short: "Show a dead letter and its attempts", Args: exactly(1, "one job ID"), RunE: g.showDead},
		requeue)
}

func (g *globals) listDead(cmd *cobra.Command, _ []string) error {
	var answer struct {
		Dead []deadLetter `json:"dead"`
	}
	if err := g.askOnce(cmd, "dead.list", map[string]any{"tenant": g.tenant}, &answer); err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), answer)
	}
	t := newTable("JOB", "TENANT", "CLASS", "ROUTE", ">ATTEMPTS", "LAST ERROR", "POOL", ">USD", "SINCE")
	for _, d := range answer.Dead {
		t.row(d.Job, d.Tenant, string(d.Class), d.Route, strconv.Itoa(d.Attempts), string(d.Error), d.Pool, usd(d.Cost), localTime(d.At))
	}
	return t.print(cmd.OutOrStdout())
}

// deadRequest names one dead letter of the tenant.
func (g *globals) deadRequest(cmd *cobra.Command, job string) (map[string]any, error) {
	c, err := g.load(cmd)
	if err != nil {
		return nil, err
	}
	tenant, _ := g.identity(c)
	return map[string]any{"tenant": tenant, "job": job}, nil
}

func (g *globals) showDead(cmd *cobra.Command, args []string) error {
	request, err := g.deadRequest(cmd, args[0])
	if err != nil {
		return err
	}
	var answer struct {
		Dead deadLetter `json:"dead"`
	}
	if err := g.askOnce(cmd, "dead.show", request, &answer); err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), answer)
	}
	out, d := cmd.OutOrStdout(), &answer.Dead
	t := newTable("job", d.Job)
	t.row("tenant", d.Tenant)
	t.row("route", d.Route)
	t.row("dead since", localTime(d.At))
	t.row("last error", string(d.Error))
	t.row("request", fmt.Sprintf("%d bytes", d.Bytes))
	if err := t.print(out); err != nil || d.History == nil {
		return err
	}
	return printHistory(out, d.History.History)
}

func (g *globals) requeue(cmd *cobra.Command, args []string, all bool) error {
	request := map[string]any{"all": true, "tenant": g.tenant}
	if !all {
		var err error
		if request, err = g.deadRequest(cmd, args[0]); err != nil {
			return err
		}
	}
	var answer struct {
		Requeued []string `json:"requeued"`
	}
	if err := g.askOnce(cmd, "dead.requeue", request, &answer); err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), answer)
	}
	for _, id := range answer.Requeued {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), clean(id)); err != nil {
			return err
		}
	}
	say(cmd.ErrOrStderr(), "queued again: %s\n", count(len(answer.Requeued), "job"))
	return nil
}

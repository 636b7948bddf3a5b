package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

type routesAnswer struct {
	Routes []struct {
		Model      string `json:"model"`
		Strategy   string `json:"strategy"`
		Candidates []struct {
			Pool   string `json:"pool"`
			Model  string `json:"model"`
			Weight int    `json:"weight"`
		} `json:"candidates"`
		Fallback []string `json:"fallback,omitempty"`
	} `json:"routes"`
}

func (g *globals) routeCommand() *cobra.Command {
	f := explainFlags{submitFlags: submitFlags{endpoint: string(wire.ChatCompletions)}}
	explain := &cobra.Command{
		Use:   "explain [model]",
		Short: "Show what the router would choose now, and why; nothing is run",
		Long: "Show what would become of a job: the rules that match, every candidate with its score or\n" +
			"the reason against it, the fallback chain, and the choice. Nothing is run. Where no broker\n" +
			"runs, the configuration alone decides, as if every pool were idle and well.",
		Example: "  sluice route explain --job request.json --label team=search --class batch\n" +
			"  sluice route explain chat --tenant acme --region eu-west",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("", "one model is taken")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return g.explainRoute(cmd, &f, args) },
	}
	p := explain.Flags()
	p.StringVar(&f.file, "job", "", "JSON request to decide about; - for standard input")
	p.StringVar(&f.file, "file", "", "the same as --job")
	p.StringVar(&f.class, "class", string(wire.Standard), "interactive, standard or batch")
	p.StringVar(&f.endpoint, "endpoint", string(wire.ChatCompletions), "API that the request is written for")
	p.StringVar(&f.deadline, "deadline", "", "when the job expires: a duration or an RFC 3339 time")
	p.StringVar(&f.affinity, "affinity", "", "session or user key")
	p.StringVar(&f.region, "region", "", "where the user is")
	p.StringVar(&f.maxCost, "max-cost", "", "most that the job may cost, in dollars")
	p.StringVar(&f.batch, "batch", "", "batch that the job belongs to")
	p.StringArrayVar(&f.labels, "label", nil, "label, name=value; may be repeated")
	p.BoolVar(&f.stream, "stream", false, "as if the answer were to be streamed")
	p.DurationVar(&f.waited, "waited", 0, "as if the job had waited so long")
	p.BoolVar(&f.offline, "offline", false, "decide by the configuration alone, also where a broker runs")
	return group("route", "Look at routes, and ask what the router would do", &cobra.Command{
		Use: "list", Short: "List routes with their candidates", Args: exactly(0, "no arguments"),
		Long: "List routes with their candidates and fallback chains.\n\nStrategies:\n" + strategies(),
		RunE: g.listRoutes,
	}, explain, g.replayCommand())
}

// strategies documents every strategy, from the router itself.
func strategies() string {
	var b strings.Builder
	for _, s := range router.Strategies() {
		fmt.Fprintf(&b, "  %-22s %s\n", s.Name, s.Summary)
		if s.Weights != "" {
			fmt.Fprintf(&b, "  %-22s weight: %s\n", "", s.Weights)
		}
		if len(s.Params) > 0 {
			fmt.Fprintf(&b, "  %-22s params: %s\n", "", strings.Join(s.Params, ", "))
		}
	}
	return b.String()
}

func (g *globals) listRoutes(cmd *cobra.Command, _ []string) error {
	var answer routesAnswer
	if err := g.askOnce(cmd, "routes", nil, &answer); err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), answer)
	}
	t := newTable("MODEL", "STRATEGY", "POOL", "UPSTREAM", ">WEIGHT")
	for _, r := range answer.Routes {
		model, strategy := r.Model, r.Strategy
		for _, c := range r.Candidates {
			t.row(model, strategy, c.Pool, c.Model, strconv.Itoa(c.Weight))
			model, strategy = "", ""
		}
		for i, step := range r.Fallback {
			t.row("", "fallback "+strconv.Itoa(i+1), step, "", "")
		}
	}
	return t.print(cmd.OutOrStdout())
}

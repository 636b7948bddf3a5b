package cli

import (
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// poolAnswer is what the server says of a pool.
type poolAnswer struct {
	Name        string        `json:"name"`
	Adapter     string        `json:"adapter"`
	Provider    string        `json:"provider"`
	Region      string        `json:"region,omitempty"`
	Tier        string        `json:"tier,omitempty"`
	Concurrency int           `json:"concurrency"`
	Weight      int           `json:"weight"`
	Queued      int           `json:"queued"`
	Running     int           `json:"running"`
	Workers     int           `json:"workers"`
	Draining    bool          `json:"draining"`
	Models      []modelAnswer `json:"models"`
}

type modelAnswer struct {
	Name     string `json:"name"`
	Upstream string `json:"upstream"`
	Priced   bool   `json:"priced"`
}

type poolsAnswer struct {
	Pools []poolAnswer `json:"pools"`
}

func (g *globals) poolCommand() *cobra.Command {
	return group("pool", "Look at pools", &cobra.Command{
		Use: "list", Short: "List pools with their load", Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var answer poolsAnswer
			if err := g.askOnce(cmd, "pools", nil, &answer); err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), answer)
			}
			t := newTable("POOL", "PROVIDER", "REGION", "TIER", ">QUEUED", ">RUNNING", ">LIMIT", ">WEIGHT", ">WORKERS", "MODELS")
			for _, p := range answer.Pools {
				t.row(p.state(), p.Provider, p.Region, p.Tier, strconv.Itoa(p.Queued), strconv.Itoa(p.Running), strconv.Itoa(p.Concurrency),
					strconv.Itoa(p.Weight), strconv.Itoa(p.Workers), p.models())
			}
			return t.print(cmd.OutOrStdout())
		}})
}

// state is the pool's name, with what is unusual about it.
func (p *poolAnswer) state() string {
	if p.Draining {
		return p.Name + " (draining)"
	}
	return p.Name
}

// models lists what a pool offers; "?" marks a model without a price.
func (p *poolAnswer) models() string {
	names := make([]string, len(p.Models))
	for i, m := range p.Models {
		if names[i] = m.Name; !m.Priced {
			names[i] += "?"
		}
	}
	return strings.Join(names, ", ")
}

// askOnce connects for one administrative request.
func (g *globals) askOnce(cmd *cobra.Command, op string, request, answer any) error {
	a, _, err := g.dialAdmin(cmd)
	if err != nil {
		return err
	}
	defer a.close()
	return a.ask(cmd.Context(), op, request, answer)
}

type routesAnswer struct {
	Routes []struct {
		Model      string `json:"model"`
		Strategy   string `json:"strategy"`
		Candidates []struct {
			Pool   string `json:"pool"`
			Model  string `json:"model"`
			Weight int    `json:"weight"`
		} `json:"candidates"`
	} `json:"routes"`
}

func (g *globals) routeCommand() *cobra.Command {
	var file string
	explain := &cobra.Command{
		Use:   "explain [model]",
		Short: "Show what the router would choose now, and why; nothing is run",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("", "one model is taken")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return g.explainRoute(cmd, file, args) },
	}
	explain.Flags().StringVar(&file, "file", "", "JSON request to decide about; - for standard input")
	return group("route", "Look at routes, and ask what the router would do", &cobra.Command{
		Use: "list", Short: "List routes with their candidates", Args: exactly(0, "no arguments"),
		RunE: g.listRoutes,
	}, explain)
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
	}
	return t.print(cmd.OutOrStdout())
}

func (g *globals) explainRoute(cmd *cobra.Command, file string, args []string) error {
	f := submitFlags{endpoint: string(wire.ChatCompletions), model: config.DefaultRoute}
	if len(args) == 1 {
		f.model = args[0]
	}
	body, err := f.prompt("explain")
	if file != "" {
		if body, err = readFile(cmd, file); err != nil {
			return err
		}
		f.model = firstOf(append(args, "")...)
		body, err = f.request(body)
	}
	if err != nil {
		return err
	}
	var answer struct {
		Decision wire.Decision `json:"decision"`
	}
	if err := g.askOnce(cmd, "explain", body, &answer); err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), answer)
	}
	return printDecision(cmd.OutOrStdout(), &answer.Decision, "")
}

// readFile reads a file, or standard input for "-".
func readFile(cmd *cobra.Command, path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(cmd.InOrStdin(), wire.MaxBody+1))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, &failure{code: exitUsage, msg: "the request cannot be read: " + err.Error(), cause: err}
	}
	return b, nil
}

package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk/ledger"
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
	Added       bool          `json:"added,omitempty"`
	Removing    bool          `json:"removing,omitempty"`
	Models      []modelAnswer `json:"models"`
	Health      *healthAnswer `json:"health,omitempty"`
}

// healthAnswer is how a pool does.
type healthAnswer struct {
	Circuit   string        `json:"circuit"`
	Ejected   bool          `json:"ejected"`
	Down      bool          `json:"down"`
	Until     string        `json:"until,omitempty"`
	Unhealthy bool          `json:"unhealthy,omitempty"`
	Probe     *ledger.Probe `json:"probe,omitempty"`
	Success   float64       `json:"success"`
	Samples   float64       `json:"samples"`
	Scores    scoresAnswer  `json:"scores"`
	Score     float64       `json:"score"`
	Latency   spreadAnswer  `json:"latency_ms"`
	TTFT      spreadAnswer  `json:"ttft_ms"`
	Requests  *usedAnswer   `json:"requests,omitempty"`
	Tokens    *usedAnswer   `json:"tokens,omitempty"`
}

// scoresAnswer are from 0 to 100; nil: not known.
type scoresAnswer struct {
	Performance *float64 `json:"performance,omitempty"`
	Reliability *float64 `json:"reliability,omitempty"`
	Cost        *float64 `json:"cost,omitempty"`
	Quality     *float64 `json:"quality,omitempty"`
}

type spreadAnswer struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
}

type usedAnswer struct {
	Limit int64 `json:"limit"`
	Used  int64 `json:"used"`
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
	return group("pool", "Look at pools, add and remove them, and take them out of use", g.addCommand(), g.removeCommand(), g.drainCommand("drain", "Give a pool no new jobs; what it has is finished"),
		g.drainCommand("resume", "Give a drained pool jobs again"), &cobra.Command{
			Use: "list", Short: "List pools with their load, health and scores", Args: exactly(0, "no arguments"),
			Long: `List pools with their load, health and scores.

Scores are from 0 to 100: PERF and COST compare a pool with the fastest and the
cheapest of those that share its routes, REL is the share of attempts that
succeed, and QUAL is as reported (sluice job rate) or configured.`,
			RunE: func(cmd *cobra.Command, _ []string) error {
				var answer poolsAnswer
				if err := g.askOnce(cmd, "pools", nil, &answer); err != nil {
					return err
				}
				if g.json {
					return printJSON(cmd.OutOrStdout(), answer)
				}
				t := newTable("POOL", "PROVIDER", "REGION", "TIER", ">QUEUED", ">RUNNING", ">LIMIT", ">WEIGHT", ">WORKERS", "CIRCUIT", ">SUCCESS", ">P50", ">P95", ">TTFT", ">PERF", ">REL", ">COST", ">QUAL", "MODELS")
				for _, p := range answer.Pools {
					row := []string{p.state(), p.Provider, p.Region, p.Tier, strconv.Itoa(p.Queued), strconv.Itoa(p.Running), strconv.Itoa(p.Concurrency),
						strconv.Itoa(p.Weight), strconv.Itoa(p.Workers)}
					t.row(append(append(row, p.Health.columns()...), p.models())...)
				}
				return t.print(cmd.OutOrStdout())
			}})
}

// state is the pool's name, with what is unusual about it.
func (p *poolAnswer) state() string {
	switch {
	case p.Removing:
		return p.Name + " (removing)"
	case p.Draining:
		return p.Name + " (draining)"
	case p.Health != nil && p.Health.Down:
		return p.Name + " (no workers)"
	case p.Health != nil && p.Health.Unhealthy:
		return p.Name + " (probes fail)"
	case p.Health != nil && p.Health.Ejected:
		return p.Name + " (outlier)"
	}
	return p.Name
}

// columns are circuit, success, times and scores; "-" where nothing is known.
func (h *healthAnswer) columns() []string {
	if h == nil {
		return []string{"-", "-", "-", "-", "-", "-", "-", "-", "-"}
	}
	row := []string{h.Circuit, "-"}
	if h.Samples > 0 {
		row[1] = strconv.FormatFloat(100*h.Success, 'f', 1, 64) + "%"
	}
	for _, ms := range []float64{h.Latency.P50, h.Latency.P95, h.TTFT.P50} {
		if ms <= 0 {
			row = append(row, "-")
			continue
		}
		row = append(row, time.Duration(ms*float64(time.Millisecond)).Round(time.Millisecond).String())
	}
	for _, s := range []*float64{h.Scores.Performance, h.Scores.Reliability, h.Scores.Cost, h.Scores.Quality} {
		if s == nil {
			row = append(row, "-")
			continue
		}
		row = append(row, strconv.FormatFloat(*s, 'f', 0, 64))
	}
	return row
}

// drainCommand is pool drain, or resume.
func (g *globals) drainCommand(use, short string) *cobra.Command {
	return &cobra.Command{Use: use + " POOL", Short: short, Args: exactly(1, "the name of a pool"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var answer struct {
				Pool     string `json:"pool"`
				Draining bool   `json:"draining"`
			}
			if err := g.askOnce(cmd, "pool."+use, map[string]string{"pool": args[0]}, &answer); err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), answer)
			}
			said := "takes jobs again"
			if answer.Draining {
				said = "takes no new jobs; see `sluice pool list` for what it still runs"
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "pool", answer.Pool, said)
			return err
		}}
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

package main

import (
	"fmt"
	"strings"

	"github.com/sluicehq/sluice/cmd/sluice/internal/bench"
	"github.com/sluicehq/sluice/cmd/sluice/internal/fleet"
	"github.com/spf13/cobra"
)

// benchRoutersCommand measures how several routers share what there is.
func benchRoutersCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "routers",
		Short: "Measure how several routers share pools, limits and troubles",
		Args:  cobra.NoArgs,
		Long: `Runs routers, workers, a NATS server and simulated providers over HTTP as
processes of their own, and prints the tables of docs/router.md: strategies side
by side under a trace, slots after kills, a provider's rate limit, and providers
that die, slow down or fail.`,
		Example: `  sluice bench routers
  sluice bench routers --parts limit
  sluice bench routers --trace AzureLLMInferenceTrace_conv.csv --speed 20`,
	}
	var o fleet.RouterOptions
	f := c.Flags()
	f.IntVar(&o.Routers, "routers", 4, "router processes, and as many workers")
	f.Float64Var(&o.Speed, "speed", 15, "times faster than recorded")
	f.Uint64Var(&o.Seed, "seed", 1, "of what is killed, and of a synthetic trace")
	f.StringSliceVar(&o.Parts, "parts", fleet.RouterParts(), "what to measure: "+strings.Join(fleet.RouterParts(), ", "))
	trace := f.String("trace", syntheticTrace, "trace to replay, or \"synthetic\"")
	limit := f.Int("limit", 3000, "most jobs of the trace")
	binaries := binaryFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.Routers < 1 || o.Speed <= 0 || *limit < 10 {
			return fmt.Errorf("--routers must be at least 1, --speed above 0, --limit at least 10")
		}
		var err error
		if o.Binaries, err = binaries(); err != nil {
			return err
		}
		if *trace == syntheticTrace {
			o.Arrivals = bench.SyntheticTrace(*limit, o.Seed)
		} else if o.Arrivals, err = bench.ReadTrace(*trace, *limit); err != nil {
			return err
		}
		o.Out, o.Log = cmd.OutOrStdout(), cmd.ErrOrStderr()
		return fleet.MeasureRouters(cmd.Context(), o)
	}
	return c
}

package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/sluicehq/sluice/cmd/sluice/internal/bench"
	"github.com/spf13/cobra"
)

// syntheticTrace is the value of --trace for a made-up trace.
const syntheticTrace = "synthetic"

// benchCommand measures on this machine.
func benchCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure throughput and latency, or replay a trace and check every cost",
		Args:  cobra.NoArgs,
		Long: `Without --trace: jobs per second of the whole path (publish to ClickHouse row)
beside one raw JetStream hop, in turn, and the latency that the broker adds.

With --trace: replays an Azure LLM inference trace (or one made up like it,
with "synthetic") through simulated pools in a server process of its own, kills
it as often as asked, and compares ledger, ClickHouse and the providers' books.

With --batch: a batch of that many lines through one simulated pool that answers
at once, in a server process of its own that may be killed too: lines a second,
memory, time to the first result, and that no line ran twice.

With --whatif: replays the trace under one policy, has sluice simulate say what it
comes to under another, replays it under that one, and compares. It fails if the
cost is off by more than 1 % or the p95 latency by more than 15 %.

With --analytics N: fills the embedded ClickHouse with N attempts and N jobs,
times every standard question, and then the ingest from a ledger beside a bare
batch insert of the same rows. With --data DIR the rows are kept, and asked again
in a minute: sluice bench --analytics N --data DIR --questions-only.`,
		Example: `  sluice bench
  sluice bench --trace AzureLLMInferenceTrace_conv.csv --speed 100
  sluice bench --trace synthetic --limit 5000 --speed 100 --kills 20 --seed 1
  sluice bench --batch 100000 --kills 10
  sluice bench --whatif --trace AzureLLMInferenceTrace_conv.csv`,
	}
	c.AddCommand(benchRoutersCommand(), benchHTTPCommand(), benchHTTPPartCommand())
	var o bench.Options
	f := c.Flags()
	f.StringVar(&o.Profile, "cpuprofile", "", "write a CPU profile (pprof) of the last path to this file")
	f.IntVar(&o.Rounds, "rounds", 3, "rounds of hop and path in turn")
	f.IntVar(&o.Jobs, "jobs", 80_000, "jobs of a path")
	f.IntVar(&o.Messages, "messages", 200_000, "messages of a hop")
	f.IntVar(&o.Concurrency, "concurrency", 256, "calls at once of the simulated pool")
	f.IntVar(&o.Rate, "rate", 200, "jobs per second of the latency run")
	f.IntVar(&o.Seconds, "seconds", 10, "length of the latency run")
	trace := f.String("trace", "", "trace to replay, or \"synthetic\"")
	speed := f.Float64("speed", 100, "times faster than recorded")
	limit := f.Int("limit", 0, "most jobs of the trace (0: all of it; synthetic: 5,000)")
	kills := f.Int("kills", 0, "how often to kill -9 and restart the server on the way")
	lines := f.Int("batch", 0, "lines of a batch to measure")
	size := f.Int("size", 1024, "bytes of each line of the batch")
	seed := f.Uint64("seed", 1, "of the moments of the kills, and of a synthetic trace")
	whatIf := f.Bool("whatif", false, "replay the trace under two policies, and see whether sluice simulate foretells the second from the first")
	analytics := f.Int("analytics", 0, "measure ClickHouse instead, with this many rows in each table")
	data := f.String("data", "", "with --analytics: folder of the rows, which is kept; rows that it holds are asked and not made again")
	questions := f.Bool("questions-only", false, "with --analytics: leave out the ingest")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		if *lines > 0 {
			rep, err := bench.Batch(cmd.Context(), bench.BatchOptions{Lines: *lines, Size: *size, Concurrency: o.Concurrency, Kills: *kills, Seed: *seed,
				Command: []string{exe}, Log: cmd.ErrOrStderr()})
			if err != nil {
				return err
			}
			rep.Print(cmd.OutOrStdout())
			return rep.Err()
		}
		if *analytics > 0 {
			tuneGC() // as up does: the ingest runs in this process
			return bench.Analytics(cmd.Context(), cmd.OutOrStdout(), bench.AnalyticsOptions{Rows: *analytics, Data: *data, QuestionsOnly: *questions,
				Command: []string{exe, "engine"}, Log: cmd.ErrOrStderr()})
		}
		if *trace == "" && !*whatIf {
			tuneGC() // as up does: the path runs in this process
			o.Command = []string{exe}
			return bench.Run(cmd.Context(), cmd.OutOrStdout(), o)
		}
		arrivals, err := arrivalsOf(*trace, *limit, *seed)
		if err != nil {
			return err
		}
		if *whatIf && !cmd.Flags().Changed("speed") {
			*speed = whatIfSpeed
		}
		if *speed <= 0 {
			return fmt.Errorf("--speed is %s: it must be above 0", strconv.FormatFloat(*speed, 'g', -1, 64))
		}
		if *whatIf {
			return runWhatIf(cmd, bench.WhatIfOptions{Arrivals: arrivals, Speed: *speed, Seed: *seed, Command: []string{exe}, Log: cmd.ErrOrStderr()})
		}
		t := bench.TraceOptions{Arrivals: arrivals, Speed: *speed, Kills: *kills, Seed: *seed, Command: []string{exe}}
		rep, err := bench.Replay(cmd.Context(), t)
		if rep != nil {
			rep.Print(cmd.OutOrStdout())
		}
		return err
	}
	return c
}

// arrivalsOf reads a trace, or makes one up.
func arrivalsOf(trace string, limit int, seed uint64) ([]bench.Arrival, error) {
	if trace != syntheticTrace && trace != "" {
		return bench.ReadTrace(trace, limit)
	}
	if limit == 0 {
		limit = 5000
	}
	return bench.SyntheticTrace(limit, seed), nil
}

// whatIfSpeed is how fast --whatif replays unless --speed says so: answers then
// take a tenth of a second or two, and the broker a few milliseconds.
const whatIfSpeed = 10

func runWhatIf(cmd *cobra.Command, o bench.WhatIfOptions) error {
	r, err := bench.WhatIf(cmd.Context(), o)
	if err != nil {
		return err
	}
	r.Print(cmd.OutOrStdout())
	return r.Err(1, 15)
}

package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/sluicehq/sluice/cmd/sluice/internal/bench"
	"github.com/spf13/cobra"
)

// benchHTTPCommand measures HTTP gateways side by side.
func benchHTTPCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "http",
		Short: "Measure HTTP gateways side by side: Sluice, Go's reverse proxy, and others that are installed",
		Args:  cobra.NoArgs,
		Long: `Runs an OpenAI-compatible upstream without latency, and before it Sluice (sluice
up with the durable path), httputil.ReverseProxy and, with --gateways, the
gateways that .ci/gateways installed; each is a process of its own. Measures them
in turn and prints one table: added latency, requests and streams a second, CPU
and memory.`,
		Example: `  sluice bench http
  sluice bench http --parts streams --streams 100000 --rounds 1
  sluice bench http --parts latency --only Sluice --hops
  make bench-http`,
	}
	var o bench.HTTPOptions
	f := c.Flags()
	f.StringVar(&o.Gateways, "gateways", "", "folder that .ci/gateways filled; none: no other gateways")
	f.IntVar(&o.Rounds, "rounds", 3, "rounds of all in turn")
	f.IntVar(&o.Rate, "rate", 200, "requests per second of the latency")
	f.IntVar(&o.Connections, "connections", 64, "connections of the throughput")
	f.DurationVar(&o.Latency, "latency", 0, "length of each measurement of latency (default 3s)")
	f.DurationVar(&o.Pressed, "pressed", 0, "length of each measurement of throughput (default 2.5s)")
	f.IntVar(&o.Streams, "streams", 0, "streams of each measurement of streams (default: as many as --pressed lets)")
	f.StringVar(&o.Only, "only", "", "part of a name: measure only those, beside the upstream")
	f.StringSliceVar(&o.Parts, "parts", bench.HTTPParts(), "what to measure")
	f.BoolVar(&o.Hops, "hops", false, "say where the time of Sluice's latency goes, by its own traces")
	f.StringVar(&o.Profile, "cpuprofile", "", "write a CPU profile (pprof) of Sluice's process to this file")
	verbose := f.Bool("verbose", false, "show what the processes print")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		if o.Rounds < 1 || o.Rate < 1 || o.Connections < 1 || o.Latency < 0 || o.Pressed < 0 || o.Streams < 0 {
			return errors.New("--rounds, --rate and --connections must be at least 1, --streams and times not negative")
		}
		o.Command = []string{exe}
		if *verbose {
			o.Log = cmd.ErrOrStderr()
		}
		rep, err := bench.HTTP(cmd.Context(), o)
		if err != nil {
			return err
		}
		return errors.Join(rep.Print(cmd.OutOrStdout()), rep.Err())
	}
	return c
}

// benchHTTPPartCommand is a process that benchHTTPCommand measures with.
func benchHTTPPartCommand() *cobra.Command {
	return &cobra.Command{
		Use: "http-part PART [TARGET]", Hidden: true, Args: cobra.RangeArgs(1, 2),
		Short: fmt.Sprintf("The %s or the %s of bench http (started by it)", bench.Upstream, bench.Proxy),
		RunE: func(cmd *cobra.Command, args []string) error {
			return bench.ServeHTTPPart(cmd.Context(), bench.HTTPPart(args[0]), append(args, "")[1], cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

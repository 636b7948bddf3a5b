// Command sluice is an async request broker for LLM inference: one binary
// that runs every part (up, serve), and is a client of them (all else).
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // schedules name time zones, and small images have none

	"github.com/sluicehq/sluice/analytics/engine"
	"github.com/sluicehq/sluice/cmd/sluice/internal/app"
	"github.com/sluicehq/sluice/cmd/sluice/internal/cli"
	"github.com/sluicehq/sluice/cmd/sluice/internal/demo"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/workers/price"
	"github.com/spf13/cobra"
)

func main() { os.Exit(run()) }

// run gives the exit status. The first signal ends the command in good order,
// the second one at once.
func run() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	done := make(chan struct{})
	defer close(done)
	go func() { // ends with run
		for range 2 {
			select {
			case <-done:
				return
			case <-signals:
				if ctx.Err() != nil {
					fmt.Fprintln(os.Stderr, "ended at once")
					os.Exit(1)
				}
				cancel()
			}
		}
	}()
	return cli.Run(ctx, deps(), os.Args[1:])
}

// version is set by the linker.
var version = "dev"

func deps() cli.Deps {
	d := cli.Deps{Version: version, Environ: os.Environ(), FindEngine: engine.Find, ProviderOf: price.ProviderOf, PriceOf: price.Lookup, Adapters: app.Adapters(), Steering: app.Steering, Prices: app.Prices,
		Policy: app.Policy, Simulated: app.Simulated}
	for _, s := range router.Strategies() {
		d.Strategies = append(d.Strategies, s.Name)
	}
	d.Commands = []*cobra.Command{upCommand(), serveCommand(), engineCommand(), benchCommand(), providerCommand(), chaosCommand(), soakCommand(), diskCommand(), demo.Command(runClient, d.Strategies)}
	return d
}

// runClient is this program's command line for a command that shows it.
func runClient(ctx context.Context, out io.Writer, environ []string, args ...string) int {
	d := deps()
	d.Out, d.Environ = out, environ
	return cli.Run(ctx, d, args)
}

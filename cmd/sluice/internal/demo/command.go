package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// CLI runs a command line of sluice with the given variables, and returns its
// exit status.
type CLI func(ctx context.Context, out io.Writer, environ []string, args ...string) int

// most is how long a demo may take.
const most = 90 * time.Second

// Command is `sluice demo`. Client commands that it shows run through cli;
// strategies are the names that the configuration may give.
func Command(cli CLI, strategies []string) *cobra.Command {
	c := &cobra.Command{
		Use:   "demo",
		Short: "Push a few hundred prompts through simulated pools, show what they cost, clean up",
		Args:  cobra.NoArgs,
		Long: `Runs everything in this process, with data in a temporary folder: three
simulated pools of different speed, price and failure share, and a pool for
each provider whose usual key variable is set (each gets a few short prompts).
Leaves nothing running and no files. sluice up runs the same for good.`,
		Example: "  sluice demo\n  sluice demo --jobs 100 --rate 20",
	}
	d := demo{cli: cli, strategies: strategies}
	f := c.Flags()
	f.IntVar(&d.jobs, "jobs", 0, "prompts to submit (0: all that ship with sluice)")
	f.Float64Var(&d.rate, "rate", 40, "jobs submitted a second")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, name := range []string{"config", "nats", "clickhouse", "data-dir", "set", "tenant", "key", "json"} {
			if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
				return fmt.Errorf("sluice demo runs on its own and takes no --%s: use sluice up", name)
			}
		}
		if d.rate <= 0 || d.jobs < 0 {
			return errors.New("--rate must be above 0, and --jobs not below")
		}
		ctx, cancel := context.WithTimeoutCause(cmd.Context(), most, fmt.Errorf("the demo takes longer than %s: is the machine very busy?", most))
		defer cancel()
		d.out, d.err, d.tty = cmd.OutOrStdout(), cmd.ErrOrStderr(), isTerminal(cmd.OutOrStdout())
		d.environ = os.Environ()
		return d.run(ctx)
	}
	return c
}

// isTerminal reports whether w can move its cursor.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

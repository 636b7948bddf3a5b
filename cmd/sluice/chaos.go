package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sluicehq/sluice/cmd/sluice/internal/fleet"
	"github.com/spf13/cobra"
)

// providerCommand is the simulated providers' process.
func providerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "provider", Hidden: true, Args: cobra.NoArgs,
		Short: "Simulated providers over HTTP (started by chaos and bench)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return fleet.ServeProviders(cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

// chaosCommand breaks a whole cluster on this machine and counts what is left.
func chaosCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "chaos", Hidden: true, Args: cobra.NoArgs,
		Short: "Kill, pause and cut a cluster of real processes under load, and check that nothing is lost or counted twice",
		Example: `  sluice chaos --seed 1 --jobs 2000
  sluice chaos --seed 1 --seeds 10 --jobs 10000 --table`,
	}
	var o fleet.ChaosOptions
	f := c.Flags()
	f.Uint64Var(&o.Seed, "seed", 1, "of everything that happens")
	seeds := f.Uint64("seeds", 1, "how many seeds to run, from --seed on")
	f.IntVar(&o.Jobs, "jobs", 2000, "jobs of each run")
	f.Float64Var(&o.Rate, "rate", 60, "jobs per second")
	f.DurationVar(&o.Every, "every", 2*time.Second, "average time between two faults")
	f.IntVar(&o.Clients, "clients", 1, "connections that submit at once")
	f.IntVar(&o.Routers, "routers", 2, "routers of the cluster")
	f.BoolVar(&o.Keep, "keep", false, "keep logs and data also of a good run")
	table := f.Bool("table", false, "print a Markdown table at the end")
	binaries := binaryFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if o.Binaries, err = binaries(); err != nil {
			return err
		}
		o.Log = cmd.ErrOrStderr()
		var rows []string
		failed := 0
		for ; *seeds > 0; *seeds-- {
			rep, err := fleet.Chaos(cmd.Context(), o)
			if err != nil {
				return err
			}
			rep.Print(cmd.OutOrStdout())
			if err := rep.Err(); err != nil {
				failed++
				fmt.Fprintf(cmd.OutOrStdout(), "FAILED, again with: make chaos SEED=%d N=%d RATE=%g CLIENTS=%d ROUTERS=%d\n%v\n", o.Seed, o.Jobs, o.Rate, o.Clients, o.Routers, err)
			}
			rows = append(rows, rep.Row())
			o.Seed++
		}
		if *table {
			fmt.Fprintln(cmd.OutOrStdout(), fleet.TableHead)
			for _, r := range rows {
				fmt.Fprintln(cmd.OutOrStdout(), r)
			}
		}
		if failed > 0 {
			return fmt.Errorf("%d of %d runs failed", failed, len(rows))
		}
		return nil
	}
	return c
}

// binaryFlags says which programs a fleet runs.
func binaryFlags(c *cobra.Command) func() (fleet.Binaries, error) {
	server := c.Flags().String("nats-server", "", "the nats-server to run (default: beside this program, else in PATH)")
	conf := c.Flags().String("nats-config", filepath.Join("deploy", "nats", "cluster.conf"), "its configuration")
	return func() (fleet.Binaries, error) {
		exe, err := os.Executable()
		if err != nil {
			return fleet.Binaries{}, err
		}
		b := fleet.Binaries{Sluice: []string{exe}, NATSServer: *server, NATSConfig: *conf}
		if b.NATSServer == "" {
			b.NATSServer = filepath.Join(filepath.Dir(exe), "nats-server")
			if _, err := os.Stat(b.NATSServer); err != nil {
				if b.NATSServer, err = exec.LookPath("nats-server"); err != nil {
					return b, fmt.Errorf("no nats-server: `make nats-server` builds one, or give --nats-server: %w", err)
				}
			}
		}
		if _, err := os.Stat(b.NATSConfig); err != nil {
			return b, fmt.Errorf("--nats-config: %w; run this in the repository", err)
		}
		return b, nil
	}
}

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/analytics/engine"
	"github.com/sluicehq/sluice/cmd/sluice/internal/app"
	"github.com/sluicehq/sluice/cmd/sluice/internal/bench"
	"github.com/sluicehq/sluice/cmd/sluice/internal/cli"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/spf13/cobra"
)

// upCommand is everything in one process.
func upCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "up",
		Short: "Run everything in one process: NATS, router, workers, ingester, ClickHouse",
		Args:  cobra.NoArgs,
		Example: `  sluice up
  sluice up --config sluice.yaml --data-dir /var/lib/sluice`,
	}
	verbose := c.Flags().Bool("verbose", false, "log what is normally not worth a line")
	profile := c.Flags().String("cpuprofile", "", "write a CPU profile (pprof) of this process to this file")
	cli.ConfigFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		return bench.Profiled(*profile, func() error { return serve(cmd, app.Roles(), *verbose) })
	}
	return c
}

// serveCommand is some of the parts, against external NATS and ClickHouse.
func serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run some roles against an external NATS and ClickHouse",
		Args:  cobra.NoArgs,
		Example: `  sluice serve --role router,worker --nats nats://nats:4222
  sluice serve --role ingest --nats nats://nats:4222 --clickhouse clickhouse://default:secret@ch:9000`,
	}
	names := c.Flags().StringSlice("role", nil, "roles of this process: gateway, router, worker, ingest (all of them if not given)")
	verbose := c.Flags().Bool("verbose", false, "log what is normally not worth a line")
	cli.ConfigFlags(c)
	var roles []app.Role
	c.PreRunE = func(*cobra.Command, []string) (err error) { // wrong usage, and no failure
		roles, err = parseRoles(*names)
		return err
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error { return serve(cmd, roles, *verbose) }
	return c
}

func parseRoles(names []string) ([]app.Role, error) {
	if len(names) == 0 {
		return app.Roles(), nil
	}
	var roles []app.Role
	for _, n := range names {
		r := app.Role(strings.TrimSpace(n))
		if !slices.Contains(app.Roles(), r) {
			return nil, fmt.Errorf("no role is called %q: use gateway, router, worker or ingest", n)
		}
		roles = append(roles, r)
	}
	return roles, nil
}

// engineCommand is the child process that a supervisor starts.
func engineCommand() *cobra.Command {
	return &cobra.Command{
		Use: "engine", Hidden: true, Args: cobra.NoArgs,
		Short: "The embedded ClickHouse's own process (started by up and serve)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return engine.Main(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

func serve(cmd *cobra.Command, roles []app.Role, verbose bool) error {
	began := time.Now()
	src, err := cli.Sources(cmd)
	if err != nil {
		return err
	}
	cfg, err := config.Load(src)
	if err != nil {
		return err
	}
	if cmd.Name() == "serve" && cfg.NATS.URL.IsZero() {
		return config.Faults{{Where: "sluice serve", Key: "nats.url", Bound: "must be set (--nats URL): serve runs roles against an external NATS; everything in one process is sluice up"}}
	}
	tuneGC()
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	for _, w := range cfg.Warnings {
		log.Warn(w)
	}
	err = app.Run(cmd.Context(), cfg, app.Options{Roles: roles, Sources: src, Logger: log,
		Ready: func(a *app.App) { greet(cmd.OutOrStdout(), cfg, a, began) }})
	if err == nil && cmd.Context().Err() == context.Canceled {
		log.Info("stopped")
	}
	return err
}

// greet says that jobs are taken, and where.
func greet(w io.Writer, cfg *config.Config, a *app.App, began time.Time) {
	fmt.Fprintf(w, "sluice is ready after %d ms\n", time.Since(began).Milliseconds())
	fmt.Fprintf(w, "  NATS        %s\n", a.NATSAddr())
	for _, line := range a.Addresses() {
		fmt.Fprintf(w, "  %s\n", line)
	}
	for _, r := range cfg.Routes {
		var pools []string
		for _, c := range r.Candidates {
			pools = append(pools, c.Pool)
		}
		fmt.Fprintf(w, "  route       %s → %s (%s)\n", r.Model, strings.Join(pools, ", "), r.Strategy)
	}
}

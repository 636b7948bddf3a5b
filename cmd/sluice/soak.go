package main

import (
	"os"

	"github.com/sluicehq/sluice/cmd/sluice/internal/fleet"
	"github.com/spf13/cobra"
)

// diskCommand is the process with a disk of its own.
func diskCommand() *cobra.Command {
	return &cobra.Command{
		Use: "disk DIR MIB -- COMMAND...", Hidden: true, Args: cobra.MinimumNArgs(3),
		Short: "A broker on a small disk (started by soak)",
		RunE: func(cmd *cobra.Command, args []string) error {
			return fleet.ServeDisk(args[0], args[1], args[2:], cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

// soakCommand piles up what a broker may be asked to hold.
func soakCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "soak", Hidden: true, Args: cobra.NoArgs,
		Short:   "Pile up jobs, readers, answers and slow calls in front of a broker, fill its disk, and print the memory that it took",
		Example: "  sluice soak --jobs 20000 --readers 300 --answer 10 --part backlog,readers",
	}
	var o fleet.SoakOptions
	f := c.Flags()
	f.IntVar(&o.Jobs, "jobs", 1_000_000, "queued jobs of 1 KiB")
	f.IntVar(&o.Readers, "readers", 10_000, "readers of one answer that stop reading")
	f.IntVar(&o.Answer, "answer", 100, "MiB of an answer")
	f.IntVar(&o.Calls, "calls", 1000, "calls to a provider that sends a byte a second")
	f.IntVar(&o.Disk, "disk", 256, "MiB of the disk that fills up")
	f.StringSliceVar(&o.Parts, "part", fleet.SoakParts(), "parts to run")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		o.Sluice, o.Out, o.Log = []string{exe}, cmd.OutOrStdout(), cmd.ErrOrStderr()
		return fleet.Soak(cmd.Context(), o)
	}
	return c
}

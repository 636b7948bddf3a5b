package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/spf13/cobra"
)

// addCommand is pool add.
func (g *globals) addCommand() *cobra.Command {
	return &cobra.Command{
		Use: "add FILE", Short: "Add a pool while Sluice runs, or change an added one", Args: exactly(1, "a file, or - for standard input"),
		Long: `Add a pool while Sluice runs, or change an added one.

The file holds one element of the list pools of a configuration, as YAML or
JSON, for example:

  name: local
  base_url: http://127.0.0.1:8000/v1
  models: {llama: {}}
  routes: [chat]          # those that it becomes a candidate of

A key is env:NAME or file:PATH, which every worker must have. What is added
stays over restarts, until pool remove; a pool of the same name in the
configuration wins over it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := readFile(cmd, args[0])
			if err != nil {
				return err
			}
			var answer struct {
				Pool   string   `json:"pool"`
				Routes []string `json:"routes"`
			}
			if err := g.askOnce(cmd, "pool.add", map[string]string{"spec": string(spec)}, &answer); err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), answer)
			}
			said := "takes jobs of " + strings.Join(answer.Routes, ", ")
			if len(answer.Routes) == 0 {
				said = "is there, but no route has it as a candidate: name some in its `routes`"
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "pool", answer.Pool, said)
			return err
		}}
}

// removeCommand is pool remove.
func (g *globals) removeCommand() *cobra.Command {
	noWait := false
	c := &cobra.Command{
		Use: "remove POOL", Short: "Remove an added pool, when what it runs has ended", Args: exactly(1, "the name of a pool"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, _, err := g.dialAdmin(cmd)
			if err != nil {
				return err
			}
			defer a.close()
			var answer struct {
				Pool     string `json:"pool"`
				Removing bool   `json:"removing"`
			}
			if err := a.ask(cmd.Context(), "pool.remove", map[string]string{"pool": args[0]}, &answer); err != nil {
				return err
			}
			for told := false; !noWait; {
				var pools poolsAnswer
				if err := a.ask(cmd.Context(), "pools", nil, &pools); err != nil {
					return err
				}
				i := slices.IndexFunc(pools.Pools, func(p poolAnswer) bool { return p.Name == args[0] })
				if i < 0 {
					answer.Removing = false
					break
				}
				if n := pools.Pools[i].Running; n > 0 && !told && !g.json {
					told = true
					_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "waiting for %d running attempts; the pool also goes without this command\n", n)
				}
				if err := ledger.Pause(cmd.Context(), 200*time.Millisecond); err != nil {
					return err
				}
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), answer)
			}
			said := "is removed"
			if answer.Removing {
				said = "takes no new jobs, and goes when it is idle"
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "pool", answer.Pool, said)
			return err
		}}
	c.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until it is gone")
	return c
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// jobTextCommand prints what was said in a job.
func (g *globals) jobTextCommand() *cobra.Command {
	return &cobra.Command{Use: "text ID", Short: "Show what is kept of a job's prompts and answers, attempt by attempt", Args: exactly(1, "one job ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !wire.ValidName(args[0]) {
				return usage("see sluice job list", "the job ID %q does not match [A-Za-z0-9_-]{1,64}", clean(args[0]))
			}
			c, err := g.load(cmd)
			if err != nil {
				return err
			}
			tenant, _ := g.identity(c)
			hint := "texts are kept where the tenant's configuration has text, from then on, for its keep: see docs/texts.md"
			return g.printTexts(cmd, store.TextQuery{Tenant: tenant, Job: args[0]}, fmt.Sprintf("nothing is kept of job %s of tenant %s", args[0], tenant), hint)
		}}
}

func (g *globals) textCommand() *cobra.Command {
	var since, until, job string
	var limit int
	var all bool
	search := &cobra.Command{
		Use: "search WORD…", Short: "Find what was said, by words of prompts and answers",
		Long:    "Find attempts in whose prompt or answer each of the words is: whole words of letters and digits, in any case.\nThe newest come first. Without --tenant, of all tenants.",
		Example: "  sluice text search refund --tenant acme --since 7d\n  sluice text search \"order 4711\" --json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 || limit > 1000 {
				return usage("", "--limit must be from 1 to 1000")
			}
			q := store.TextQuery{Tenant: g.tenant, Words: args, Limit: limit}
			now := time.Now()
			var err error
			if since != "all" {
				if q.Since, err = ago("since", since, now); err != nil {
					return err
				}
			}
			if until != "" {
				if q.Until, err = ago("until", until, now); err != nil {
					return err
				}
			}
			return g.printTexts(cmd, q, "no text that is kept has these words", "")
		},
	}
	search.Flags().StringVar(&since, "since", "all", "what was said since: a duration back from now, an RFC 3339 time, or all")
	search.Flags().StringVar(&until, "until", "", "and until: a duration back from now, or an RFC 3339 time (default now)")
	search.Flags().IntVar(&limit, "limit", 20, "how many to show, 1 to 1000")
	forget := &cobra.Command{
		Use: "delete", Short: "Delete what is kept of a job's, or of all of a tenant's, prompts and answers",
		Long: "Delete what is kept of a job's, or of all of a tenant's, prompts and answers: from ClickHouse's disk, and\n" +
			"what is on its way there. What is said later is kept again, unless the configuration changes.",
		Example: "  sluice text delete --tenant acme --job order-7\n  sluice text delete --tenant acme --all",
		Args:    exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case g.tenant == "":
				return usage("for example --tenant acme", "say whose texts to delete, by --tenant")
			case all == (job != ""):
				return usage("", "name one job by --job, or all of the tenant's by --all")
			case !wire.ValidName(g.tenant) || job != "" && !wire.ValidName(job):
				return usage("", "a tenant and a job ID match [A-Za-z0-9_-]{1,64}")
			}
			return g.forgetTexts(cmd, g.tenant, job)
		},
	}
	forget.Flags().StringVar(&job, "job", "", "the job")
	forget.Flags().BoolVar(&all, "all", false, "all of the tenant's jobs")
	return group("text", "Search and delete what is kept of prompts and answers", search, forget)
}

// forgetTimeout is how long a deletion is waited for.
const forgetTimeout = time.Minute

func (g *globals) forgetTexts(cmd *cobra.Command, tenant, job string) error {
	a, _, err := g.dialAdmin(cmd)
	if err != nil {
		return err
	}
	defer a.close()
	js, err := jetstream.New(a.nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), forgetTimeout)
	defer cancel()
	done, err := ledger.ForgetTexts(ctx, js, a.subjects, tenant, job)
	if err != nil {
		return failed(err, "administration needs the server's own user: run this where its data directory is (--data-dir)", "%v", err)
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), map[string]any{"tenant": tenant, "job_id": job, "deleted": done})
	}
	what := "deleted"
	if !done {
		what = "ordered to be deleted: it will be when ClickHouse and an ingester are there (see sluice doctor)"
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", what)
	return err
}

// printTexts prints what a query finds, or fails with what to say if that is
// nothing.
func (g *globals) printTexts(cmd *cobra.Command, q store.TextQuery, nothing, hint string) error {
	s, err := g.openStore(cmd)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // only read from
	rows, err := s.Texts(cmd.Context(), q)
	switch {
	case errors.Is(err, store.ErrWords):
		return usage("", "%v", store.ErrWords)
	case err != nil:
		return asked(err)
	case g.json:
		list := make([]store.TextJSON, len(rows))
		for i := range rows {
			list[i] = rows[i].JSON()
		}
		return printJSON(cmd.OutOrStdout(), map[string]any{"texts": list})
	case len(rows) == 0:
		return failed(nil, hint, "%s", nothing)
	}
	for i := range rows {
		if err := printText(cmd.OutOrStdout(), &rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// printText prints one attempt's text for people.
func printText(w io.Writer, r *store.Text) error {
	var left []string
	for _, kind := range slices.Sorted(maps.Keys(r.Redacted)) {
		left = append(left, fmt.Sprintf("%d %s", r.Redacted[kind], kind))
	}
	head := fmt.Sprintf("%s  %s/%s  attempt %d at %s/%s  %s  kept until %s", r.TS.Local().Format(time.DateTime), r.Tenant, r.Job, r.Attempt, r.Pool, r.Model,
		r.Status, r.ExpiresAt().Local().Format(time.DateTime))
	if len(left) > 0 {
		head += "  left out: " + strings.Join(left, ", ")
	}
	answer := cleanLines(r.Answer)
	if answer == "" {
		answer = "(none came)"
	}
	_, err := fmt.Fprintf(w, "── %s\n%s\n── answer\n%s\n\n", clean(head), cleanLines(r.Prompt), answer)
	return err
}

package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

func (g *globals) jobCommand() *cobra.Command {
	var stream bool
	watch := g.oneJob("watch", "Follow a job until it has ended", func(cmd *cobra.Command, h *sdk.Handle) error {
		if stream {
			return g.follow(cmd.Context(), cmd, h, true, false)
		}
		return g.watch(cmd, h)
	})
	watch.Flags().BoolVar(&stream, "stream", false, "print the answer instead, while it is generated")
	return group("job", "Look at jobs, follow and cancel them",
		g.oneJob("get", "Show a job's state, and its answer once it has ended", g.getJob),
		g.listCommand(),
		g.rateCommand(),
		g.jobTextCommand(),
		g.oneJob("cancel", "End a job, whatever its state", g.cancelJob),
		watch,
		g.oneJob("trace", "Show every step of a job, with the router's decisions", g.traceJob))
}

// oneJob is a command about one job of the tenant.
func (g *globals) oneJob(name, short string, run func(*cobra.Command, *sdk.Handle) error) *cobra.Command {
	return &cobra.Command{Use: name + " ID", Short: short, Args: exactly(1, "one job ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !wire.ValidName(args[0]) {
				return usage("see sluice job list", "the job ID %q does not match [A-Za-z0-9_-]{1,64}", clean(args[0]))
			}
			client, _, err := g.dial(cmd)
			if err != nil {
				return err
			}
			defer client.Close()
			return run(cmd, client.Attach(args[0]))
		}}
}

// exactly takes n arguments.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usage("see "+cmd.CommandPath()+" --help", "%s takes %s", cmd.CommandPath(), what)
		}
		return nil
	}
}

func (g *globals) getJob(cmd *cobra.Command, h *sdk.Handle) error {
	a, err := h.Status(cmd.Context())
	if err != nil {
		return err
	}
	if !a.Status.Terminal() {
		if g.json {
			return printJSON(cmd.OutOrStdout(), a)
		}
		return printState(cmd.OutOrStdout(), a)
	}
	r, err := h.Wait(cmd.Context())
	if err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), resultJSON(r))
	}
	if err := printState(cmd.OutOrStdout(), a); err != nil {
		return err
	}
	if r.Err != nil {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "\n%s: %s\n", r.Err.Code, cleanLines(r.Err.Message))
		return err
	}
	say(cmd.OutOrStdout(), "\n")
	return printAnswer(cmd.OutOrStdout(), r)
}

// printState prints what is known of a job, a line each.
func printState(w io.Writer, a *wire.Answer) error {
	state := string(a.Status)
	if a.Reason != "" {
		state += " (" + string(a.Reason) + ")"
	}
	if a.Until != "" {
		state += " until " + localTime(a.Until)
	}
	t := newTable("job", a.Job)
	for _, kv := range [][2]string{
		{"tenant", a.Tenant}, {"key", a.Key}, {"status", state}, {"class", string(a.Class)}, {"route", a.Route}, {"batch", a.Batch},
		{"submitted", localTime(a.Queued)}, {"attempts", strconv.Itoa(a.Attempts)},
	} {
		if kv[1] != "" {
			t.row(kv[0], kv[1])
		}
	}
	if a.Attempts > 0 {
		t.row("cost", cost(a.Cost, a.Cost != nil))
	}
	return t.print(w)
}

// localTime shows an RFC 3339 time in the user's zone, to the millisecond.
func localTime(s string) string {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return s
	}
	return t.Local().Format("2006-01-02 15:04:05.000")
}

func (g *globals) cancelJob(cmd *cobra.Command, h *sdk.Handle) error {
	a, err := h.Cancel(cmd.Context())
	if a != nil && (sdk.CodeOf(err) == wire.CodeFinished || err == nil && a.Status.Terminal() && a.Status != wire.Cancelled) {
		return failed(err, "see sluice job get "+h.ID(), "job %s cannot be cancelled: it has ended already (%s)",
			h.ID(), firstOf(string(a.Status), string(wire.CodeFinished)))
	}
	if err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), a)
	}
	word := string(a.Status)
	if a.Status == wire.Running {
		word = "running, and asked to stop"
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "job %s: %s\n", h.ID(), word)
	return err
}

// watch prints each record of a job as it comes.
func (g *globals) watch(cmd *cobra.Command, h *sdk.Handle) error {
	var last wire.Record
	out := cmd.OutOrStdout()
	for rec, err := range h.Records(cmd.Context()) {
		if err != nil {
			return goesOn(err, h)
		}
		last = rec
		if g.json {
			if err := printLine(out, recordJSON(&rec)); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintf(out, "%s\n", clean(recordLine(&rec))); err != nil {
			return err
		}
	}
	if last.Status != wire.Succeeded {
		return silent(exitFailed)
	}
	return nil
}

// recordJSON is a record for programs, without its body.
func recordJSON(r *wire.Record) any {
	return struct {
		Job     string        `json:"job_id"`
		Status  wire.Status   `json:"status"`
		Reason  wire.Reason   `json:"reason,omitempty"`
		Until   *time.Time    `json:"until,omitempty"`
		Attempt *wire.Attempt `json:"attempt,omitempty"`
		Error   wire.Code     `json:"error_code,omitempty"`
	}{r.Entry.Meta.ID, r.Status, r.Reason, ptrUnlessZero(r.Until), r.Entry.Attempt, r.Entry.Error}
}

func ptrUnlessZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// recordLine is a record for people.
func recordLine(r *wire.Record) string {
	parts := []string{string(r.Status)}
	if r.Reason != "" {
		parts = append(parts, "("+string(r.Reason)+")")
	}
	if !r.Until.IsZero() {
		parts = append(parts, "until "+r.Until.Local().Format("15:04:05.000"))
	}
	if a := r.Entry.Attempt; a != nil {
		parts = append(parts, fmt.Sprintf("attempt %d at %s/%s", a.N, a.Pool, a.Model))
		if r.EndsAttempt() {
			parts = append(parts, attemptEnd(a))
		}
	}
	if r.Entry.Error != "" {
		parts = append(parts, string(r.Entry.Error))
	}
	return strings.Join(parts, "  ")
}

func attemptEnd(a *wire.Attempt) string {
	s := string(a.Status)
	if a.ErrorCode != "" {
		s += " " + string(a.ErrorCode)
	}
	return fmt.Sprintf("%s in %d ms, %s", s, a.LatencyMS, cost(a.Cost, a.Cost != nil))
}

func (g *globals) listCommand() *cobra.Command {
	var status string
	var limit int
	cmd := &cobra.Command{Use: "list", Short: "List the newest jobs", Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return g.listJobs(cmd, status, limit) }}
	cmd.Flags().StringVar(&status, "status", "", "only jobs with this status")
	cmd.Flags().IntVar(&limit, "limit", 20, "how many to show, 1 to 1000")
	return cmd
}

func (g *globals) listJobs(cmd *cobra.Command, status string, limit int) error {
	if limit < 1 || limit > 1000 {
		return usage("", "--limit must be from 1 to 1000")
	}
	switch s := wire.Status(status); {
	case status == "", s == wire.Running, s == wire.Waiting, s.Terminal():
	default:
		return usage("", "--status %q is none of running, waiting, succeeded, failed, cancelled, expired", clean(status))
	}
	a, _, err := g.dialAdmin(cmd)
	if err != nil {
		return err
	}
	defer a.close()
	var answer struct {
		Jobs []wire.Answer `json:"jobs"`
	}
	err = a.ask(cmd.Context(), "jobs", map[string]any{"tenant": g.tenant, "status": status, "limit": limit}, &answer)
	if err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), answer)
	}
	t := newTable("JOB", "TENANT", "CLASS", "ROUTE", "STATUS", ">ATTEMPTS", ">USD", "SUBMITTED")
	for _, j := range answer.Jobs {
		t.row(j.Job, j.Tenant, string(j.Class), j.Route, string(j.Status), strconv.Itoa(j.Attempts), usd(j.Cost), localTime(j.Queued))
	}
	return t.print(cmd.OutOrStdout())
}

// usd is an amount in a table; "?" is one that is not known.
func usd(c *wire.NanoUSD) string {
	if c == nil {
		return "?"
	}
	return c.String()
}

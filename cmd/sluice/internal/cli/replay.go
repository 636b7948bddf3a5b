package cli

import (
	"fmt"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// capturesAnswer is what the server has of the decisions about a job.
type capturesAnswer struct {
	Decisions []struct {
		Attempt  int             `json:"attempt"` // 0: none began
		Status   wire.Status     `json:"status"`  // of the record that followed
		Reason   wire.Reason     `json:"reason"`
		Decision *wire.Decision  `json:"decision"`
		Capture  *router.Capture `json:"capture"` // nil: it is missing
		Missing  string          `json:"missing"` // why
	} `json:"decisions"`
}

// replayAnswer is one decision that was made again.
type replayAnswer struct {
	Attempt  int             `json:"attempt,omitempty"` // 0: none began
	Status   wire.Status     `json:"status"`            // of the record that followed
	Reason   wire.Reason     `json:"reason,omitempty"`
	Same     bool            `json:"same"`              // bit for bit
	Missing  string          `json:"missing,omitempty"` // why it cannot be made again
	Differs  []string        `json:"differs,omitempty"`
	Recorded *wire.Decision  `json:"recorded"`
	Replayed *wire.Decision  `json:"replayed,omitempty"`
	Capture  *router.Capture `json:"capture,omitempty"`
}

// replayCommand is route replay.
func (g *globals) replayCommand() *cobra.Command {
	return &cobra.Command{
		Use: "replay ID", Short: "Make the decisions about a job again, and compare them with the recorded ones", Args: exactly(1, "one job ID"),
		Long: `Make the decisions about a job again, from all that they saw, and compare them
with the recorded ones, bit for bit: those behind its attempts, and those that
found nobody, by which it waited, failed or expired. What they saw is kept as long
as records are, up to 1 GiB (millions of decisions); with --json, it is in the
answer. Set records.captures below 1 to keep it of a share of the jobs only.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			a, c, err := g.dialAdmin(cmd)
			if err != nil {
				return err
			}
			defer a.close()
			tenant, _ := g.identity(c)
			var have capturesAnswer
			if err := a.ask(cmd.Context(), "route.captures", map[string]string{"tenant": tenant, "job": args[0]}, &have); err != nil {
				return err
			}
			replays, err := have.replay()
			if err != nil {
				return err
			}
			if len(replays) == 0 {
				return &failure{code: exitFailed, msg: fmt.Sprintf("no record of job %s follows from a decision yet, so there is none to make again", clean(args[0]))}
			}
			return g.printReplays(cmd, replays)
		}}
}

// replay decides again what was captured.
func (a *capturesAnswer) replay() (out []replayAnswer, err error) {
	for _, d := range a.Decisions {
		r := replayAnswer{Attempt: d.Attempt, Status: d.Status, Reason: d.Reason, Recorded: d.Decision, Capture: d.Capture, Missing: d.Missing}
		if d.Capture != nil {
			if r.Replayed, r.Differs, err = router.Verify(d.Capture, r.Recorded); err != nil {
				return nil, fmt.Errorf("the decision behind %q cannot be made again: %w", r.what(), err)
			}
			r.Same = len(r.Differs) == 0
		}
		out = append(out, r)
	}
	return out, nil
}

// what is what the decision led to.
func (r *replayAnswer) what() string {
	if r.Attempt > 0 {
		return fmt.Sprintf("attempt %d", r.Attempt)
	}
	return stepLine(&wire.Step{Status: r.Status, Reason: r.Reason})
}

func (g *globals) printReplays(cmd *cobra.Command, replays []replayAnswer) error {
	w, same, missing := cmd.OutOrStdout(), true, ""
	for i := range replays {
		r := &replays[i]
		said := "the same, bit for bit"
		switch {
		case r.Missing != "":
			said, missing = r.Missing, r.Missing
		case !r.Same:
			said, same = "differs", false
		}
		if g.json {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", r.what(), said); err != nil {
			return err
		}
		for _, d := range r.Differs {
			if _, err := fmt.Fprintln(w, "  "+clean(d)); err != nil {
				return err
			}
		}
		if r.Replayed == nil {
			continue
		}
		if err := printDecision(w, r.Replayed, "  "); err != nil {
			return err
		}
	}
	if g.json {
		if err := printJSON(w, map[string]any{"replays": replays}); err != nil {
			return err
		}
	}
	switch {
	case !same:
		return &failure{code: exitFailed, msg: "a decision differs from the recorded one"}
	case missing != "":
		return &failure{code: exitFailed, msg: "a decision cannot be made again: " + clean(missing)}
	}
	return nil
}

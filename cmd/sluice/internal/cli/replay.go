package cli

import (
	"fmt"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// capturesAnswer is what the server has of the decisions about a job.
type capturesAnswer struct {
	Recorded []struct {
		Attempt  int            `json:"attempt"`
		Decision *wire.Decision `json:"decision"`
	} `json:"recorded"`
	Captures []struct {
		Attempt int             `json:"attempt"`
		Capture *router.Capture `json:"capture"`
	} `json:"captures"`
}

// replayAnswer is one decision that was made again.
type replayAnswer struct {
	Attempt  int             `json:"attempt"`
	Same     bool            `json:"same"` // bit for bit
	Differs  []string        `json:"differs,omitempty"`
	Recorded *wire.Decision  `json:"recorded"`
	Replayed *wire.Decision  `json:"replayed"`
	Capture  *router.Capture `json:"capture"`
}

// replayCommand is route replay.
func (g *globals) replayCommand() *cobra.Command {
	return &cobra.Command{
		Use: "replay ID", Short: "Make the decisions about a job again, and compare them with the recorded ones", Args: exactly(1, "one job ID"),
		Long: `Make the decisions about a job again, from all that they saw, and compare them
with the recorded ones, bit for bit. What they saw is kept of a sample of the
jobs (records.captures, 1 % by default; 1 keeps all), as long as records are,
up to 256 MiB. With --json, it is in the answer.`,
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
				return &failure{code: exitFailed, msg: fmt.Sprintf("the decisions about job %s were not captured", clean(args[0])),
					hint: "set records.captures to 1 to capture those about all jobs"}
			}
			return g.printReplays(cmd, replays)
		}}
}

// replay decides again what was captured and recorded.
func (a *capturesAnswer) replay() (out []replayAnswer, err error) {
	for _, c := range a.Captures {
		r := replayAnswer{Attempt: c.Attempt, Capture: c.Capture}
		for _, x := range a.Recorded {
			if x.Attempt == c.Attempt && x.Decision.Sequence == c.Capture.Input.Sequence {
				r.Recorded = x.Decision
			}
		}
		if r.Recorded == nil {
			continue // of a copy of the job that lost its claim
		}
		if r.Replayed, r.Differs, err = router.Verify(c.Capture, r.Recorded); err != nil {
			return nil, fmt.Errorf("the decision about attempt %d cannot be made again: %w", c.Attempt, err)
		}
		r.Same = len(r.Differs) == 0
		out = append(out, r)
	}
	return out, nil
}

func (g *globals) printReplays(cmd *cobra.Command, replays []replayAnswer) error {
	w, same := cmd.OutOrStdout(), true
	for i := range replays {
		r := &replays[i]
		if same = same && r.Same; g.json {
			continue
		}
		said := "the same, bit for bit"
		if !r.Same {
			said = "differs"
		}
		if _, err := fmt.Fprintf(w, "attempt %d: %s\n", r.Attempt, said); err != nil {
			return err
		}
		for _, d := range r.Differs {
			if _, err := fmt.Fprintln(w, "  "+clean(d)); err != nil {
				return err
			}
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
	if !same {
		return &failure{code: exitFailed, msg: "a decision differs from the recorded one"}
	}
	return nil
}

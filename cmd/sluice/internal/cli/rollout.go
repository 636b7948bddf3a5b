package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/broker/rollout"
	"github.com/spf13/cobra"
)

type rolloutsAnswer struct {
	Rollouts []rollout.Status `json:"rollouts"`
}

func (g *globals) rolloutCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List rollouts: how far they are, and how blue and green do", Args: exactly(0, "no arguments"), RunE: g.listRollouts}
	commands := []*cobra.Command{list}
	for _, a := range []struct {
		action rollout.Action
		short  string
	}{
		{rollout.Switch, "Send all jobs to the new version (green) at once"},
		{rollout.Back, "Send all jobs back to the old version (blue) at once"},
		{rollout.Pause, "Keep the share as it is"},
		{rollout.Resume, "Go on with a paused rollout"},
		{rollout.Start, "Begin again from the first step"},
	} {
		commands = append(commands, &cobra.Command{Use: string(a.action) + " NAME", Short: a.short, Args: exactly(1, "the name of a rollout"),
			RunE: func(cmd *cobra.Command, args []string) error { return g.setRollout(cmd, args[0], a.action) }})
	}
	return group("rollout", "Move a route from one version to another, and back", commands...)
}

func (g *globals) listRollouts(cmd *cobra.Command, _ []string) error {
	var answer rolloutsAnswer
	if err := g.askOnce(cmd, "rollouts", nil, &answer); err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), answer)
	}
	t := newTable("ROLLOUT", "PHASE", ">GREEN %", "SINCE", "STEPS", ">BLUE ERRORS", ">P50 MS", ">GREEN ERRORS", ">P50 MS", "WHY")
	for _, r := range answer.Rollouts {
		steps := make([]string, len(r.Steps))
		for i, n := range r.Steps {
			if steps[i] = strconv.Itoa(n); i == r.State.Step {
				steps[i] = "(" + steps[i] + ")"
			}
		}
		row := []string{r.Name, string(r.State.Phase), strconv.Itoa(r.Share), localTime(time.Unix(0, r.State.Since).UTC().Format(time.RFC3339)), strings.Join(steps, " ")}
		for _, v := range []rollout.Vitals{r.Blue, r.Green} {
			errors := "-"
			if v.Samples > 0 {
				errors = fmt.Sprintf("%.1f%% of %.0f", 100*v.Errors, v.Samples)
			}
			row = append(row, errors, millis(v.Median))
		}
		t.row(append(row, r.State.Reason)...)
	}
	return t.print(cmd.OutOrStdout())
}

func (g *globals) setRollout(cmd *cobra.Command, name string, action rollout.Action) error {
	var answer struct {
		Rollout string        `json:"rollout"`
		State   rollout.State `json:"state"`
	}
	if err := g.askOnce(cmd, "rollout.set", map[string]string{"rollout": name, "action": string(action)}, &answer); err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), answer)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "rollout %s: %s\n", answer.Rollout, answer.State.Phase)
	return err
}

package cli

import (
	"fmt"
	"strconv"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// rateCommand is job rate.
func (g *globals) rateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rate ID SCORE", Short: "Report how good a job's answer was", Args: exactly(2, "a job ID and a score from 0 (useless) to 1 (best)"),
		Long: `Report how good a job's answer was, from 0 (useless) to 1 (best).

It counts for the pool and model that gave the answer, in routes of the strategy
quality and in the scores of sluice pool list. A report counts half after a
week; of a job, only the first one counts.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			score, err := strconv.ParseFloat(args[1], 64)
			if err != nil || !(score >= 0 && score <= 1) || !wire.ValidName(args[0]) {
				return usage("", "a job ID and a score from 0 to 1 are needed")
			}
			a, c, err := g.dialAdmin(cmd)
			if err != nil {
				return err
			}
			defer a.close()
			tenant, _ := g.identity(c)
			var answer struct {
				Pool    string  `json:"pool"`
				Model   string  `json:"model"`
				Score   float64 `json:"score"`
				Reports int     `json:"reports"`
			}
			if err := a.ask(cmd.Context(), "quality", map[string]any{"tenant": tenant, "job": args[0], "score": score}, &answer); err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), answer)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s of pool %s is now rated %.2f, by %d reports\n", answer.Model, answer.Pool, answer.Score, answer.Reports)
			return err
		}}
}

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// follow prints the answer of a job: as it comes, or when it is whole.
func (g *globals) follow(ctx context.Context, cmd *cobra.Command, h *sdk.Handle, stream, quiet bool) error {
	if stream && !g.json {
		if err := printChunks(ctx, cmd, h); err != nil {
			return goesOn(err, h)
		}
	}
	r, err := h.Wait(ctx)
	if err != nil {
		return goesOn(err, h)
	}
	if g.json {
		if err := printJSON(cmd.OutOrStdout(), resultJSON(r)); err != nil {
			return err
		}
		if r.Err != nil {
			return silent(exitFailed)
		}
		return nil
	}
	if r.Err == nil && !stream {
		if err := printAnswer(cmd.OutOrStdout(), r); err != nil {
			return err
		}
	}
	if !quiet {
		say(cmd.ErrOrStderr(), "%s\n", clean(summary(r)))
	}
	return ended(r)
}

// ended is the error of a job that did not succeed.
func ended(r *sdk.Result) error {
	if r.Err == nil {
		return nil
	}
	hint := hintFor(r.Err.Code)
	if r.Attempts > 0 {
		hint = "see what each attempt met with: sluice job trace " + r.Job
	}
	return failed(r.Err, hint, "job %s %s: %s: %s", r.Job, r.Status, r.Err.Code, r.Err.Message)
}

// goesOn says of an interrupted wait that the job is not.
func goesOn(err error, h *sdk.Handle) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return failed(err, "follow it with: sluice job watch "+h.ID()+"; end it with: sluice job cancel "+h.ID(),
			"the wait ended, job %s goes on", h.ID())
	}
	return err
}

// printChunks prints a streamed answer as it comes. What went wrong with the
// job itself is left to its result.
func printChunks(ctx context.Context, cmd *cobra.Command, h *sdk.Handle) error {
	out, open := cmd.OutOrStdout(), false
	for chunk, err := range h.Chunks(ctx) {
		if err != nil {
			if open {
				say(out, "\n")
			}
			if ctx.Err() != nil {
				return err
			}
			break // the result says it
		}
		if chunk.Restarted && open {
			say(out, "\n")
			say(cmd.ErrOrStderr(), "[attempt %d starts the answer again]\n", chunk.Attempt)
			open = false
		}
		if text := chunk.Text(); text != "" {
			if _, err := io.WriteString(out, cleanLines(text)); err != nil {
				return err
			}
			open = true
		}
	}
	if open {
		say(out, "\n")
	}
	return nil
}

// printAnswer prints the text of an answer, or its JSON where it has none.
func printAnswer(w io.Writer, r *sdk.Result) error {
	text := cleanLines(r.Text())
	if text == "" {
		text = string(r.Body)
	}
	_, err := io.WriteString(w, strings.TrimSuffix(text, "\n")+"\n")
	return err
}

// summary is one line about a result.
func summary(r *sdk.Result) string {
	s := fmt.Sprintf("job %s %s", r.Job, r.Status)
	if r.Pool != "" {
		s += fmt.Sprintf(" · %s/%s", r.Pool, r.Model)
	}
	if r.Attempts > 1 {
		s += fmt.Sprintf(" · %d attempts", r.Attempts)
	}
	if u := r.Usage; u.Total() > 0 {
		s += fmt.Sprintf(" · %d tokens in, %d out", u.Input+u.CacheRead+u.CacheWrite, u.Output+u.Reasoning)
	}
	if r.Attempts > 0 {
		s += " · " + cost(&r.Cost, r.CostKnown)
	}
	return s
}

// cost is an amount for people, with a sign where a part of it is not known.
func cost(c *wire.NanoUSD, known bool) string {
	switch {
	case c == nil || !known && *c == 0:
		return "cost unknown"
	case !known:
		return "$" + c.String() + " and an unknown part"
	}
	return "$" + c.String()
}

// resultJSON is a result for programs.
func resultJSON(r *sdk.Result) any {
	out := struct {
		Job      string          `json:"job_id"`
		Tenant   string          `json:"tenant"`
		Status   wire.Status     `json:"status"`
		Error    *sdk.Error      `json:"-"`
		Code     wire.Code       `json:"error_code,omitempty"`
		Attempts int             `json:"attempts"`
		Pool     string          `json:"pool,omitempty"`
		Provider string          `json:"provider,omitempty"`
		Model    string          `json:"model,omitempty"`
		Cost     *wire.NanoUSD   `json:"cost_nano_usd,omitempty"`
		Usage    usageJSON       `json:"usage"`
		Finished string          `json:"finished_at"`
		Answer   json.RawMessage `json:"answer"`
	}{Job: r.Job, Tenant: r.Tenant, Status: r.Status, Attempts: r.Attempts, Pool: r.Pool, Provider: r.Provider, Model: r.Model,
		Usage: usageJSON(r.Usage), Finished: r.FinishedAt.UTC().Format(time.RFC3339Nano), Answer: json.RawMessage("null")}
	if r.Err != nil {
		out.Code = r.Err.Code
	}
	if r.CostKnown {
		out.Cost = &r.Cost
	}
	if json.Valid(r.Body) {
		out.Answer = r.Body
	}
	return out
}

// usageJSON spells the buckets out, as the tables do.
type usageJSON struct {
	Input      int64 `json:"input_tokens"`
	CacheRead  int64 `json:"cache_read_tokens"`
	CacheWrite int64 `json:"cache_write_tokens"`
	Output     int64 `json:"output_tokens"`
	Reasoning  int64 `json:"reasoning_tokens"`
}

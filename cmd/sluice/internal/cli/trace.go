package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// traceJob prints a job's whole history.
func (g *globals) traceJob(cmd *cobra.Command, h *sdk.Handle) error {
	a, err := h.Status(cmd.Context())
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if g.json {
		return printJSON(out, a)
	}
	if err := printState(out, a); err != nil {
		return err
	}
	return printHistory(out, a.Queued, a.History)
}

// printHistory prints steps, each decision below the step that it led to, and
// how long the job waited before each attempt. submitted is an RFC 3339 time,
// or "" if it is not known.
func printHistory(w io.Writer, submitted string, steps []wire.Step) error {
	last := parseTime(submitted)
	var waited, worked time.Duration
	for i := range steps {
		s := &steps[i]
		line, at := stepLine(s), parseTime(s.At)
		if d := at.Sub(last); !last.IsZero() && !at.IsZero() {
			if s.Outcome == "" {
				waited += d
			} else {
				worked += d
			}
			if s.Status == wire.Running {
				line += " · after " + between(d)
			}
		}
		last = at
		if _, err := fmt.Fprintf(w, "\n%s  %s\n", localTime(s.At), clean(line)); err != nil {
			return err
		}
		if s.Decision != nil && s.Outcome == "" {
			if err := printDecision(w, s.Decision, "  "); err != nil {
				return err
			}
		}
	}
	if waited+worked <= 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nwaited %s, in attempts %s\n", between(waited), between(worked))
	return err
}

// parseTime is the zero time for what is no RFC 3339 time.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// between is a time between two records. They are stamped by different clocks,
// so it may come out below zero.
func between(d time.Duration) string { return max(d, 0).Round(time.Millisecond).String() }

// stepLine is one step for people.
func stepLine(s *wire.Step) string {
	line := string(s.Status)
	if s.Reason != "" {
		line += " (" + string(s.Reason) + ")"
	}
	if s.Until != "" {
		line += " until " + localTime(s.Until)
	}
	if s.Attempt > 0 {
		line += fmt.Sprintf(" · attempt %d at %s/%s", s.Attempt, s.Pool, s.Model)
	}
	if s.Worker != "" {
		line += " by " + s.Worker
	}
	if s.Outcome != "" {
		line += " · " + string(s.Outcome)
	}
	if s.Error != "" {
		line += " · " + string(s.Error)
	}
	if s.Latency > 0 {
		line += fmt.Sprintf(" · %d ms", s.Latency)
		if s.TTFTMS > 0 {
			line += fmt.Sprintf(", first token after %d ms", s.TTFTMS)
		}
	}
	if u := s.Usage; u != nil && s.Outcome != "" {
		line += fmt.Sprintf(" · %d tokens in, %d out · %s", u.Input+u.CacheRead+u.CacheWrite, u.Output+u.Reasoning, cost(s.Cost, s.Cost != nil))
	}
	return line
}

// printDecision prints what the router chose among, and why.
func printDecision(w io.Writer, d *wire.Decision, indent string) error {
	chosen := "none"
	if d.Pool != "" {
		chosen = d.Pool + "/" + d.Model
	}
	line := fmt.Sprintf("route %s, %s: %s", d.Route, d.Strategy, chosen)
	if d.Fallback > 0 && indent != "" {
		line += fmt.Sprintf(", by fallback %d", d.Fallback)
	}
	if d.Experiment != "" {
		line += fmt.Sprintf("; experiment %s, variant %s", d.Experiment, d.Variant)
	}
	if len(d.Rules) > 0 {
		line += "; rules " + strings.Join(d.Rules, ", ")
	}
	if len(d.Failed) > 0 && indent != "" {
		line += "; rules that failed: " + strings.Join(d.Failed, ", ")
	}
	if _, err := fmt.Fprintf(w, "%s%s\n", indent, clean(line)); err != nil {
		return err
	}
	t := newTable(indent, "POOL", "MODEL", ">WEIGHT", ">DEPTH", ">SCORE", "EXCLUDED")
	for _, c := range d.Candidates {
		mark := indent
		if c.Pool == d.Pool && c.Model == d.Model && c.Excluded == "" {
			mark = indent + "*"
		}
		t.row(mark, c.Pool, c.Model, strconv.Itoa(c.Weight), strconv.Itoa(c.Depth), strconv.FormatFloat(c.Score, 'g', 6, 64), c.Excluded)
	}
	return t.print(w)
}

// printLine prints a value as one line of JSON.
func printLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

package cli

import (
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/analytics/invoice"
	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// reconcileFlags are those of cost reconcile.
type reconcileFlags struct {
	tolerance, usd, since, until string
	where, alias                 []string
	whole, all                   bool
}

func (g *globals) costReconcileCommand() *cobra.Command {
	var f reconcileFlags
	cmd := &cobra.Command{
		Use:   "reconcile FILE...",
		Short: "Compare a provider's usage or cost export with what was recorded",
		Long: "Compare a provider's usage or cost export with what was recorded, by day (UTC) and model.\n" +
			"Files: OpenAI's costs and usage, Anthropic's usage and cost report, each as JSON of the API or CSV of\n" +
			"the console; or CSV with the columns day, model, provider, pool, input_tokens, cache_read_tokens,\n" +
			"cache_write_tokens, output_tokens, cost_usd, those that there are. Costs and usage may be given\n" +
			"together. What an export does not have is not compared. Exit status 1: something differs.",
		Example: "  sluice cost reconcile costs.csv usage.json\n  sluice cost reconcile report.json --tolerance 0.5% --where pool=anthropic-eu\n" +
			"  sluice cost reconcile costs.csv --alias \"my-deployment=gpt-4o\" --whole --json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("see "+cmd.CommandPath()+" --help", "%s takes the files that the provider exported", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return g.reconcile(cmd, args, &f) },
	}
	p := cmd.Flags()
	p.StringVar(&f.tolerance, "tolerance", "1%", "how far a figure may be off")
	p.StringVar(&f.usd, "tolerance-usd", "0.01", "how many dollars a line may be off in any case")
	p.StringVar(&f.since, "since", "", "first day to compare, such as 2026-01-31 (default: the export's first)")
	p.StringVar(&f.until, "until", "", "last day to compare (default: the export's last)")
	p.StringArrayVar(&f.where, "where", nil, "keep one value of a dimension of ours, name=value; may be repeated (default: provider=the export's)")
	p.StringArrayVar(&f.alias, "alias", nil, "a model's name in the export and in ours, THEIRS=OURS; may be repeated")
	p.BoolVar(&f.whole, "whole", false, "compare the sum of all days, not each day")
	p.BoolVar(&f.all, "all", false, "show what agrees, too")
	return cmd
}

// options checks the flags.
func (f *reconcileFlags) options() (o invoice.Options, err error) {
	share, percent := strings.CutSuffix(f.tolerance, "%")
	o.Relative, err = strconv.ParseFloat(share, 64)
	if percent {
		o.Relative /= 100
	}
	if err != nil || !(o.Relative >= 0 && o.Relative <= 1) {
		return o, usage("for example 1% or 0.01", "--tolerance %q must be a share from 0 to 100 %%", clean(f.tolerance))
	}
	n, err := wire.ParseUSD(f.usd)
	if err != nil {
		return o, usage("", "--tolerance-usd %q must be dollars: a plain decimal, at most nine decimals", clean(f.usd))
	}
	o.Nanos, o.Since, o.Until, o.Whole, o.Aliases = int64(n), f.since, f.until, f.whole, map[string]string{}
	for flag, day := range map[string]string{"since": f.since, "until": f.until} {
		if _, err := time.Parse(time.DateOnly, day); day != "" && err != nil {
			return o, usage("for example 2026-01-31", "--%s %q is no day", flag, clean(day))
		}
	}
	for _, a := range f.alias {
		theirs, ours, ok := strings.Cut(a, "=")
		if !ok || theirs == "" || ours == "" {
			return o, usage("for example --alias my-deployment=gpt-4o", "--alias %q is not THEIRS=OURS", clean(a))
		}
		o.Aliases[theirs] = ours
	}
	return o, nil
}

func (g *globals) reconcile(cmd *cobra.Command, files []string, f *reconcileFlags) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	where := costFlags{since: "all", where: f.where, limit: 1}
	q, err := where.query(time.Now(), store.Dimensions())
	if err != nil {
		return err
	}
	e, err := invoice.ReadFiles(files)
	if err != nil {
		return failed(err, "see sluice cost reconcile --help for what can be read", "%v", err)
	}
	keep := maps.Clone(q.Where)
	if len(keep) == 0 && e.Provider != "" {
		keep = map[string]string{"provider": e.Provider}
	}
	s, err := g.openStore(cmd)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // only read from
	ours, err := invoice.Ours(cmd.Context(), s, e, keep)
	if err != nil {
		return asked(err)
	}
	r := invoice.Compare(e, ours, o)
	for _, w := range e.Warnings {
		say(cmd.ErrOrStderr(), "%s\n", clean(w))
	}
	if g.json {
		err = printJSON(cmd.OutOrStdout(), reconcileJSON(e, r))
	} else {
		err = printReport(cmd.OutOrStdout(), e, r, f)
	}
	if err == nil && r.Different() > 0 {
		err = silent(exitFailed)
	}
	return err
}

// printReport is the answer for people: a row for each figure that is off.
func printReport(w io.Writer, e *invoice.Export, r *invoice.Report, f *reconcileFlags) error {
	by := e.By()
	if f.whole {
		by = by[1:]
	}
	t := newTable(append(heads(by), "FIGURE", ">THEIRS", ">OURS", ">DIFFERENCE", ">%", "NOTE")...)
	for i := range r.Lines {
		l := &r.Lines[i]
		kinds := l.Beyond
		if f.all {
			kinds = r.Kinds
		}
		for _, k := range kinds {
			t.row(append(keyCells(by, l.Key), figureCells(k, l)...)...)
		}
	}
	if len(t.rows) > 0 {
		if err := t.print(w); err != nil {
			return err
		}
	}
	var sums []string
	for _, k := range r.Kinds {
		sums = append(sums, fmt.Sprintf("%s %s theirs, %s ours", k, k.Show(r.Theirs.N[k]), k.Show(r.Ours.N[k])))
	}
	_, err := fmt.Fprintf(w, "%s to %s, %s: %s compared, %s beyond %s\n%s\n", r.First, r.Last, strings.Join(e.Formats, " and "),
		count(len(r.Lines), "line"), count(r.Different(), "line"), f.tolerance, strings.Join(sums, "; "))
	return err
}

func keyCells(by []string, k invoice.Key) []string {
	var cells []string
	for _, name := range by {
		cells = append(cells, map[string]string{"day": k.Day, "provider": k.Provider, "pool": k.Pool, "model": k.Model}[name])
	}
	return cells
}

// figureCells are the columns behind a line's key.
func figureCells(k invoice.Kind, l *invoice.Line) []string {
	theirs, ours := l.Theirs.N[k], l.Ours.N[k]
	share := ""
	if theirs != 0 {
		share = fmt.Sprintf("%+.2f", 100*float64(ours-theirs)/float64(theirs))
	}
	return []string{k.String(), k.Show(theirs), k.Show(ours), k.Show(ours - theirs), share, strings.Join(notes(l), ", ")}
}

// notes say what may explain a line.
func notes(l *invoice.Line) []string {
	var out []string
	switch l.State {
	case invoice.Unknown:
		out = append(out, "not in our tables")
	case invoice.Unpaid:
		out = append(out, "not in the export")
	}
	if n := l.Ours.Estimated; n > 0 {
		out = append(out, count(int(n), "attempt")+" estimated")
	}
	if n := l.Ours.Unpriced; n > 0 {
		out = append(out, count(int(n), "attempt")+" of unknown cost")
	}
	return out
}

// reconcileJSON is the answer for programs, with every line.
func reconcileJSON(e *invoice.Export, r *invoice.Report) any {
	figures := func(f *invoice.Figures) map[string]int64 {
		out := map[string]int64{}
		for _, k := range r.Kinds {
			name := k.String()
			if k == invoice.Cost {
				name = "cost_nano_usd"
			}
			out[name] = f.N[k]
		}
		return out
	}
	lines := make([]map[string]any, 0, len(r.Lines))
	for i := range r.Lines {
		l := &r.Lines[i]
		o := map[string]any{"state": l.State, "theirs": figures(&l.Theirs), "ours": figures(&l.Ours)}
		for name, v := range map[string]string{"day": l.Key.Day, "provider": l.Key.Provider, "pool": l.Key.Pool, "model": l.Key.Model} {
			if v != "" {
				o[name] = v
			}
		}
		beyond := make([]string, 0, len(l.Beyond))
		for _, k := range l.Beyond {
			beyond = append(beyond, k.String())
		}
		o["beyond"], o["estimated"], o["unknown_cost"] = beyond, l.Ours.Estimated, l.Ours.Unpriced
		lines = append(lines, o)
	}
	warnings := e.Warnings
	if warnings == nil {
		warnings = []string{}
	}
	return map[string]any{"first": r.First, "last": r.Last, "formats": e.Formats, "warnings": warnings, "different": r.Different(),
		"lines": lines, "theirs": figures(&r.Theirs), "ours": figures(&r.Ours)}
}

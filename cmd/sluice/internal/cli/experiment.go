package cli

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/analytics/stats"
	"github.com/sluicehq/sluice/analytics/store"
	"github.com/spf13/cobra"
)

// variantReport is what a variant has shown, with intervals.
type variantReport struct {
	Variant  string         `json:"variant"`
	Jobs     uint64         `json:"jobs"`
	Attempts uint64         `json:"attempts"`
	Unknown  uint64         `json:"unknown_cost"`
	Success  stats.Interval `json:"success"`
	Cost     stats.Interval `json:"cost_usd"` // of a job
	Total    stats.Interval `json:"total_ms"`
	Latency  stats.Interval `json:"latency_ms"`
	TTFT     stats.Interval `json:"ttft_ms"`
	Quality  stats.Interval `json:"quality"`
	Scored   uint64         `json:"scored"` // jobs with a quality
	TotalP50 float64        `json:"total_ms_p50"`
	TotalP95 float64        `json:"total_ms_p95"`
	Against  *againstReport `json:"against_baseline,omitempty"`
}

// againstReport is how a variant differs from the baseline.
type againstReport struct {
	Success stats.Difference `json:"success"`
	Cost    stats.Difference `json:"cost_usd"`
	Total   stats.Difference `json:"total_ms"`
	Latency stats.Difference `json:"latency_ms"`
	TTFT    stats.Difference `json:"ttft_ms"`
	Quality stats.Difference `json:"quality"`
}

// experimentReport is the whole answer.
type experimentReport struct {
	Experiment string          `json:"experiment"`
	Confidence float64         `json:"confidence"`
	Baseline   string          `json:"baseline"`
	Variants   []variantReport `json:"variants"`
}

func (g *globals) experimentCommand() *cobra.Command {
	var since, until, baseline string
	var confidence float64
	report := &cobra.Command{
		Use:   "report NAME",
		Short: "Compare an experiment's variants, with confidence intervals",
		Long: "Compare what the variants of an experiment, or the versions of a rollout, have shown: success,\n" +
			"cost of a job, time from submission to the end, provider's latency, time to the first token, and\n" +
			"quality where answers were scored. Unit is the finished job with all its attempts. Shares have\n" +
			"Wilson's interval and Newcombe's for differences, means Student's and Welch's. A difference is\n" +
			"marked with * where its interval leaves out zero.",
		Example: "  sluice experiment report smart-vs-mini --since 7d\n  sluice experiment report smart-vs-mini --baseline control --confidence 0.99 --json",
		Args:    exactly(1, "the name of an experiment"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !(confidence >= 0.5 && confidence < 1) {
				return usage("for example --confidence 0.95", "--confidence must be from 0.5 to below 1")
			}
			return g.reportExperiment(cmd, args[0], since, until, baseline, confidence)
		},
	}
	p := report.Flags()
	p.StringVar(&since, "since", "7d", "jobs that ended since: a duration back from now, an RFC 3339 time, or all")
	p.StringVar(&until, "until", "", "and until: a duration back from now, or an RFC 3339 time (default now)")
	p.StringVar(&baseline, "baseline", "", "variant that the others are compared with (default: control, blue, or the first)")
	p.Float64Var(&confidence, "confidence", 0.95, "of the intervals")
	var source string
	score := &cobra.Command{
		Use:   "score JOB QUALITY",
		Short: "Say how good a job's answer is, from 0 (useless) to 1 (best)",
		Long: "Store a score of a job's answer, for reports. The latest word on a job counts. Programs may as well\n" +
			"insert into the table scores (tenant, job_id, quality, source). What is said with sluice job rate, or\n" +
			"POST /admin/v1/quality, is in the reports too, and counts for routing beside.",
		Args: exactly(2, "a job ID and a number from 0 to 1"),
		RunE: func(cmd *cobra.Command, args []string) error { return g.scoreJob(cmd, args[0], args[1], source) },
	}
	score.Flags().StringVar(&source, "source", "cli", "who says so")
	list := &cobra.Command{Use: "list", Short: "List experiments: the routes that they split, and their variants", Args: exactly(0, "no arguments"), RunE: g.listExperiments}
	return group("experiment", "Compare variants of a route", list, report, score)
}

type experimentsAnswer struct {
	Experiments []struct {
		Name     string `json:"name"`
		Route    string `json:"route"`
		Key      string `json:"key"` // what stays together
		Variants []struct {
			Name   string `json:"name"`
			Weight int    `json:"weight"`
			Route  string `json:"route"` // that decides
		} `json:"variants"`
	} `json:"experiments"`
}

func (g *globals) listExperiments(cmd *cobra.Command, _ []string) error {
	var answer experimentsAnswer
	if err := g.askOnce(cmd, "experiments", nil, &answer); err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), answer)
	}
	t := newTable("EXPERIMENT", "ROUTE", "BY", "VARIANT", ">WEIGHT", ">SHARE %", "DECIDED BY")
	for _, e := range answer.Experiments {
		sum := 0
		for _, v := range e.Variants {
			sum += v.Weight
		}
		for _, v := range e.Variants {
			t.row(e.Name, e.Route, e.Key, v.Name, strconv.Itoa(v.Weight), strconv.FormatFloat(100*float64(v.Weight)/float64(max(sum, 1)), 'f', 1, 64), v.Route)
		}
	}
	return t.print(cmd.OutOrStdout())
}

func (g *globals) scoreJob(cmd *cobra.Command, job, text, source string) error {
	quality, err := strconv.ParseFloat(text, 64)
	if err != nil || !(quality >= 0 && quality <= 1) {
		return usage("for example: sluice experiment score j123 0.8", "%q is not a number from 0 to 1", clean(text))
	}
	c, err := g.load(cmd)
	if err != nil {
		return err
	}
	tenant, _ := g.identity(c)
	s, err := g.openStore(cmd)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // the insert was acknowledged, or failed
	if err := s.Score(cmd.Context(), tenant, job, quality, source); err != nil {
		return asked(err)
	}
	return nil
}

func (g *globals) reportExperiment(cmd *cobra.Command, name, since, until, baseline string, confidence float64) error {
	now := time.Now()
	var from time.Time
	var err error
	if since != "all" {
		if from, err = ago("since", since, now); err != nil {
			return err
		}
	}
	to, err := ago("until", until, now)
	if err != nil {
		return err
	}
	s, err := g.openStore(cmd)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // only read from
	rows, err := s.Experiment(cmd.Context(), name, from, to)
	if err != nil {
		return asked(err)
	}
	if len(rows) == 0 {
		return failed(nil, "is the name right, and has a job of it ended since? --since all looks at everything", "nothing is known of an experiment %q", clean(name))
	}
	r, err := compare(name, rows, baseline, confidence)
	if err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), r)
	}
	return r.print(cmd.OutOrStdout())
}

// compare makes the report of what the variants have shown.
func compare(name string, rows []store.VariantRow, baseline string, confidence float64) (*experimentReport, error) {
	base := slices.IndexFunc(rows, func(r store.VariantRow) bool { return r.Variant == baseline })
	if baseline != "" && base < 0 {
		return nil, usage("", "no job of the experiment is of a variant %q", clean(baseline))
	}
	for _, usual := range []string{"control", "blue"} {
		if i := slices.IndexFunc(rows, func(r store.VariantRow) bool { return r.Variant == usual }); base < 0 && i >= 0 {
			base = i
		}
	}
	base = max(base, 0)
	out := &experimentReport{Experiment: name, Confidence: confidence, Baseline: rows[base].Variant}
	b := &rows[base]
	for i := range rows {
		r := &rows[i]
		mean := func(m stats.Moments) stats.Interval { return stats.MeanInterval(m, confidence) }
		v := variantReport{Variant: r.Variant, Jobs: r.Jobs, Attempts: r.Attempts, Unknown: r.Unknown, TotalP50: r.TotalP50, TotalP95: r.TotalP95,
			Success: stats.Wilson(successes(r), confidence), Cost: mean(inDollars(r.Cost)), Total: mean(r.Total), Latency: mean(r.Latency), TTFT: mean(r.TTFT),
			Quality: mean(r.Quality), Scored: uint64(r.Quality.N)}
		if i != base {
			diff := func(x, y stats.Moments) stats.Difference { return stats.Welch(x, y, confidence) }
			v.Against = &againstReport{Success: stats.Newcombe(successes(b), successes(r), confidence), Cost: diff(inDollars(b.Cost), inDollars(r.Cost)),
				Total: diff(b.Total, r.Total), Latency: diff(b.Latency, r.Latency), TTFT: diff(b.TTFT, r.TTFT), Quality: diff(b.Quality, r.Quality)}
		}
		out.Variants = append(out.Variants, v)
	}
	return out, nil
}

func successes(r *store.VariantRow) stats.Count {
	return stats.Count{K: float64(r.Succeeded), N: float64(r.Jobs)}
}

// inDollars are moments of nano-dollars in dollars.
func inDollars(m stats.Moments) stats.Moments {
	return stats.Moments{N: m.N, Mean: m.Mean / 1e9, Variance: m.Variance / 1e18}
}

func (r *experimentReport) print(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "experiment %s, intervals of %g%%\n\n", clean(r.Experiment), 100*r.Confidence); err != nil {
		return err
	}
	t := newTable("VARIANT", ">JOBS", ">SUCCESS %", ">USD/JOB", ">TOTAL MS", ">P50 MS", ">P95 MS", ">LATENCY MS", ">TTFT MS", ">QUALITY")
	for _, v := range r.Variants {
		t.row(v.Variant, strconv.FormatUint(v.Jobs, 10), interval(v.Success, 100, 2), interval(v.Cost, 1, 6), interval(v.Total, 1, 0), millis(v.TotalP50), millis(v.TotalP95),
			interval(v.Latency, 1, 0), interval(v.TTFT, 1, 0), interval(v.Quality, 1, 3))
	}
	if err := t.print(w); err != nil {
		return err
	}
	d := newTable("AGAINST "+clean(r.Baseline), ">SUCCESS %", ">USD/JOB", ">TOTAL MS", ">LATENCY MS", ">TTFT MS", ">QUALITY")
	for _, v := range r.Variants {
		if a := v.Against; a != nil {
			d.row(v.Variant, difference(a.Success, 100, 2), difference(a.Cost, 1, 6), difference(a.Total, 1, 0), difference(a.Latency, 1, 0), difference(a.TTFT, 1, 0), difference(a.Quality, 1, 3))
		}
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return d.print(w)
}

// interval is an estimate with its bounds; "-" where nothing is known.
func interval(i stats.Interval, scale float64, digits int) string {
	if !i.Known {
		return "-"
	}
	f := func(x float64) string { return strconv.FormatFloat(x*scale, 'f', digits, 64) }
	return f(i.Value) + " [" + f(i.Low) + ", " + f(i.High) + "]"
}

// difference is interval with a sign, and * where it leaves out zero.
func difference(d stats.Difference, scale float64, digits int) string {
	text := interval(d.Interval, scale, digits)
	if d.Known && d.Value >= 0 {
		text = "+" + text
	}
	if d.Sure() {
		text += "*"
	}
	return text
}

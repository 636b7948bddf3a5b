package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// costFlags are the bounds of a cost table.
type costFlags struct {
	by           []string
	since, until string
	where        []string
	limit        int
	rows         bool
}

func (g *globals) costCommand() *cobra.Command {
	var f costFlags
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "Show what was spent, from ClickHouse",
		Long: "Show what was spent, summed up over attempts. Dimensions: " + strings.Join(store.Dimensions(), ", ") + " and label:<name>.\n" +
			"By tenant, pool, provider, model, route, class, status, hour, day or label it takes the same\n" +
			"time over any number of attempts; other dimensions, and --rows, read every attempt of the window.",
		Example: "  sluice cost --by tenant,model --since 24h\n  sluice cost --by day --since 30d --where label:team=docs\n" +
			"  sluice cost jobs --by route\n  sluice cost dearest --since 7d",
		Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return g.cost(cmd, &f) },
	}
	f.flags(cmd, []string{"pool", "model"}, 1000)
	cmd.Flags().BoolVar(&f.rows, "rows", false, "read every attempt: for JOBS, and percentiles by any dimensions")
	cmd.AddCommand(g.costJobsCommand(), g.costDearestCommand(), g.costWasteCommand(), g.costSharesCommand(), g.costCacheCommand(), g.costReconcileCommand())
	return cmd
}

// flags are what every cost question takes; without dimensions to group by if
// by is nil.
func (f *costFlags) flags(cmd *cobra.Command, by []string, limit int) {
	p := cmd.Flags()
	if by != nil {
		p.StringSliceVar(&f.by, "by", by, "dimensions to group by; \"\" for one sum")
	}
	p.StringVar(&f.since, "since", "24h", "from when: a duration back from now, an RFC 3339 time, or all")
	p.StringVar(&f.until, "until", "", "until when: a duration back from now, or an RFC 3339 time (default now)")
	p.StringArrayVar(&f.where, "where", nil, "keep one value of a dimension, name=value; may be repeated")
	p.IntVar(&f.limit, "limit", limit, "most rows to show, the dearest first")
}

func (g *globals) cost(cmd *cobra.Command, f *costFlags) error {
	q, err := f.query(time.Now(), store.Dimensions())
	if err != nil {
		return err
	}
	s, err := g.openStore(cmd)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // only read from
	rows, err := s.Cost(cmd.Context(), q)
	if err != nil {
		return asked(err)
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), costJSON(q.By, rows))
	}
	if err := costTable(&q, rows).print(cmd.OutOrStdout()); err != nil {
		return err
	}
	if n := total(rows).Unknown; n > 0 {
		say(cmd.ErrOrStderr(), "the cost of %s is not known, and not in the sums: see sluice doctor\n", count(int(n), "attempt"))
	}
	return nil
}

// query checks the flags.
func (f *costFlags) query(now time.Time, dimensions []string) (store.CostQuery, error) {
	q := store.CostQuery{Limit: f.limit, Rows: f.rows}
	for _, name := range f.by {
		if name = strings.TrimSpace(name); name != "" {
			q.By = append(q.By, name)
		}
	}
	var err error
	if q.Where, err = pairsOf("where", f.where); err != nil {
		return q, err
	}
	names := slices.Clone(q.By)
	for name := range q.Where {
		names = append(names, name)
	}
	for _, name := range names {
		label, isLabel := strings.CutPrefix(name, "label:")
		if !slices.Contains(dimensions, name) && (!isLabel || !wire.ValidName(label)) {
			return q, usage("there are "+strings.Join(dimensions, ", ")+" and label:<name>", "there is no dimension %q", clean(name))
		}
	}
	if f.limit < 1 {
		return q, usage("", "--limit must be at least 1")
	}
	if f.since != "all" {
		if q.Since, err = ago("since", f.since, now); err != nil {
			return q, err
		}
	}
	q.Until, err = ago("until", f.until, now)
	return q, err
}

// ago reads an RFC 3339 time or a duration back from now; "" is no time.
func ago(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	d, err := config.ParseDuration(s)
	if err != nil || d < 0 {
		return time.Time{}, usage("for example 90m, 24h, 7d or 2026-01-31T09:00:00Z", "--%s %q is neither a duration nor an RFC 3339 time", flag, clean(s))
	}
	return now.Add(-d), nil
}

// total sums rows up.
func total(rows []store.CostRow) store.CostRow {
	var t store.CostRow
	for _, r := range rows {
		t.Spend += r.Spend
		t.Attempts += r.Attempts
		t.Unknown += r.Unknown
		t.Succeeded += r.Succeeded
		t.Failed += r.Failed
		t.Wasted += r.Wasted
		t.Usage.Input += r.Usage.Input
		t.Usage.CacheRead += r.Usage.CacheRead
		t.Usage.CacheWrite += r.Usage.CacheWrite
		t.Usage.Output += r.Usage.Output
		t.Usage.Reasoning += r.Usage.Reasoning
	}
	return t
}

// costTable is the answer for people, with a line of sums below several rows.
// A job may have attempts in several rows, so jobs are not summed up; without
// --rows they are not counted, and there is no column of them.
func costTable(q *store.CostQuery, rows []store.CostRow) *table {
	heads := make([]string, 0, len(q.By)+10)
	for _, name := range q.By {
		heads = append(heads, strings.ToUpper(name))
	}
	heads = append(heads, ">ATTEMPTS")
	counted := slices.ContainsFunc(rows, func(r store.CostRow) bool { return r.Jobs > 0 })
	if counted {
		heads = append(heads, ">JOBS")
	}
	heads = append(heads, ">FAILED", ">TOKENS IN", ">TOKENS OUT")
	timed := slices.ContainsFunc(rows, func(r store.CostRow) bool { return r.Latency.P50 > 0 }) // not by every dimension
	if timed {
		heads = append(heads, ">P50 MS", ">P95 MS")
	}
	t := newTable(append(heads, ">UNKNOWN", ">WASTED USD", ">USD")...)
	line := func(keys []string, r *store.CostRow, sum bool) {
		cells := append(slices.Clone(keys), strconv.FormatUint(r.Attempts, 10))
		switch {
		case counted && sum:
			cells = append(cells, "")
		case counted:
			cells = append(cells, strconv.FormatUint(r.Jobs, 10))
		}
		u := r.Usage
		cells = append(cells, fmt.Sprintf("%.1f%%", 100*r.ErrorShare()),
			strconv.FormatInt(u.Input+u.CacheRead+u.CacheWrite, 10), strconv.FormatInt(u.Output+u.Reasoning, 10))
		if timed {
			cells = append(cells, millis(r.Latency.P50), millis(r.Latency.P95))
		}
		t.row(append(cells, strconv.FormatUint(r.Unknown, 10), r.Wasted.String(), r.Spend.String())...)
	}
	for i := range rows {
		line(rows[i].Keys, &rows[i], false)
	}
	if len(rows) > 1 && len(q.By) > 0 {
		sum := total(rows)
		keys := make([]string, len(q.By))
		keys[0] = "total"
		line(keys, &sum, true)
	}
	return t
}

// millis is a time for people, empty where it is not known.
func millis(ms float64) string {
	if ms == 0 {
		return ""
	}
	return strconv.FormatFloat(ms, 'f', 0, 64)
}

// costJSON is the answer for programs.
func costJSON(by []string, rows []store.CostRow) any {
	type row struct {
		By         map[string]string `json:"by"`
		Attempts   uint64            `json:"attempts"`
		Jobs       uint64            `json:"jobs,omitempty"`
		Succeeded  uint64            `json:"succeeded"`
		Failed     uint64            `json:"failed"`
		Unknown    uint64            `json:"unknown_cost"`
		Usage      usageJSON         `json:"usage"`
		LatencyP50 float64           `json:"latency_ms_p50,omitempty"`
		LatencyP95 float64           `json:"latency_ms_p95,omitempty"`
		LatencyP99 float64           `json:"latency_ms_p99,omitempty"`
		TTFTP50    float64           `json:"ttft_ms_p50,omitempty"`
		TTFTP95    float64           `json:"ttft_ms_p95,omitempty"`
		TTFTP99    float64           `json:"ttft_ms_p99,omitempty"`
		PerSuccess float64           `json:"usd_per_success"`
		Per1000    float64           `json:"usd_per_1000_tokens"`
		Wasted     wire.NanoUSD      `json:"wasted_nano_usd"`
		Cost       wire.NanoUSD      `json:"cost_nano_usd"`
		USD        string            `json:"cost_usd"`
	}
	list := make([]row, 0, len(rows))
	for _, r := range rows {
		keys := make(map[string]string, len(by))
		for i, name := range by {
			keys[name] = r.Keys[i]
		}
		list = append(list, row{keys, r.Attempts, r.Jobs, r.Succeeded, r.Failed, r.Unknown, usageJSON(r.Usage),
			r.Latency.P50, r.Latency.P95, r.Latency.P99, r.TTFT.P50, r.TTFT.P95, r.TTFT.P99,
			r.PerSuccess(), r.Per1000Tokens(), r.Wasted, r.Spend, r.Spend.String()})
	}
	sum := total(rows)
	return map[string]any{"rows": list, "total": map[string]any{
		"attempts": sum.Attempts, "failed": sum.Failed, "unknown_cost": sum.Unknown, "wasted_nano_usd": sum.Wasted, "cost_nano_usd": sum.Spend, "cost_usd": sum.Spend.String()}}
}

// asked says that an error came from ClickHouse, and where to look.
func asked(err error) error {
	hint := ""
	switch {
	case errors.Is(err, store.ErrUnreachable):
		hint = "start it with: sluice up; or say where it is with --clickhouse DSN; look closer with: sluice doctor"
	case errors.Is(err, store.ErrLogin):
		hint = "the password is in the DSN (clickhouse.dsn, --clickhouse), or in clickhouse.password in the data folder of sluice up (--data-dir)"
	case errors.Is(err, store.ErrMissing):
		hint = "the tables are made when the ingester first reaches ClickHouse: is sluice up, or serve --role ingest, running? See: sluice doctor"
	}
	return failed(err, hint, "%v", err)
}

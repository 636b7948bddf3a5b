package bench

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/analytics/engine"
	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// AnalyticsOptions size a measurement of ClickHouse.
type AnalyticsOptions struct {
	Rows    int      // in each table; default 10,000,000
	Runs    int      // of each question; default 20
	Ingest  int      // records of the ingest run; default 200,000
	Command []string // that runs `sluice engine`; required
	Dir     string   // for the data; default a temporary folder. It is removed
}

//go:embed fill.sql
var fillSQL string

// fillDays is the span of the generated rows, fillChunk how many one
// statement adds: about the most that ClickHouse takes as one block.
const (
	fillDays  = 30
	fillChunk = 1_000_000
)

// Analytics fills the embedded engine's tables, asks every standard question
// again and again, and then ingests a ledger. It prints a table of times, what
// a row takes on disk, and the rows per second of the ingest beside a bare
// batch insert of the same rows.
func Analytics(ctx context.Context, w io.Writer, o AnalyticsOptions) (err error) {
	for n, def := range map[*int]int{&o.Rows: 10_000_000, &o.Runs: 20, &o.Ingest: 200_000} {
		if *n <= 0 {
			*n = def
		}
	}
	dir, err := os.MkdirTemp(o.Dir, "sluice-analytics-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	st, stop, err := startEngine(ctx, dir, o.Command)
	if err != nil {
		return err
	}
	defer stop()
	begin := time.Now()
	until, err := fill(ctx, st, o.Rows)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d attempts and as many jobs over %d days, made in %s\n", o.Rows, fillDays, time.Since(begin).Round(time.Second))
	if err := settle(ctx, st); err != nil {
		return err
	}
	if err := sizes(ctx, w, st); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n| question (%d runs) | p50 ms | p95 ms |\n|---|--:|--:|\n", o.Runs)
	for _, q := range standardQuestions(st, until) {
		times, err := repeat(ctx, o.Runs, q.ask)
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		fmt.Fprintf(w, "| %s | %.0f | %.0f |\n", q.name, ms(times[len(times)/2]), ms(times[(len(times)*95+99)/100-1]))
	}
	return ingestRate(ctx, w, st, dir, o.Ingest)
}

// startEngine runs the engine in a folder, with the tables.
func startEngine(ctx context.Context, dir string, command []string) (*store.Store, func(), error) {
	lib, err := engine.Find()
	if err != nil {
		return nil, nil, err
	}
	sup := engine.New(engine.SupervisorConfig{Command: command,
		Engine: engine.Config{Lib: lib, Path: filepath.Join(dir, "data"), Listen: "127.0.0.1:0", Password: "bench"}})
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- sup.Run(ctx) }() // ends with stop
	stop := func() { cancel(); <-done }
	addr, err := sup.Await(ctx)
	if err != nil {
		stop()
		return nil, nil, err
	}
	st, err := store.Open(store.Config{DSN: "http://default:bench@" + addr + "?read_timeout=30m"})
	if err == nil {
		err = st.Migrate(ctx)
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return st, func() { _ = st.Close(); stop() }, nil
}

// fill makes rows up to now, and returns when the last one was.
func fill(ctx context.Context, st *store.Store, rows int) (time.Time, error) {
	until := time.Now().UTC().Truncate(time.Second)
	step := (fillDays * 24 * time.Hour).Microseconds() / int64(rows)
	first := until.UnixMicro() - int64(rows)*step
	for from := 0; from < rows; from += fillChunk {
		values := strings.NewReplacer("{first}", strconv.FormatInt(first, 10), "{step}", strconv.FormatInt(step, 10),
			"{from}", strconv.Itoa(from), "{rows}", strconv.Itoa(min(fillChunk, rows-from)))
		for stmt := range strings.SplitSeq(fillSQL, ";\n") {
			if strings.TrimSpace(stmt) == "" {
				continue
			}
			if err := execute(ctx, st, values.Replace(stmt)); err != nil {
				return until, fmt.Errorf("make rows: %w", err)
			}
		}
	}
	return until, nil
}

func execute(ctx context.Context, st *store.Store, sql string) error {
	_, err := answer(ctx, st, sql)
	return err
}

// answer is the rows of a statement.
func answer(ctx context.Context, st *store.Store, sql string) ([][]any, error) {
	rows, err := st.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var list [][]any
	for rows.Next() {
		list = append(list, rows.Values())
	}
	return list, rows.Err()
}

// settle waits for merges that are under way, as a quiet hour would.
func settle(ctx context.Context, st *store.Store) error {
	for {
		merges, err := answer(ctx, st, "SELECT count() FROM system.merges")
		if err != nil || fmt.Sprint(merges[0][0]) == "0" {
			return err
		}
		if err := ledger.Pause(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
}

func sizes(ctx context.Context, w io.Writer, st *store.Store) error {
	list, err := answer(ctx, st, `SELECT table, sum(rows), count(), sum(bytes_on_disk),
		(SELECT sum(bytes_on_disk) FROM system.projection_parts AS p WHERE p.active AND p.database = currentDatabase() AND p.table = parts.table)
		FROM system.parts WHERE active AND database = currentDatabase() AND table IN ('attempts', 'jobs') GROUP BY table ORDER BY table`)
	for _, r := range list {
		var n [4]float64
		for i := range n {
			n[i], _ = strconv.ParseFloat(fmt.Sprint(r[i+1]), 64) // a count
		}
		fmt.Fprintf(w, "%-8s  %.0f rows in %.0f parts, %.1f bytes a row, of which %.1f are projections\n", r[0], n[0], n[1], n[2]/n[0], n[3]/n[0])
	}
	return err
}

// repeat runs a question, once to warm up, and sorts its times.
func repeat(ctx context.Context, runs int, ask func(context.Context) error) ([]time.Duration, error) {
	var times []time.Duration
	for i := range runs + 1 {
		begin := time.Now()
		if err := ask(ctx); err != nil {
			return nil, err
		}
		if i > 0 {
			times = append(times, time.Since(begin))
		}
	}
	slices.Sort(times)
	return times, nil
}

// standard is one standard question.
type standard struct {
	name string
	ask  func(context.Context) error
}

// standardQuestions asks over windows that begin and end between two hours.
func standardQuestions(st *store.Store, until time.Time) []standard {
	until = until.Add(-17 * time.Minute)
	month, week, hours := until.AddDate(0, 0, -29), until.AddDate(0, 0, -7), until.Add(-24*time.Hour)
	cost := func(name string, since time.Time, by []string, where map[string]string) standard {
		return standard{name, func(ctx context.Context) error {
			return some(st.Cost(ctx, store.CostQuery{By: by, Since: since, Until: until, Where: where}))
		}}
	}
	jobs := func(name string, since time.Time, by ...string) standard {
		return standard{name, func(ctx context.Context) error {
			return some(st.Jobs(ctx, store.JobsQuery{By: by, Since: since, Until: until}))
		}}
	}
	price := func(string, string) *wire.Price { return &wire.Price{Input: 150_000, CacheRead: 75_000} }
	return []standard{
		cost("spend, percentiles, success by pool and model, 29 days", month, []string{"pool", "model"}, nil),
		cost("the same by tenant, 29 days", month, []string{"tenant"}, nil),
		cost("spend by tenant, model and status, 29 days", month, []string{"tenant", "model", "status"}, nil),
		cost("spend by day and provider, 29 days", month, []string{"day", "provider"}, nil),
		cost("spend by hour and pool, 7 days", week, []string{"hour", "pool"}, nil),
		cost("one tenant's spend by model, 24 hours", hours, []string{"model"}, map[string]string{"tenant": "tenant-07"}),
		cost("spend by label, 29 days", month, []string{"label:team"}, nil),
		jobs("cost per job and success, retries, waits by route, 29 days", month, "route"),
		jobs("the same by tenant, 29 days", month, "tenant"),
		{"distribution over pools against the weights, 29 days", func(ctx context.Context) error {
			return some(st.Distribution(ctx, month, until, ""))
		}},
		{"cache savings by pool and model, 29 days", func(ctx context.Context) error { return some(st.Savings(ctx, month, until, price)) }},
		{"money wasted by pool, 29 days", func(ctx context.Context) error {
			return some(st.Waste(ctx, store.CostQuery{By: []string{"pool"}, Since: month, Until: until}))
		}},
		{"20 dearest jobs, 29 days", func(ctx context.Context) error {
			return some(st.DearestJobs(ctx, store.JobsQuery{Since: month, Until: until}))
		}},
		{"20 dearest jobs of a tenant, 29 days", func(ctx context.Context) error {
			return some(st.DearestJobs(ctx, store.JobsQuery{Since: month, Until: until, Where: map[string]string{"tenant": "tenant-07"}}))
		}},
	}
}

// some demands an answer.
func some[T any](list []T, err error) error {
	if err == nil && len(list) == 0 {
		return errors.New("no rows came back")
	}
	return err
}

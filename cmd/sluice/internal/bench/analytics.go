package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	// Data is a folder that is kept: rows that it holds already are asked, and
	// only those that lack are made. Default: a temporary one, which is removed.
	Data string
	// QuestionsOnly leaves out the ingest.
	QuestionsOnly bool
	Log           io.Writer // how far the rows are; default none
}

func (o *AnalyticsOptions) defaults() {
	for n, def := range map[*int]int{&o.Rows: 10_000_000, &o.Runs: 20, &o.Ingest: 200_000} {
		if *n <= 0 {
			*n = def
		}
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
}

// Analytics fills the embedded engine's tables, asks every standard question
// again and again, and then ingests a ledger. It prints a table of times, what
// a row takes on disk, and the rows per second of the ingest beside a bare
// batch insert of the same rows.
func Analytics(ctx context.Context, w io.Writer, o AnalyticsOptions) (err error) {
	o.defaults()
	dir := o.Data
	if dir == "" {
		if dir, err = os.MkdirTemp("", "sluice-analytics-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	until, err := fill(ctx, o.Log, dir, o.Command, o.Rows)
	if err != nil {
		return err
	}
	eng, err := startEngine(ctx, dir, 0, o.Command)
	if err != nil {
		return err
	}
	defer eng.stop()
	st, err := eng.open(ctx, store.DefaultDatabase)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	if err := sizes(ctx, w, st); err != nil {
		return err
	}
	if err := askAll(ctx, w, st, eng, until, o.Runs); err != nil || o.QuestionsOnly {
		return err
	}
	return ingestRate(ctx, w, eng, o.Ingest)
}

// askBound is what the 95th percentile of each standard question should stay
// under.
const askBound = 300 * time.Millisecond

// askAll asks every standard question and prints its times: on the clock, and
// what the engine's process needed, which other load disturbs less.
func askAll(ctx context.Context, w io.Writer, st *store.Store, eng *benchEngine, until time.Time, runs int) error {
	fmt.Fprintf(w, "\n| question (%d runs) | p50 ms | p95 ms | engine's CPU ms |\n|---|--:|--:|--:|\n", runs)
	within, list := 0, standardQuestions(st, until)
	for _, q := range list {
		times, cpu, err := repeat(ctx, runs, eng.cpu, q.ask)
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		p95 := times[(len(times)*95+99)/100-1]
		if p95 <= askBound {
			within++
		}
		fmt.Fprintf(w, "| %s | %.0f | %.0f | %.0f |\n", q.name, ms(times[len(times)/2]), ms(p95), ms(cpu))
	}
	_, err := fmt.Fprintf(w, "\n%d of %d questions within %.0f ms p95\n", within, len(list), ms(askBound))
	return err
}

// benchEngine is an engine on a folder of its own.
type benchEngine struct {
	dir, addr string
	sup       *engine.Supervisor
	stop      func()
}

// startEngine runs one; memory is its bound in bytes, 0 the engine's own.
func startEngine(ctx context.Context, dir string, memory int64, command []string) (*benchEngine, error) {
	lib, err := engine.Find()
	if err != nil {
		return nil, err
	}
	sup := engine.New(engine.SupervisorConfig{Command: command,
		Engine: engine.Config{Lib: lib, Path: filepath.Join(dir, "data"), Listen: "127.0.0.1:0", Password: "bench", MaxMemory: memory}})
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- sup.Run(ctx) }() // ends with stop
	stop := func() { cancel(); <-done }
	addr, err := sup.Await(ctx)
	if err != nil {
		stop()
		return nil, err
	}
	return &benchEngine{dir: dir, addr: addr, sup: sup, stop: stop}, nil
}

// open makes the tables in a database of the engine.
func (e *benchEngine) open(ctx context.Context, database string) (*store.Store, error) {
	st, err := store.Open(store.Config{DSN: "http://default:bench@" + e.addr + "/" + database + "?read_timeout=30m"})
	if err != nil {
		return nil, err
	}
	if err := st.Migrate(ctx); err != nil {
		_ = st.Close()
		return nil, err
	}
	return st, nil
}

// cpu is the CPU time of the engine's process so far.
func (e *benchEngine) cpu() time.Duration { return cpuOf(e.sup.State().PID) }

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

// settle waits for merges and mutations that are under way, as a quiet hour would.
func settle(ctx context.Context, st *store.Store) error {
	for {
		merges, err := answer(ctx, st, "SELECT (SELECT count() FROM system.merges) + (SELECT count() FROM system.mutations WHERE NOT is_done)")
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

// repeat runs a question, once to warm up, and sorts its times; used is the CPU
// time of one run, on average.
func repeat(ctx context.Context, runs int, cpu func() time.Duration, ask func(context.Context) error) (times []time.Duration, used time.Duration, err error) {
	var before time.Duration
	for i := range runs + 1 {
		if i == 1 {
			before = cpu()
		}
		begin := time.Now()
		if err := ask(ctx); err != nil {
			return nil, 0, err
		}
		if i > 0 {
			times = append(times, time.Since(begin))
		}
	}
	slices.Sort(times)
	return times, (cpu() - before) / time.Duration(runs), nil
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

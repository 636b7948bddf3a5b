package bench

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
)

// fill.sql are the statements that make rows of attempts and of jobs, in this
// order.
//
//go:embed fill.sql
var fillSQL string

// fillDays is the span of the generated rows. One statement makes the rows of
// a day, or fillMost of them, as one block: so a day is one part at once, as
// ClickHouse makes of it in a table in use once the day is over. That takes
// more memory than the engine has by default.
const (
	fillDays   = 30
	fillMost   = 4_000_000
	fillMemory = 6 << 30
)

// filled is what one of the tables holds, and is made of.
type filled struct {
	table, ts, statement string
	have                 map[string]int // rows by day, such as 20260131
	rows                 int
}

// fill makes what the tables of a folder lack of a number of rows up to now, or
// up to what they end at, and returns when the last row was.
func fill(ctx context.Context, log io.Writer, dir string, command []string, rows int) (until time.Time, err error) {
	eng, err := startEngine(ctx, dir, fillMemory, command)
	if err != nil {
		return until, err
	}
	defer eng.stop()
	st, err := eng.open(ctx, store.DefaultDatabase)
	if err != nil {
		return until, err
	}
	defer func() { _ = st.Close() }()
	step := (fillDays * 24 * time.Hour).Microseconds() / int64(rows)
	first := time.Now().UTC().Truncate(time.Second).UnixMicro() - int64(rows)*step
	attempts, jobs, _ := strings.Cut(fillSQL, ";\n")
	tables := []filled{{table: "attempts", ts: "ts", statement: attempts}, {table: "jobs", ts: "finished_at", statement: jobs}}
	for i := range tables {
		t := &tables[i]
		if err := t.look(ctx, st); err != nil {
			return until, err
		}
		if t.rows < 2 {
			continue
		}
		list, err := answer(ctx, st, fmt.Sprintf("SELECT toInt64(max(seq)), toUnixTimestamp64Micro(min(%[1]s)), toUnixTimestamp64Micro(max(%[1]s)) FROM %[2]s", t.ts, t.table))
		if err != nil {
			return until, err
		}
		first = list[0][1].(int64) // go on as they began
		if last := list[0][0].(int64); last > 1 {
			step = (list[0][2].(int64) - first) / (last - 1)
			rows = max(rows, int(last))
		}
	}
	begin := time.Now()
	var both sync.WaitGroup
	errs := make([]error, len(tables))
	for i, t := range tables {
		both.Go(func() {
			errs[i] = t.fill(rows, first, step, func(to int, stmt string) error {
				err := execute(ctx, st, stmt)
				fmt.Fprintf(log, "%s  %s: %d of %d rows\n", time.Since(begin).Round(time.Second), t.table, to, rows)
				return err
			})
		})
	}
	both.Wait()
	for _, err := range errs {
		if err != nil {
			return until, fmt.Errorf("make rows: %w", err)
		}
	}
	for i := range tables {
		if err := tables[i].look(ctx, st); err != nil {
			return until, err
		}
		if n := tables[i].rows; n != rows {
			return until, fmt.Errorf("table %s has %d rows, not %d: they were not made by this bench; use an empty folder", tables[i].table, n, rows)
		}
	}
	return time.UnixMicro(first + int64(rows)*step).UTC(), settle(ctx, st)
}

// look counts the rows that are there.
func (t *filled) look(ctx context.Context, st *store.Store) error {
	list, err := answer(ctx, st, "SELECT partition, toInt64(sum(rows)) FROM system.parts WHERE active AND database = currentDatabase() AND table = '"+t.table+"' GROUP BY partition")
	t.have, t.rows = map[string]int{}, 0
	for _, r := range list {
		n := int(r[1].(int64))
		t.have[r[0].(string)], t.rows = n, t.rows+n
	}
	return err
}

// fill makes the rows that are missing, the first of all at a time and each a
// step later, both in microseconds.
func (t *filled) fill(rows int, first, step int64, execute func(to int, stmt string) error) error {
	const day = int64(24 * time.Hour / time.Microsecond)
	for from := 0; from < rows; {
		at := first + int64(from)*step
		to := min(rows, int(((at/day+1)*day-first+step-1)/step)) // the first of the next day
		from += t.have[time.UnixMicro(at).UTC().Format("20060102")]
		for ; from < to; from = min(to, from+fillMost) {
			values := strings.NewReplacer("{first}", strconv.FormatInt(first, 10), "{step}", strconv.FormatInt(step, 10),
				"{from}", strconv.Itoa(from), "{rows}", strconv.Itoa(min(to, from+fillMost)-from))
			if err := execute(min(to, from+fillMost), values.Replace(strings.TrimSuffix(strings.TrimSpace(t.statement), ";"))); err != nil {
				return err
			}
		}
		from = to
	}
	return nil
}

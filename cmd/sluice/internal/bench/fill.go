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
	have                 int
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
		list, err := answer(ctx, st, fmt.Sprintf("SELECT toInt64(count()), toInt64(max(seq)), toUnixTimestamp64Micro(min(%[1]s)), toUnixTimestamp64Micro(max(%[1]s)) FROM %[2]s", t.ts, t.table))
		if err != nil {
			return until, err
		}
		count, last := list[0][0].(int64), list[0][1].(int64)
		if count != last {
			return until, fmt.Errorf("table %s has %d rows up to seq %d: this bench did not make them; use an empty folder", t.table, count, last)
		}
		if t.have = int(count); count > 1 { // go on as they began
			first = list[0][2].(int64)
			step = (list[0][3].(int64) - first) / (count - 1)
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
	return time.UnixMicro(first + int64(max(rows, tables[0].have))*step).UTC(), settle(ctx, st)
}

// fill makes rows from the first one that is missing on, the first of all at a
// time and each a step later, both in microseconds.
func (t *filled) fill(rows int, first, step int64, execute func(to int, stmt string) error) error {
	const day = int64(24 * time.Hour / time.Microsecond)
	for from := t.have; from < rows; {
		midnight := ((first+int64(from)*step)/day + 1) * day
		to := min(rows, from+fillMost, int((midnight-first+step-1)/step))
		values := strings.NewReplacer("{first}", strconv.FormatInt(first, 10), "{step}", strconv.FormatInt(step, 10),
			"{from}", strconv.Itoa(from), "{rows}", strconv.Itoa(to-from))
		if err := execute(to, values.Replace(strings.TrimSuffix(strings.TrimSpace(t.statement), ";"))); err != nil {
			return err
		}
		from = to
	}
	return nil
}

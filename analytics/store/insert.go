package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/sluicehq/sluice/sdk/wire"
)

// column is one stored column of rows of type R: its type as the migrations
// declare it, and how to append it for all rows.
type column[R any] struct {
	name, typ string
	append    func(c driver.BatchColumn, rows []R) error
}

// all appends a column through a typed slice, without reflection per row.
func all[R, V any](value func(*R) V) func(driver.BatchColumn, []R) error {
	return func(c driver.BatchColumn, rows []R) error {
		values := make([]V, len(rows))
		for i := range rows {
			values[i] = value(&rows[i])
		}
		return c.Append(values)
	}
}

// each appends a column row by row: for the driver's types whose slice form
// would use reflection.
func each[R, V any](value func(*R) V) func(driver.BatchColumn, []R) error {
	return func(c driver.BatchColumn, rows []R) error {
		for i := range rows {
			if err := c.AppendRow(value(&rows[i])); err != nil {
				return err
			}
		}
		return nil
	}
}

const (
	typeWord   = "LowCardinality(String)"
	typeWords  = "Array(LowCardinality(String))"
	typeLabels = "Map(LowCardinality(String), String)"
	typeTime   = "DateTime64(6, 'UTC')"
	typeMoney  = "Nullable(Int64)"
)

// InsertAttempts adds rows, which must be of one partition and in the order
// of their seq, as one atomic block (I1, I2).
func (s *Store) InsertAttempts(ctx context.Context, rows []Attempt) error {
	return insert(ctx, s, Attempts, attemptColumns, rows, func(r *Attempt) (uint64, time.Time) { return r.Seq, r.TS })
}

// InsertJobs adds rows under the same conditions as [Store.InsertAttempts].
func (s *Store) InsertJobs(ctx context.Context, rows []Job) error {
	return insert(ctx, s, Jobs, jobColumns, rows, func(r *Job) (uint64, time.Time) { return r.Seq, r.FinishedAt })
}

// ErrConflict means that another writer continued from the same position:
// read MaxSeq and continue from there.
var ErrConflict = errors.New("another ingester has written at the same position")

// tokens bounds the search for an unused deduplication token, see insert.
const tokens = 4

// insert sends the rows under a token made of their first seq, and then looks
// where the table stands: that makes it a compare-and-set on the position (I3).
//
// ClickHouse drops an insert whose token is taken, and does not say so. It is
// taken by another ingester's insert, or by one of this one's that arrived
// after its connection was lost: then the table stands elsewhere now. Or by a
// ClickHouse that was killed between noting the token and publishing the rows:
// then the table has not moved, and the position's next token is tried. Every
// writer tries them in the same order.
func insert[R any](ctx context.Context, s *Store, t Table, columns []column[R], rows []R, at func(*R) (uint64, time.Time)) error {
	if len(rows) == 0 {
		return nil
	}
	if err := oneBlock(t, rows, at); err != nil {
		return err
	}
	first, _ := at(&rows[0])
	last, _ := at(&rows[len(rows)-1])
	for n := range tokens {
		if err := send(ctx, s, t, columns, rows, token(first, n)); err != nil {
			return s.wrap("insert into "+string(t), err)
		}
		seq, err := s.MaxSeq(ctx, t)
		switch {
		case err != nil:
			return err
		case seq == last:
			return nil
		case seq >= first:
			return fmt.Errorf("insert into %s from seq %d to %d, which stands at %d: %w", t, first, last, seq, ErrConflict)
		}
	}
	return fmt.Errorf("insert into %s at seq %d: ClickHouse took the rows %d times and does not show them", t, first, tokens)
}

func token(first uint64, n int) string {
	return strconv.FormatUint(first, 10) + "/" + strconv.Itoa(n)
}

func send[R any](ctx context.Context, s *Store, t Table, columns []column[R], rows []R, token string) error {
	ctx = clickhouse.Context(ctx,
		clickhouse.WithColumnNamesAndTypes(namesAndTypes(columns)),
		clickhouse.WithSettings(clickhouse.Settings{
			"async_insert":               0, // I2, whatever the server's profile says
			"insert_deduplication_token": token,
		}))
	batch, err := s.conn.PrepareBatch(ctx, insertSQL(t, columns))
	if err != nil {
		return err
	}
	for i, c := range columns {
		if err := c.append(batch.Column(i), rows); err != nil {
			_ = batch.Abort() // nothing was sent
			return fmt.Errorf("column %s: %w", c.name, err)
		}
	}
	return batch.Send()
}

// oneBlock checks what makes an insert atomic and continuable (I1, I3).
func oneBlock[R any](t Table, rows []R, at func(*R) (uint64, time.Time)) error {
	last, ts := at(&rows[0])
	partition := PartitionOf(ts)
	for i := 1; i < len(rows); i++ {
		seq, ts := at(&rows[i])
		if seq <= last {
			return fmt.Errorf("insert into %s: seq %d follows %d: rows must be in ledger order", t, seq, last)
		}
		if p := PartitionOf(ts); p != partition {
			return fmt.Errorf("insert into %s: rows of the partitions %d and %d in one insert: split them at PartitionOf", t, partition, p)
		}
		last = seq
	}
	return nil
}

func insertSQL[R any](t Table, columns []column[R]) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = ident(c.name)
	}
	return "INSERT INTO " + string(t) + " (" + strings.Join(names, ", ") + ")"
}

// namesAndTypes spares the driver's DESCRIBE before each insert over HTTP.
func namesAndTypes[R any](columns []column[R]) []clickhouse.ColumnNameAndType {
	list := make([]clickhouse.ColumnNameAndType, len(columns))
	for i, c := range columns {
		list[i] = clickhouse.ColumnNameAndType{Name: c.name, Type: c.typ}
	}
	return list
}

// u16, u32 and u64 bring a value into a column's range: an absurd value from
// a provider must not become a different plausible one.
func u16(n int) uint16   { return uint16(min(max(n, 0), math.MaxUint16)) }
func u32(n int64) uint32 { return uint32(min(max(n, 0), math.MaxUint32)) }
func u64(n int64) uint64 { return uint64(max(n, 0)) }

func millis(d time.Duration) uint32 { return u32(d.Milliseconds()) }

func nano(c *wire.NanoUSD) *int64 { return (*int64)(c) }

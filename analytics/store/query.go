package store

import (
	"context"
	"io"
	"reflect"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Column is one column of a result.
type Column struct {
	Name string
	Type string // ClickHouse's name, for example LowCardinality(String)
}

// Rows is a streamed result. It must be closed; it is for one goroutine.
//
//	rows, err := s.Query(ctx, sql)
//	…
//	defer rows.Close()
//	for rows.Next() {
//		use(rows.Values())
//	}
//	return rows.Err()
type Rows struct {
	store   *Store
	rows    driver.Rows
	columns []Column
	dest    []any
	err     error
}

// Query runs any statement in the store's database and streams its result. A
// statement without a result has no columns and no rows.
func (s *Store) Query(ctx context.Context, sql string) (*Rows, error) {
	rows, err := s.conn.Query(ctx, sql)
	if err == io.EOF { // bare: over the native protocol, a statement that has no result; wrapped, a lost connection
		return &Rows{store: s}, nil
	}
	if err != nil {
		return nil, s.wrap("query", err)
	}
	r := &Rows{store: s, rows: rows}
	for _, t := range rows.ColumnTypes() {
		r.columns = append(r.columns, Column{Name: t.Name(), Type: t.DatabaseTypeName()})
		r.dest = append(r.dest, reflect.New(t.ScanType()).Interface())
	}
	return r, nil
}

// Columns describes the result.
func (r *Rows) Columns() []Column { return r.columns }

// Next reads the next row, and reports whether there was one.
func (r *Rows) Next() bool {
	if r.rows == nil || r.err != nil || !r.rows.Next() {
		return false
	}
	for _, d := range r.dest {
		reflect.ValueOf(d).Elem().SetZero() // a NULL leaves its destination alone
	}
	r.err = r.rows.Scan(r.dest...)
	return r.err == nil
}

// Values is the row that Next read: numbers as Go's of the same width, text
// as string, times as time.Time, decimals as decimal.Decimal, arrays as
// slices, maps as maps, NULL as nil.
func (r *Rows) Values() []any {
	values := make([]any, len(r.dest))
	for i, d := range r.dest {
		v := reflect.ValueOf(d).Elem()
		for v.Kind() == reflect.Pointer && !v.IsNil() {
			v = v.Elem()
		}
		if v.Kind() != reflect.Pointer {
			values[i] = v.Interface()
		}
	}
	return values
}

// Err is what ended the result, nil at its proper end.
func (r *Rows) Err() error {
	err := r.err
	if err == nil && r.rows != nil {
		err = r.rows.Err()
	}
	return r.store.wrap("query", err)
}

// Close gives the connection back.
func (r *Rows) Close() error {
	if r.rows == nil {
		return nil
	}
	return r.rows.Close()
}

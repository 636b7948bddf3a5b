package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// InsertBare adds rows to a table of the columns of attempts and no more, made
// when it is not there: one plain batch of clickhouse-go, column by column, without
// projections, order or a look at the position. It is what benchmarks compare
// with.
func (s *Store) InsertBare(ctx context.Context, table string, rows []Attempt) error {
	var columns []string
	for _, c := range attemptColumns {
		columns = append(columns, ident(c.name)+" "+c.typ)
	}
	create := fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (%s) ENGINE = MergeTree PARTITION BY toYYYYMMDD(ts) ORDER BY (toStartOfHour(ts), tenant, pool, model, seq)",
		ident(table), strings.Join(columns, ", "))
	if err := s.conn.Exec(ctx, create); err != nil {
		return s.wrap("create "+table, err)
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithColumnNamesAndTypes(namesAndTypes(attemptColumns)))
	batch, err := s.conn.PrepareBatch(ctx, insertSQL(Table(table), attemptColumns))
	if err != nil {
		return s.wrap("insert into "+table, err)
	}
	for i, c := range attemptColumns {
		if err := c.append(batch.Column(i), rows); err != nil {
			_ = batch.Abort() // nothing was sent
			return fmt.Errorf("column %s: %w", c.name, err)
		}
	}
	return s.wrap("insert into "+table, batch.Send())
}

package store

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// InsertBare adds rows to two tables of the columns of attempts and jobs, as
// plain batches of clickhouse-go, column by column, one after the other:
// without a token, order or a look at the position. It is what benchmarks
// compare with.
func (s *Store) InsertBare(ctx context.Context, attempts, jobs string, a []Attempt, j []Job) error {
	if err := insertBare(ctx, s, Table(ident(attempts)), attemptColumns, a); err != nil {
		return err
	}
	return insertBare(ctx, s, Table(ident(jobs)), jobColumns, j)
}

func insertBare[R any](ctx context.Context, s *Store, t Table, columns []column[R], rows []R) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithColumnNamesAndTypes(namesAndTypes(columns)))
	batch, err := s.conn.PrepareBatch(ctx, insertSQL(t, columns))
	if err != nil {
		return s.wrap("insert into "+string(t), err)
	}
	for i, c := range columns {
		if err := c.append(batch.Column(i), rows); err != nil {
			_ = batch.Abort() // nothing was sent
			return fmt.Errorf("column %s: %w", c.name, err)
		}
	}
	return s.wrap("insert into "+string(t), batch.Send())
}

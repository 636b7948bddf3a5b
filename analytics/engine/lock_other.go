//go:build !unix

package engine

import (
	"context"
	"errors"
	"io"
	"time"
)

func lock(context.Context, string, time.Duration) (io.Closer, error) {
	return nil, errors.New("engine: there is no embedded ClickHouse for this system: use an external one (clickhouse.dsn)")
}

package engine

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

func connect(t testing.TB, addr string, method clickhouse.CompressionMethod) clickhouse.Conn {
	t.Helper()
	conn, err := clickhouse.Open(&clickhouse.Options{
		Protocol: clickhouse.HTTP, Addr: []string{addr},
		Auth:        clickhouse.Auth{Username: "default", Password: testPassword, Database: "default"},
		Compression: &clickhouse.Compression{Method: method},
		DialTimeout: 5 * time.Second, MaxOpenConns: 16,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestClickhouseGoRoundTrip(t *testing.T) {
	_, addr := startEngine(t)
	for name, method := range map[string]clickhouse.CompressionMethod{
		"none": clickhouse.CompressionNone, "lz4": clickhouse.CompressionLZ4, "zstd": clickhouse.CompressionZSTD,
		"gzip": clickhouse.CompressionGZIP, "deflate": clickhouse.CompressionDeflate, "br": clickhouse.CompressionBrotli,
	} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, addr, method)
			ctx := context.Background()
			table := "t_" + name
			if err := conn.Exec(ctx, "CREATE TABLE "+table+" (a UInt64, s String) ENGINE = MergeTree ORDER BY a"); err != nil {
				t.Fatal(err)
			}
			batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+table+" (a, s)")
			if err != nil {
				t.Fatal(err)
			}
			const rows = 100_000
			for i := range uint64(rows) {
				if err := batch.Append(i, fmt.Sprint("row ", i)); err != nil {
					t.Fatal(err)
				}
			}
			if err := batch.Send(); err != nil {
				t.Fatal(err)
			}
			got, err := conn.Query(ctx, "SELECT a, s FROM "+table+" ORDER BY a")
			if err != nil {
				t.Fatal(err)
			}
			n := uint64(0)
			for ; got.Next(); n++ {
				var a uint64
				var s string
				if err := got.Scan(&a, &s); err != nil {
					t.Fatal(err)
				}
				if a != n || s != fmt.Sprint("row ", n) {
					t.Fatalf("row %d is %d, %q", n, a, s)
				}
			}
			if got.Err() != nil || n != rows {
				t.Fatalf("%d rows, want %d: %v", n, rows, got.Err())
			}
			err = conn.QueryRow(ctx, "SELECT nope FROM "+table).Err()
			var ex *clickhouse.Exception
			if !errors.As(err, &ex) || ex.Code != 47 {
				t.Fatalf("unknown column: %v, want code 47", err)
			}
		})
	}
}

package engine

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"
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

// Every type that a table of Sluice's uses, there and back, with and without
// compression.
func TestTypesRoundTrip(t *testing.T) {
	_, addr := startEngine(t)
	type candidate = []any
	day := time.Date(2026, 3, 1, 12, 30, 45, 123456789, time.UTC)
	for name, method := range map[string]clickhouse.CompressionMethod{"none": clickhouse.CompressionNone, "lz4": clickhouse.CompressionLZ4} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, addr, method)
			ctx := context.Background()
			table := "types_" + name
			must(t, conn.Exec(ctx, "CREATE TABLE "+table+` (
				seq UInt64, ts3 DateTime64(3), ts9 DateTime64(9, 'UTC'), opt Nullable(Int64), class Enum8('a' = 1, 'b' = 2),
				low LowCardinality(String), labels Map(LowCardinality(String), String), scores Array(Float64),
				cand Array(Tuple(pool LowCardinality(String), score Float64, reason String)),
				n Nested(pool LowCardinality(String), weight UInt32), small UInt16, flag Bool, id UUID, d Date, dec Decimal(18, 9), i Int64,
				usd Float64 ALIAS i / 1e9
			) ENGINE = MergeTree ORDER BY seq`))
			batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+table)
			must(t, err)
			opt := int64(-5)
			for i := range uint64(1000) {
				var o *int64
				if i%2 == 0 {
					o = &opt
				}
				must(t, batch.Append(i, day, day, o, []string{"a", "b"}[i%2],
					fmt.Sprint("low", i%3), map[string]string{"k": fmt.Sprint(i), "é": "ü\n'"}, []float64{float64(i), 0.5},
					[]any{candidate{"p1", 0.25, "best"}, candidate{"p2", 1e300, ""}},
					[]string{"x", "y"}, []uint32{1, 4_000_000_000}, uint16(i), i%2 == 0,
					"018f3b5e-0000-7000-8000-000000000001", day, "1.000000001", int64(-1)<<62))
			}
			must(t, batch.Send())
			rows, err := conn.Query(ctx, "SELECT * FROM "+table+" WHERE seq >= ? ORDER BY seq", 998)
			must(t, err)
			for i := uint64(998); rows.Next(); i++ {
				var (
					seq           uint64
					ts3, ts9, d   time.Time
					o             *int64
					class, low    string
					labels        map[string]string
					scores        []float64
					cand          [][]any
					pools         []string
					weights       []uint32
					small         uint16
					flag          bool
					id, dec       fmt.Stringer
					i64           int64
					uid           uuid.UUID
					decimalNumber decimal.Decimal
				)
				must(t, rows.Scan(&seq, &ts3, &ts9, &o, &class, &low, &labels, &scores, &cand, &pools, &weights, &small, &flag, &uid, &d, &decimalNumber, &i64))
				id, dec = uid, decimalNumber
				got := fmt.Sprintln(seq, ts3.UnixMilli(), ts9.UnixNano(), o == nil, class, low, labels, scores, len(cand), pools, weights, small, flag, id, d.Format("0102"), dec, i64)
				want := fmt.Sprintln(i, day.UnixMilli(), day.UnixNano(), i%2 == 1, []string{"a", "b"}[i%2], fmt.Sprint("low", i%3),
					map[string]string{"k": fmt.Sprint(i), "é": "ü\n'"}, []float64{float64(i), 0.5}, 2, []string{"x", "y"},
					[]uint32{1, 4_000_000_000}, uint16(i), i%2 == 0, "018f3b5e-0000-7000-8000-000000000001", "0301", "1.000000001", int64(-1)<<62)
				if got != want {
					t.Fatalf("row %d:\n got %s\nwant %s", i, got, want)
				}
			}
			must(t, rows.Err())
			var usd float64
			must(t, conn.QueryRow(ctx, "SELECT usd FROM "+table+" LIMIT 1").Scan(&usd))
			if usd != -4611686018.427388 {
				t.Errorf("alias is %v", usd)
			}
		})
	}
}

func TestClientFeatures(t *testing.T) {
	_, addr := startEngine(t)
	conn := connect(t, addr, clickhouse.CompressionLZ4)
	ctx := context.Background()
	must(t, conn.Ping(ctx))
	version, err := conn.ServerVersion()
	must(t, err)
	if version.Version.Major < 26 {
		t.Errorf("version %v", version)
	}
	var n uint64
	var s string
	named := conn.QueryRow(ctx, "SELECT {n:UInt64} + toUInt64(1), {s:String}", clickhouse.Named("n", 41), clickhouse.Named("s", "a'\\\tb"))
	must(t, named.Scan(&n, &s))
	if n != 42 || s != "a'\\\tb" {
		t.Errorf("named parameters: %d %q", n, s)
	}
	scoped := clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"max_threads": 1, "log_comment": "it's"}), clickhouse.WithQueryID("q1"))
	must(t, conn.QueryRow(scoped, "SELECT toUInt64(getSetting('max_threads')), getSetting('log_comment')").Scan(&n, &s))
	if n != 1 || s != "it's" {
		t.Errorf("settings: %d %q", n, s)
	}
	rows, err := conn.Query(ctx, "SELECT number FROM numbers(10) WHERE number > 100")
	must(t, err)
	if rows.Next() || rows.Err() != nil {
		t.Errorf("no rows: %v", rows.Err())
	}
	must(t, conn.Exec(ctx, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a"))
	must(t, conn.Exec(ctx, "INSERT INTO t VALUES (1), (2)"))
	//lint:ignore SA1019 clients still use it
	must(t, conn.AsyncInsert(ctx, "INSERT INTO t VALUES (3)", true))
	must(t, conn.QueryRow(ctx, "SELECT sum(a) FROM t").Scan(&n))
	if n != 6 {
		t.Errorf("sum %d, want 6", n)
	}
	rows, err = conn.Query(ctx, "SELECT toUInt64(number), throwIf(number = 900000) FROM numbers(1000000) SETTINGS max_threads = 1")
	must(t, err)
	for rows.Next() {
	}
	var ex *clickhouse.Exception
	if !errors.As(rows.Err(), &ex) || ex.Code != 395 {
		t.Errorf("failure after the first rows: %v, want code 395", rows.Err())
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

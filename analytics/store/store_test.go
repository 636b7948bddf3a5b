package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

func TestOpenRefuses(t *testing.T) {
	for dsn, want := range map[string]string{
		"":                                  "not a URL",
		"localhost:9000":                    "not a URL",
		"mysql://u:geheim@h":                "scheme",
		"http://u:geheim@h:port/":           "cannot be read",
		"clickhouse://u:geheim@h?nonsense=": "cannot be read",
		"http://u:geh%zzeim@h/":             "cannot be read",
	} {
		_, err := store.Open(store.Config{DSN: dsn})
		if err == nil {
			continue // the driver takes more than we promise
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geh") {
			t.Errorf("DSN %q: error %q, want %q in it and no secret", dsn, err, want)
		}
	}
	for _, dsn := range []string{"", "localhost:9000", "mysql://u@h"} {
		if _, err := store.Open(store.Config{DSN: dsn}); err == nil {
			t.Errorf("DSN %q was taken", dsn)
		}
	}
}

// FuzzDSN: whatever the password in a DSN, and whatever is beside it, no error
// shows it; a DSN that is taken names a database.
func FuzzDSN(f *testing.F) {
	f.Add("clickhouse", "default", "", "", "127.0.0.1:9000/sluice?dial_timeout=1s&compress=lz4&max_execution_time=60")
	f.Add("http", "u", "p%", "ss", "h:8123")
	f.Add("https", "u", "1/", "?#", "a:1,b:2/db?secure=true&skip_verify=true")
	f.Add("clickhouse", "", "", "", "h?block_buffer_size=300&connection_open_strategy=random&http_proxy=http%3A%2F%2Fx")
	f.Add("", "u", "", "", "")
	f.Fuzz(func(t *testing.T, scheme, user, before, after, rest string) {
		dsn := scheme + "://" + user + ":" + before + "Geh3im" + after + "@" + rest
		s, err := store.Open(store.Config{DSN: dsn})
		if err != nil && strings.Contains(err.Error(), "Geh3im") && !strings.Contains(rest, "Geh3im") {
			t.Fatalf("%q: the password is in %v", dsn, err)
		}
		if err == nil && (s.Database() == "" || s.Close() != nil) {
			t.Fatalf("%q: database %q", dsn, s.Database())
		}
	})
}

func TestOpenDatabase(t *testing.T) {
	for dsn, want := range map[string]string{
		"http://default:x@127.0.0.1:8123": "sluice", "clickhouse://127.0.0.1:9000": "sluice",
		"clickhouse://127.0.0.1:9000/costs": "costs",
	} {
		s, err := store.Open(store.Config{DSN: dsn})
		must(t, err)
		if s.Database() != want {
			t.Errorf("%s: database %s, want %s", dsn, s.Database(), want)
		}
	}
}

// No server, no hang, and no password in the error.
func TestNobodyThere(t *testing.T) {
	for _, scheme := range []string{"http", "clickhouse"} {
		s, err := store.Open(store.Config{DSN: scheme + "://default:geheim@127.0.0.1:1", DialTimeout: time.Second})
		must(t, err)
		for name, call := range map[string]func(context.Context) error{"ping": s.Ping, "migrate": s.Migrate} {
			err := call(t.Context())
			if !errors.Is(err, store.ErrUnreachable) || !strings.Contains(err.Error(), "cannot be reached at 127.0.0.1:1: connect:") || strings.Contains(err.Error(), "geheim") {
				t.Errorf("%s over %s: %v", name, scheme, err)
			}
		}
	}
}

func TestWrongPassword(t *testing.T) {
	dsn := strings.Replace(storetest.DSN(t), "default:", "default:geheim", 1)
	s, err := store.Open(store.Config{DSN: dsn})
	must(t, err)
	if err := s.Migrate(t.Context()); !errors.Is(err, store.ErrLogin) || strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), "sendQuery") {
		t.Errorf("Migrate with a wrong password: %v", err)
	}
}

func TestPartitionOf(t *testing.T) {
	berlin := time.FixedZone("", 3600)
	for ts, want := range map[time.Time]uint32{
		time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC):              20260102,
		time.Date(2026, 1, 1, 23, 59, 59, 999999999, time.UTC):   20260101,
		time.Date(2026, 1, 2, 0, 59, 59, 0, berlin):              20260101,
		time.Date(2026, 12, 31, 23, 59, 59, 999999999, time.UTC): 20261231,
	} {
		if got := store.PartitionOf(ts); got != want {
			t.Errorf("%s: %d, want %d", ts, got, want)
		}
	}
}

func TestSplitStatements(t *testing.T) {
	got := store.SplitStatements("-- a; comment\nSELECT 1;\n\n  SELECT ';'\n FROM x;\nSELECT 3\n")
	want := []string{"SELECT 1", "SELECT ';'\nFROM x", "SELECT 3"}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLoadMigrationsRefuses(t *testing.T) {
	for want, names := range map[string][]string{
		"no migrations": {}, "start with a number": {"first"}, "used twice": {"0001_a", "0001_b"}, "above 0": {"0000_a"},
	} {
		files := fstest.MapFS{}
		for _, n := range names {
			files["migrations/"+n+".sql"] = &fstest.MapFile{Data: []byte("SELECT 1;")}
		}
		if _, _, err := store.LoadMigrations(files); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want %q", names, err, want)
		}
	}
}

// Several processes start at once, and one starts again.
func TestMigrateTogether(t *testing.T) {
	dsn := storetest.DSN(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := store.Open(store.Config{DSN: dsn})
			if err == nil {
				err = s.Migrate(context.Background())
			}
			if err != nil {
				t.Errorf("Migrate: %v", err)
			}
		})
	}
	wg.Wait()
	s, err := store.Open(store.Config{DSN: dsn})
	must(t, err)
	must(t, s.Migrate(t.Context()))
	must(t, s.InsertAttempts(t.Context(), fakeAttempts(1, 10)))
}

// A crash after any statement of a migration is repaired by the next start.
func TestMigrateAfterCrash(t *testing.T) {
	_, statements, err := store.LoadMigrations(store.BuiltIn())
	must(t, err)
	for done := range statements[0] {
		s, err := store.Open(store.Config{DSN: storetest.DSN(t)})
		must(t, err)
		must(t, s.Migrate(t.Context())) // makes the database
		exec(t, s, "DROP TABLE attempts")
		exec(t, s, "DROP TABLE jobs")
		exec(t, s, "TRUNCATE TABLE schema_migrations")
		for _, stmt := range statements[0][:done] {
			exec(t, s, stmt)
		}
		must(t, s.Migrate(t.Context()))
		must(t, s.InsertAttempts(t.Context(), fakeAttempts(1, 10)))
		must(t, s.InsertJobs(t.Context(), fakeJobs(1, 10)))
	}
}

func TestMigrateRefusesLaterSchema(t *testing.T) {
	s := storetest.Open(t)
	exec(t, s, "INSERT INTO schema_migrations (version, name) VALUES (999, 'from the future')")
	if err := s.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "999") {
		t.Errorf("Migrate: %v, want an error that names version 999", err)
	}
}

// What inserts send is what the migrations declare, and the contract's names
// are there.
func TestColumnsMatchTables(t *testing.T) {
	s := storetest.Open(t)
	contract := map[store.Table]string{
		store.Attempts: "seq ts job_id attempt tenant class endpoint route strategy pool provider model region status error_code " +
			"http_status input_tokens cache_read_tokens cache_write_tokens output_tokens reasoning_tokens usage_source cost_nano_usd " +
			"price_version queue_ms ttft_ms latency_ms batch_id experiment variant labels cost_usd",
		store.Jobs: "seq submitted_at finished_at job_id tenant class route status error_code attempts cost_nano_usd wait_ms total_ms " +
			"batch_id labels cost_usd",
	}
	for table, names := range contract {
		types, kinds := map[string]string{}, map[string]string{}
		for _, row := range query(t, s, "SELECT name, type, default_kind FROM system.columns WHERE database = currentDatabase() AND table = '"+string(table)+"'") {
			types[row[0].(string)], kinds[row[0].(string)] = row[1].(string), row[2].(string)
		}
		for _, name := range strings.Fields(names) {
			if types[name] == "" {
				t.Errorf("%s has no column %s", table, name)
			}
		}
		if kinds["cost_usd"] != "ALIAS" || strings.Contains(types["cost_usd"], "Float") {
			t.Errorf("%s.cost_usd is %s %s, want a decimal ALIAS", table, kinds["cost_usd"], types["cost_usd"])
		}
		for _, c := range store.ColumnTypes(table) {
			if types[c[0]] != c[1] {
				t.Errorf("%s.%s: inserts send %s, the table has %q", table, c[0], c[1], types[c[0]])
			}
		}
	}
}

func TestQuery(t *testing.T) {
	s := storetest.Open(t)
	rows, err := s.Query(t.Context(), `SELECT number AS n, toString(number) AS s, toDecimal64(number, 2) AS d, [number, 1] AS a, map('k', number) AS m,
		if(number = 1, NULL, number) AS nullable, toLowCardinality('w') AS w, toDateTime64('2026-01-02 03:04:05.678901', 6, 'UTC') AS t,
		tuple(1, 'x') AS tup FROM numbers(3)`)
	must(t, err)
	defer rows.Close()
	if c := rows.Columns(); len(c) != 9 || c[0] != (store.Column{Name: "n", Type: "UInt64"}) || c[6].Type != "LowCardinality(String)" {
		t.Errorf("columns %+v", c)
	}
	var got []string
	for rows.Next() {
		v := rows.Values()
		got = append(got, fmt.Sprintln(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7].(time.Time).UTC().Format(time.RFC3339Nano)))
	}
	must(t, rows.Err())
	want := []string{
		"0 0 0 [0 1] map[k:0] 0 w 2026-01-02T03:04:05.678901Z",
		"1 1 1 [1 1] map[k:1] <nil> w 2026-01-02T03:04:05.678901Z",
		"2 2 2 [2 1] map[k:2] 2 w 2026-01-02T03:04:05.678901Z",
	}
	for i := range want {
		if i >= len(got) || strings.Join(strings.Fields(got[i]), " ") != want[i] {
			t.Errorf("row %d: got %q, want %q", i, got, want[i])
		}
	}
	if n := len(query(t, s, "SELECT number FROM numbers(300000)")); n != 300000 {
		t.Errorf("a long result had %d rows", n)
	}
	if _, err := s.Query(t.Context(), "SELEC 1"); !errors.Is(err, store.ErrStatement) || !strings.Contains(err.Error(), "SELEC") {
		t.Errorf("a wrong statement: %v", err)
	}
}

package store_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
)

// engineOf is a table's engine as ClickHouse shows it.
func engineOf(t *testing.T, s *store.Store, table string) string {
	t.Helper()
	return fmt.Sprint(query(t, s, "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = '"+table+"'")[0][0])
}

// A configured TTL is on the tables after the next start, and gone when it is
// no longer configured; rows older than it go, whole days of them, and no
// others. What somebody else has set stays.
func TestLayout(t *testing.T) {
	dsn := storetest.DSN(t)
	migrate := func(l store.Layout) *store.Store {
		t.Helper()
		s, err := store.Open(store.Config{DSN: dsn, Layout: l})
		must(t, err)
		t.Cleanup(func() { _ = s.Close() })
		must(t, s.Migrate(t.Context()))
		return s
	}
	s := migrate(store.Layout{})
	for _, table := range []string{"attempts", "jobs", "scores"} {
		if e := engineOf(t, s, table); strings.Contains(e, " TTL ") {
			t.Errorf("%s: %s", table, e)
		}
	}
	now := time.Now().UTC()
	rows := fakeAttempts(1, 30) // ten of long ago, ten of some days ago, ten of today
	for i := range rows {
		rows[i].TS = now.AddDate(0, 0, -[]int{40, 20, 0}[i/10]).Truncate(24 * time.Hour).Add(time.Duration(i) * time.Second)
	}
	for i := 0; i < 30; i += 10 {
		must(t, s.InsertAttempts(t.Context(), rows[i:i+10]))
	}
	const days = 24 * time.Hour
	s = migrate(store.Layout{AttemptsTTL: 30 * days, JobsTTL: 60 * days})
	if e := engineOf(t, s, "attempts"); !strings.Contains(e, "TTL toDateTime(ts) + toIntervalSecond(2592000) SETTINGS") || !strings.Contains(e, "ttl_only_drop_parts = 1") {
		t.Errorf("attempts: %s", e)
	}
	if e := engineOf(t, s, "jobs"); !strings.Contains(e, "TTL toDateTime(finished_at) + toIntervalSecond(5184000) SETTINGS") {
		t.Errorf("jobs: %s", e)
	}
	count := func() uint64 {
		t.Helper()
		exec(t, s, "OPTIMIZE TABLE attempts FINAL")
		return query(t, s, "SELECT count() FROM attempts")[0][0].(uint64)
	}
	if n := count(); n != 20 {
		t.Errorf("%d rows are left of 30, want 20", n)
	}
	if seq, err := s.MaxSeq(t.Context(), store.Attempts); err != nil || seq != 30 {
		t.Errorf("the position is %d, %v", seq, err)
	}
	modified := func() uint64 {
		return query(t, s, "SELECT count() FROM system.mutations WHERE database = currentDatabase() AND table = 'attempts'")[0][0].(uint64)
	}
	before := modified()
	s = migrate(store.Layout{AttemptsTTL: 30 * days, JobsTTL: 60 * days})
	if n := modified(); n != before {
		t.Errorf("a start without a change starts %d mutations", n-before)
	}
	s = migrate(store.Layout{AttemptsTTL: 30 * days, Policy: "default", Volume: "default", MoveAfter: 10 * days}) // the one that every server has
	if e := engineOf(t, s, "attempts"); !strings.Contains(e, "toIntervalSecond(2592000), toDateTime(ts) + toIntervalSecond(864000) TO VOLUME 'default'") {
		t.Errorf("attempts: %s", e)
	}
	if e := engineOf(t, s, "jobs"); !strings.Contains(e, "TTL toDateTime(finished_at) + toIntervalSecond(864000) TO VOLUME 'default' SETTINGS") {
		t.Errorf("jobs: %s", e)
	}
	s = migrate(store.Layout{})
	exec(t, s, "ALTER TABLE jobs MODIFY TTL toDate(finished_at) + toIntervalYear(9)")
	s = migrate(store.Layout{})
	if e := engineOf(t, s, "attempts"); strings.Contains(e, " TTL ") {
		t.Errorf("attempts: %s", e)
	}
	if e := engineOf(t, s, "jobs"); !strings.Contains(e, "toIntervalYear(9)") {
		t.Errorf("somebody's own TTL of jobs is gone: %s", e)
	}
	if n := count(); n != 20 {
		t.Errorf("%d rows", n)
	}
	bad, err := store.Open(store.Config{DSN: dsn, Layout: store.Layout{Policy: "nope"}})
	must(t, err)
	defer bad.Close()
	if err := bad.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "clickhouse.storage") || !strings.Contains(err.Error(), "nope") {
		t.Errorf("a policy that is not there: %v", err)
	}
}

// Every statement of the built-in migrations becomes one for the cluster that
// ClickHouse can read, and none is left for one server only. That is all that
// can be tried without a Keeper.
func TestClusterStatements(t *testing.T) {
	s := storetest.Open(t)
	names, statements, err := store.LoadMigrations(store.BuiltIn())
	must(t, err)
	for _, c := range []store.Cluster{{Name: "main", Replicated: true, Distributed: true}, {Name: "main", Replicated: true}, {Name: "main", Distributed: true}} {
		local, tables := map[string]bool{}, 0
		for i := range names {
			for _, stmt := range statements[i] {
				list, err := c.Statements("sluice", stmt)
				if err != nil {
					t.Errorf("%s: %v", names[i], err)
				}
				for _, x := range list {
					if ast := query(t, s, "EXPLAIN AST "+x); len(ast) == 0 || strings.Count(x, " ON CLUSTER `main`") != 1 {
						t.Errorf("%s: %s", names[i], x)
					}
					if strings.HasPrefix(x, "CREATE TABLE") {
						tables++
						local[strings.Fields(x)[5]] = true
					}
					if strings.Contains(x, "ADD COLUMN") && strings.Contains(x, "PROJECTION") {
						t.Errorf("%s: a Distributed table takes no projection: %s", names[i], x)
					}
					if plain := strings.Contains(x, "ENGINE = MergeTree"); plain && c.Replicated {
						t.Errorf("%s: not replicated: %s", names[i], x)
					}
				}
			}
		}
		if c.Distributed && (!local["attempts"] || !local["attempts_local"] || tables < 6) || !c.Distributed && (local["attempts_local"] || tables < 3) {
			t.Errorf("%+v makes the tables %v", c, local)
		}
	}
}

// What each kind of statement becomes, word for word.
func TestClusterGolden(t *testing.T) {
	var b strings.Builder
	for _, c := range []store.Cluster{{}, {Name: "main", Replicated: true, Distributed: true}, {Name: "main", Replicated: true}} {
		fmt.Fprintf(&b, "-- %+v\n", c)
		for _, stmt := range []string{
			"CREATE TABLE IF NOT EXISTS attempts\n(seq UInt64, ts DateTime64(6))\nENGINE = MergeTree\nPARTITION BY toYYYYMMDD(ts)\nORDER BY seq\nSETTINGS non_replicated_deduplication_window = 1000",
			"CREATE TABLE IF NOT EXISTS schema_migrations (version UInt32) ENGINE = MergeTree ORDER BY version",
			"ALTER TABLE attempts ADD COLUMN IF NOT EXISTS shadow String",
			"ALTER TABLE jobs MATERIALIZE PROJECTION hourly_sums",
			"CREATE OR REPLACE VIEW waste_daily AS SELECT 1",
		} {
			list, err := c.Statements("sluice", stmt)
			must(t, err)
			for _, x := range list {
				fmt.Fprintf(&b, "%s;\n", x)
			}
		}
	}
	want, err := os.ReadFile("testdata/cluster.sql")
	if err != nil || string(want) != b.String() {
		t.Errorf("testdata/cluster.sql (%v) is not\n%s", err, b.String())
	}
	c := store.Cluster{Name: "main"}
	for _, stmt := range []string{"DROP TABLE attempts", "INSERT INTO attempts VALUES (1)", "CREATE TABLE IF NOT EXISTS x (a Int8) ENGINE = Memory", "CREATE MATERIALIZED VIEW v AS SELECT 1"} {
		if list, err := c.Statements("sluice", stmt); err == nil {
			t.Errorf("%s became %q", stmt, list)
		}
	}
}

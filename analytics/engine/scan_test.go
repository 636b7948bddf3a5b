package engine

import (
	"strings"
	"testing"
)

func TestScanStatement(t *testing.T) {
	cases := []struct {
		sql      string
		kind     kind
		format   string
		data     string // of an insert
		flags    string // m: multiple, f: files, i: input
		stmtEnds string // the statement without what closes it, if it differs
	}{
		{sql: "SELECT 1", kind: kindSelect},
		{sql: "  select 1 format JSON", kind: kindSelect, format: "JSON", stmtEnds: "  select 1 format JSON"},
		{sql: "SELECT 1 FORMAT JSON;", kind: kindSelect, format: "JSON", stmtEnds: "SELECT 1 FORMAT JSON"},
		{sql: "SELECT 1 FORMAT JSON SETTINGS a = 1, b = 'x' -- c", kind: kindSelect, format: "JSON", stmtEnds: "SELECT 1 FORMAT JSON SETTINGS a = 1, b = 'x'"},
		{sql: "SELECT 1 SETTINGS a = 1 FORMAT JSON", kind: kindSelect, format: "JSON"},
		{sql: "SELECT 'x FORMAT CSV'", kind: kindSelect},
		{sql: "SELECT 'it''s; \\'; FORMAT CSV'", kind: kindSelect},
		{sql: "SELECT $$ ; FORMAT CSV $$, $a$ $$ ; $a$", kind: kindSelect},
		{sql: "SELECT `FORMAT` FROM \"a;b\"", kind: kindSelect},
		{sql: "SELECT format FROM t", kind: kindSelect},
		{sql: "SELECT (SELECT 1 FORMAT CSV)", kind: kindSelect},
		{sql: "SELECT t.format JSON", kind: kindSelect},
		{sql: "SELECT 1 -- FORMAT CSV", kind: kindSelect, stmtEnds: "SELECT 1"},
		{sql: "SELECT 1 /* ; FORMAT CSV */ ; ; -- x", kind: kindSelect, stmtEnds: "SELECT 1"},
		{sql: "SELECT 1; SELECT 2", kind: kindSelect, flags: "m", stmtEnds: "SELECT 1"},
		{sql: "((SELECT 1)) UNION ALL SELECT 2", kind: kindSelect},
		{sql: "WITH 1 AS a SELECT a", kind: kindSelect},
		{sql: "WITH 1 AS a INSERT INTO t SELECT a", kind: kindOther},
		{sql: "FROM t SELECT a", kind: kindSelect},
		{sql: "SELECT 1 INTO OUTFILE 'x' FORMAT CSV", kind: kindSelect, format: "CSV", flags: "f"},
		{sql: "SHOW TABLES FORMAT CSV", format: "CSV"},
		{sql: "CREATE TABLE t (format String) ENGINE = Memory"},
		{sql: ""},
		{sql: "-- only a comment", stmtEnds: ""},
		{sql: "INSERT INTO t VALUES (1)", kind: kindInsert, format: "Values", data: " (1)"},
		{sql: "insert into d.t(a, `values`) values(1);", kind: kindInsert, format: "Values", data: "(1);"},
		{sql: "INSERT INTO t FORMAT CSV\n1;2\n", kind: kindInsert, format: "CSV", data: "1;2\n"},
		{sql: "INSERT INTO t FORMAT CSV  \n\n1", kind: kindInsert, format: "CSV", data: "\n1"},
		{sql: "INSERT INTO t FORMAT TSV \t1", kind: kindInsert, format: "TSV", data: "1"},
		{sql: "INSERT INTO t (a) SETTINGS x = 1 FORMAT CSV 1", kind: kindInsert, format: "CSV", data: "1"},
		{sql: "INSERT INTO TABLE FUNCTION remote('a', b.c) (a) VALUES (1)", kind: kindInsert, format: "Values", data: " (1)"},
		{sql: "INSERT INTO format FORMAT CSV\n1", kind: kindInsert, format: "CSV", data: "1"},
		{sql: "INSERT INTO `values`.`select` FORMAT CSV\n1", kind: kindInsert, format: "CSV", data: "1"},
		{sql: "INSERT /* VALUES */ INTO t VALUES (';')", kind: kindInsert, format: "Values", data: " (';')"},
		{sql: "INSERT INTO t SELECT 1 FORMAT CSV", format: "CSV"},
		{sql: "INSERT INTO t (SELECT * FROM values('a Int8', 1))"},
		{sql: "INSERT INTO t SELECT a FROM input('a Int8') FORMAT CSV", format: "CSV", flags: "i"},
		{sql: "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV", kind: kindInsert, format: "CSV", flags: "f"},
		{sql: "INSERT INTO t"},
	}
	for _, c := range cases {
		st := scanStatement(c.sql)
		flags := ""
		for _, f := range []struct {
			on   bool
			name string
		}{{st.multiple, "m"}, {st.files, "f"}, {st.input, "i"}} {
			if f.on {
				flags += f.name
			}
		}
		if st.kind != c.kind || st.format != c.format || flags != c.flags {
			t.Errorf("%q: kind %d format %q flags %q, want %d %q %q", c.sql, st.kind, st.format, flags, c.kind, c.format, c.flags)
		}
		if c.kind == kindInsert {
			if got := c.sql[st.dataPos:]; c.data != "" && got != c.data {
				t.Errorf("%q: data %q, want %q", c.sql, got, c.data)
			}
			continue
		}
		want := c.stmtEnds
		if want == "" && !strings.HasPrefix(c.sql, "--") {
			want = c.sql
		}
		if got := c.sql[:st.end]; got != want {
			t.Errorf("%q: ends as %q, want %q", c.sql, got, want)
		}
	}
}

// The scan never panics, keeps its positions in order, and does not depend on
// the data that follows an insert.
func FuzzScanStatement(f *testing.F) {
	for _, s := range []string{
		"SELECT 1 FORMAT JSON SETTINGS a = 1;", "INSERT INTO t (a) SETTINGS x = 1 FORMAT CSV\n1", "INSERT INTO t VALUES (1)",
		"SELECT $a$ ; $a$ -- x\n, 'a\\'' /* ; */", "((SELECT `a` FROM \"b\"", "WITH x INSERT INTO t SELECT", "INSERT INTO t FROM INFILE 'x' VALUES",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		st := scanStatement(sql)
		if st.kind == kindInsert {
			if st.filePos > st.formatPos || st.formatPos > st.dataPos || st.dataPos > len(sql) || st.filePos <= 0 {
				t.Fatalf("%q: positions %+v", sql, st)
			}
			if head := scanStatement(sql[:st.dataPos] + "\nx'"); head.formatPos != st.formatPos || head.kind != kindInsert {
				t.Fatalf("%q: %+v, with other data %+v", sql, st, head)
			}
			return
		}
		if st.end < 0 || st.end > len(sql) || st.formatPos < 0 || st.formatPos > st.end {
			t.Fatalf("%q: positions %+v", sql, st)
		}
		again := scanStatement(sql[:st.end])
		if again.multiple || again.kind != st.kind || again.format != st.format {
			t.Fatalf("%q: %+v, without its end %+v", sql, st, again)
		}
	})
}

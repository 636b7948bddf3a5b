package engine

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
)

// call is what a test sends by plain HTTP; values are given as name, value, …
type call struct {
	method string // GET without a body, POST with one
	path   string
	values []string
	header []string
	body   string
	noAuth bool
}

// client has no redirects, cookies or compression of its own.
var client = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}

type reply struct {
	status int
	header http.Header
	body   string
}

func (c call) request(addr string) *http.Request {
	q := url.Values{}
	for i := 0; i < len(c.values); i += 2 {
		q.Add(c.values[i], c.values[i+1])
	}
	method := c.method
	if method == "" {
		method = http.MethodPost
	}
	path := c.path
	if path == "" {
		path = "/"
	}
	req, err := http.NewRequest(method, "http://"+addr+path+"?"+q.Encode(), strings.NewReader(c.body))
	if err != nil {
		panic(err)
	}
	if !c.noAuth {
		req.Header.Set("X-ClickHouse-Key", testPassword)
	}
	for i := 0; i < len(c.header); i += 2 {
		req.Header.Set(c.header[i], c.header[i+1])
	}
	return req
}

func (c call) do(t testing.TB, addr string) reply {
	t.Helper()
	res, err := client.RoundTrip(c.request(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	return reply{res.StatusCode, res.Header, string(body)}
}

// sql posts a statement and returns the answer's body; a failure fails the test.
func sql(t testing.TB, addr, text string, values ...string) string {
	t.Helper()
	r := call{body: text, values: values}.do(t, addr)
	if r.status != 200 {
		t.Fatalf("%s: status %d: %s", text, r.status, r.body)
	}
	return r.body
}

func TestQueriesByHTTP(t *testing.T) {
	_, addr := startEngine(t)
	sql(t, addr, "CREATE DATABASE d")
	sql(t, addr, "CREATE TABLE d.t (a Int32, s String) ENGINE = MergeTree ORDER BY a")
	long := "SELECT '" + strings.Repeat("x", 300_000) + "' = '' AS a"
	cases := []struct {
		name string
		call call
		want string
	}{
		{"body", call{body: "SELECT 1"}, "1\n"},
		{"url", call{method: "GET", values: []string{"query", "SELECT 1"}}, "1\n"},
		{"url and body", call{values: []string{"query", "SELECT"}, body: "1 + 1"}, "2\n"},
		{"semicolons and comments", call{body: "-- it's\nSELECT /* ; */ ';' ; -- end\n ;"}, ";\n"},
		{"format in the statement", call{body: "SELECT 1 AS a, 'x' AS b FORMAT JSONEachRow"}, `{"a":1,"b":"x"}` + "\n"},
		{"format then settings", call{body: "SELECT number FROM numbers(3) FORMAT CSV SETTINGS max_block_size = 1;"}, "0\n1\n2\n"},
		{"settings then format", call{body: "SELECT getSetting('max_block_size') SETTINGS max_block_size = 7 FORMAT TSV"}, "7\n"},
		{"default_format", call{body: "SELECT 1 AS a", values: []string{"default_format", "CSVWithNames"}}, "\"a\"\n1\n"},
		{"format header", call{body: "SELECT 1 AS a", header: []string{"X-ClickHouse-Format", "JSONEachRow"}}, `{"a":1}` + "\n"},
		{"format of many blocks", call{body: "SELECT number FROM numbers(5) SETTINGS max_block_size = 2 FORMAT JSONCompactColumns"}, "[\n\t[0, 1, 2, 3, 4]\n]\n"},
		{"format as a name", call{body: "SELECT format FROM (SELECT 1 AS format)"}, "1\n"},
		{"database", call{body: "SELECT currentDatabase()", values: []string{"database", "d"}}, "d\n"},
		{"database header", call{body: "SELECT currentDatabase()", header: []string{"X-ClickHouse-Database", "d"}}, "d\n"},
		{"setting", call{body: "SELECT getSetting('max_threads')", values: []string{"max_threads", "1"}}, "1\n"},
		{"setting with quotes", call{body: "SELECT getSetting('log_comment')", values: []string{"log_comment", `a'\`}}, `a\'\\` + "\n"},
		{"parameters", call{body: "SELECT {a:UInt8} + 1, {s:String}, {l:Array(String)}", values: []string{"param_a", "41", "param_s", `tab\there 'q'`, "param_l", "['x','y']"}}, "42\ttab\\there \\'q\\'\t['x','y']\n"},
		{"null parameter", call{body: "SELECT {a:Nullable(String)} IS NULL", values: []string{"param_a", `\N`}}, "1\n"},
		{"show", call{body: "SHOW TABLES FROM d"}, "t\n"},
		{"explain", call{body: "EXPLAIN SYNTAX SELECT 1 FORMAT TSV"}, "SELECT 1\nFROM system.one\n"},
		{"union in brackets", call{body: "(SELECT 1) UNION ALL (SELECT 1) FORMAT TSV"}, "1\n1\n"},
		{"with", call{body: "WITH 2 AS x SELECT x"}, "2\n"},
		{"no rows", call{body: "SELECT 1 WHERE 0"}, ""},
		{"long", call{body: long, values: []string{"max_query_size", "1000000"}}, "0\n"},
		{"gzip request", call{body: gzipped("SELECT 5"), header: []string{"Content-Encoding", "gzip"}}, "5\n"},
		{"ping", call{method: "GET", path: "/ping", noAuth: true}, "Ok.\n"},
		{"replicas_status", call{method: "GET", path: "/replicas_status", noAuth: true}, "Ok.\n"},
		{"root", call{method: "GET", noAuth: true}, "Ok.\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := c.call.do(t, addr)
			if r.status != 200 || r.body != c.want {
				t.Fatalf("status %d, body %q, want %q", r.status, r.body, c.want)
			}
		})
	}
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, s)
	w.Close()
	return b.String()
}

func TestSettingsHoldForOneStatement(t *testing.T) {
	_, addr := startEngine(t, func(c *SupervisorConfig) { c.Engine.Connections = 1 })
	sql(t, addr, "SET max_threads = 17")
	sql(t, addr, "USE system")
	sql(t, addr, "CREATE TEMPORARY TABLE tt (a Int8)")
	if got := sql(t, addr, "SELECT currentDatabase(), getSetting('max_threads')"); strings.Contains(got, "17") || !strings.HasPrefix(got, "default\t") {
		t.Errorf("a later statement sees %q", got)
	}
	if r := (call{body: "SELECT * FROM tt"}).do(t, addr); r.status != 404 {
		t.Errorf("a temporary table outlives its request: %d %s", r.status, r.body)
	}
}

func TestInsertsByHTTP(t *testing.T) {
	_, addr := startEngine(t)
	cases := []struct {
		name string
		call call
		want string
	}{
		{"values", call{body: "INSERT INTO t VALUES (1, 'a'), (2, 'b;c')"}, "1\ta\n2\tb;c\n"},
		{"values with expressions", call{body: "INSERT INTO t (s, a) VALUES (upper('x'), 1 + 1);"}, "2\tX\n"},
		{"values split over url and body", call{values: []string{"query", "INSERT INTO t VALUES"}, body: "(3, 'c')"}, "3\tc\n"},
		{"format in the url", call{values: []string{"query", "INSERT INTO t FORMAT TSV"}, body: "4\td\n5\te\n"}, "4\td\n5\te\n"},
		{"format in the body", call{body: "INSERT INTO t FORMAT JSONEachRow\n{\"a\": 6, \"s\": \"f\"}"}, "6\tf\n"},
		{"format on one line", call{body: `INSERT INTO t FORMAT JSONEachRow {"a": 7}`}, "7\t\n"},
		{"settings", call{body: "INSERT INTO t SETTINGS input_format_null_as_default = 1 FORMAT CSV\n8,h\n"}, "8\th\n"},
		{"columns", call{body: "INSERT INTO default.t (`s`) FORMAT CSV\nonly\n"}, "0\tonly\n"},
		{"table keyword", call{body: "INSERT INTO TABLE t FORMAT CSV\n9,i\n"}, "9\ti\n"},
		{"select", call{body: "INSERT INTO t SELECT number, 'n' FROM numbers(2)"}, "0\tn\n1\tn\n"},
		{"compressed", call{values: []string{"query", "INSERT INTO t FORMAT CSV"}, body: gzipped("1,z\n"), header: []string{"Content-Encoding", "gzip"}}, "1\tz\n"},
		{"parameters", call{body: "INSERT INTO t VALUES ({x:Int32}, {y:String})", values: []string{"param_x", "3", "param_y", "p"}}, "3\tp\n"},
		{"no data", call{values: []string{"query", "INSERT INTO t FORMAT CSV"}}, ""},
		{"empty lines and quotes", call{body: "INSERT INTO t FORMAT CSV\n1,\"a\n'b\"\n"}, "1\ta\\n\\'b\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			sql(t, addr, "CREATE OR REPLACE TABLE t (a Int32, s String) ENGINE = MergeTree ORDER BY a")
			if r := c.call.do(t, addr); r.status != 200 || r.body != "" {
				t.Fatalf("status %d: %s", r.status, r.body)
			}
			if got := sql(t, addr, "SELECT a, s FROM t ORDER BY a, s"); got != c.want {
				t.Errorf("table holds %q, want %q", got, c.want)
			}
		})
	}
}

// A big insert in text goes through a file, and ends as one part.
func TestLargeInsertIsAtomic(t *testing.T) {
	s, addr := startEngine(t)
	sql(t, addr, "CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
	var b strings.Builder
	const rows = 500_000
	for i := range rows {
		fmt.Fprintf(&b, "{\"a\":%d,\"s\":\"%d\"}\n", i, i*i)
	}
	r := call{values: []string{"query", "INSERT INTO t FORMAT JSONEachRow"}, body: b.String()}.do(t, addr)
	if r.status != 200 {
		t.Fatal(r.body)
	}
	var sum map[string]string
	if err := json.Unmarshal([]byte(r.header.Get("X-ClickHouse-Summary")), &sum); err != nil || sum["written_rows"] != fmt.Sprint(rows) {
		t.Errorf("summary %v (%v), want written_rows %d", sum, err, rows)
	}
	if got := sql(t, addr, "SELECT count(), uniqExact(_part), sum(a) FROM t"); got != fmt.Sprintf("%d\t1\t%d\n", rows, rows*(rows-1)/2) {
		t.Errorf("count, parts, sum = %q", got)
	}
	left, err := os.ReadDir(s.cfg.Engine.tempDir())
	if err != nil || len(left) != 2 { // config.xml and work
		t.Errorf("temporary files are left: %v %v", left, err)
	}
}

func TestFailuresByHTTP(t *testing.T) {
	_, addr := startEngine(t, func(c *SupervisorConfig) { c.Engine.MaxInsert = 1 << 20 })
	sql(t, addr, "CREATE TABLE t (a Int32) ENGINE = MergeTree ORDER BY a")
	big := strings.Repeat("1\n", 600_000)
	cases := []struct {
		name   string
		call   call
		status int
		code   string
	}{
		{"syntax", call{body: "SELEC 1"}, 400, "62"},
		{"empty", call{body: " -- nothing"}, 400, "62"},
		{"two statements", call{body: "SELECT 1; SELECT 2"}, 400, "62"},
		{"unknown table", call{body: "SELECT * FROM nope"}, 404, "60"},
		{"unknown column", call{body: "SELECT nope FROM t FORMAT Native"}, 404, "47"},
		{"unknown database", call{body: "SELECT 1", values: []string{"database", "nope"}}, 404, "81"},
		{"unknown setting", call{body: "SELECT 1", values: []string{"nope", "1"}}, 404, "115"},
		{"hostile setting", call{body: "SELECT 1", values: []string{"a = 1, b", "1"}}, 404, "115"},
		{"unknown format", call{body: "SELECT 1 FORMAT Nope"}, 404, "73"},
		{"hostile format", call{body: "SELECT 1", values: []string{"default_format", "TSV; DROP TABLE t"}}, 404, "73"},
		{"missing parameter", call{body: "SELECT {a:Int8}"}, 500, "456"},
		{"bad data", call{body: "INSERT INTO t FORMAT TSV\nx\n"}, 400, "27"},
		{"insert into nothing", call{body: "INSERT INTO nope VALUES (1)"}, 404, "60"},
		{"too much data", call{values: []string{"query", "INSERT INTO t FORMAT TSV"}, body: big}, 413, "223"},
		{"too long a statement", call{body: "SELECT " + strings.Repeat("1+", 5<<20) + "1"}, 413, "223"},
		{"write by GET", call{method: "GET", values: []string{"query", "CREATE TABLE x (a Int8) ENGINE = Memory"}}, 500, "164"},
		{"write though readonly", call{body: "INSERT INTO t VALUES (1)", values: []string{"readonly", "1"}}, 500, "164"},
		{"outfile", call{body: "SELECT 1 INTO OUTFILE '/tmp/x'"}, 501, "48"},
		{"infile", call{body: "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT TSV"}, 501, "48"},
		{"session", call{body: "SELECT 1", values: []string{"session_id", "s"}}, 501, "48"},
		{"not gzip", call{body: "SELECT 1", header: []string{"Content-Encoding", "gzip"}}, 500, "271"},
		{"unknown encoding", call{body: "SELECT 1", header: []string{"Content-Encoding", "rot13"}}, 500, "89"},
		{"not compressed", call{body: "SELECT 1", values: []string{"decompress", "1"}}, 500, "271"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := c.call.do(t, addr)
			code := r.header.Get("X-ClickHouse-Exception-Code")
			if r.status != c.status || code != c.code || !strings.HasPrefix(r.body, "Code: "+c.code+". DB::Exception: ") {
				t.Errorf("status %d code %s, want %d %s: %.200s", r.status, code, c.status, c.code, r.body)
			}
		})
	}
	if got := sql(t, addr, "SELECT count() FROM t"); got != "0\n" {
		t.Errorf("refused inserts left %s rows", got)
	}
	if r := (call{method: "GET", path: "/nope"}).do(t, addr); r.status != 404 {
		t.Errorf("unknown path: %d", r.status)
	}
	if r := (call{method: "DELETE"}).do(t, addr); r.status != 405 {
		t.Errorf("DELETE: %d", r.status)
	}
}

func TestAuthentication(t *testing.T) {
	_, addr := startEngine(t)
	basic := func(user, password string) []string {
		r := &http.Request{Header: http.Header{}}
		r.SetBasicAuth(user, password)
		return []string{"Authorization", r.Header.Get("Authorization")}
	}
	cases := []struct {
		name   string
		header []string
		values []string
		status int
	}{
		{"none", nil, nil, 401},
		{"headers", []string{"X-ClickHouse-User", "default", "X-ClickHouse-Key", testPassword}, nil, 200},
		{"key only", []string{"X-ClickHouse-Key", testPassword}, nil, 200},
		{"basic", basic("default", testPassword), nil, 200},
		{"parameters", nil, []string{"user", "default", "password", testPassword}, 200},
		{"wrong key", []string{"X-ClickHouse-Key", testPassword + "x"}, nil, 403},
		{"prefix of the key", []string{"X-ClickHouse-Key", testPassword[:3]}, nil, 403},
		{"wrong basic", basic("default", ""), nil, 403},
		{"wrong parameter", nil, []string{"password", "x"}, 403},
		{"other user", basic("admin", testPassword), nil, 403},
		{"right parameter behind a wrong header", []string{"X-ClickHouse-Key", "x"}, []string{"password", testPassword}, 403},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := call{noAuth: true, header: c.header, values: c.values, body: "SELECT 1"}.do(t, addr)
			if r.status != c.status {
				t.Fatalf("status %d, want %d: %s", r.status, c.status, r.body)
			}
			code := r.header.Get("X-ClickHouse-Exception-Code")
			if c.status == 403 && code != "516" || c.status == 401 && (code != "194" || r.header.Get("WWW-Authenticate") == "") {
				t.Errorf("code %q, header %v", code, r.header)
			}
			if strings.Contains(r.body, testPassword) {
				t.Errorf("the password is in the answer: %s", r.body)
			}
		})
	}
}

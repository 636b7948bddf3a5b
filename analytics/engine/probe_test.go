package engine

import ("testing";"time";"fmt";"os";"strings";"path/filepath";"bytes";"os/exec")

const plib = "/tmp/eng/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so"

func rss() string { b,_ := os.ReadFile("/proc/self/status"); var out []string; for _, l := range strings.Split(string(b),"\n") { if strings.HasPrefix(l,"VmRSS")||strings.HasPrefix(l,"RssAnon")||strings.HasPrefix(l,"Threads") {out=append(out,l)} }; return strings.Join(out," ") }

func TestProbe(t *testing.T) {
	t0 := time.Now()
	lib, err := load(plib); if err != nil { t.Fatal(err) }
	fmt.Println("load", time.Since(t0), rss())
	top := t.TempDir()
	dir := filepath.Join(top, "data")
	tmp := filepath.Join(top, "tmp"); os.Mkdir(tmp, 0700)
	t0 = time.Now()
	args := append([]string{"--path="+dir}, strings.Fields(os.Getenv("ARGS"))...)
	s, err := lib.open(args...); if err != nil { t.Fatal(err) }
	fmt.Println("open", time.Since(t0), rss())
	q := func(s *session, sql, f string, p ...param) {
		t0 := time.Now()
		r := s.query(sql, f, p); defer r.free()
		b := r.bytes(); if len(b) > 1500 { b = b[:1500] }
		fmt.Printf("> %s (%v) err=%v\n%s %+v\n", sql, time.Since(t0), r.err(), b, r.progress())
	}
	q(s, "select name, value from system.server_settings where changed or name like '%pool_size' or name like '%cache_size'", "TSV")
	q(s, "select name, engine, data_path from system.databases", "TSV")
	q(s, "create database if not exists sluice", "TSV")
	q(s, "create table t (a UInt64, b String) engine=MergeTree order by a", "TSV")
	q(s, "create table sluice.t (a UInt64, b String) engine=MergeTree order by a", "TSV")
	r := s.query("select number, toString(number) from numbers(10000)", "Native", nil)
	one := bytes.Clone(r.bytes()); r.free()
	f := filepath.Join(tmp, "in")
	os.WriteFile(f, bytes.Repeat(one, 30), 0600)
	q(s, "insert into sluice.t (a, b) from infile '"+f+"' FORMAT Native", "TSV")
	q(s, "insert into sluice.t (a, b) from infile '"+f+"' COMPRESSION 'none' SETTINGS max_insert_threads=1 FORMAT Native", "TSV")
	q(s, "select name, rows from system.parts where active", "TSV")
	s.query("truncate table sluice.t", "TSV", nil)
	var tsv strings.Builder
	for i := range 800000 { fmt.Fprintf(&tsv, "{\"a\":%d,\"b\":\"xyz %d\"}\n", i, i*i) }
	os.WriteFile(f, []byte(tsv.String()), 0600)
	q(s, "insert into sluice.t (a, b) from infile '"+f+"' FORMAT JSONEachRow", "TSV")
	q(s, "select name, rows from system.parts where active", "TSV")
	os.WriteFile(f, []byte("(1, 'a'), (2, concat('b', 'c'))  , (3, 'x')"), 0600)
	q(s, "insert into sluice.t from infile '"+f+"' FORMAT Values", "TSV")
	os.WriteFile(f, []byte("5\tfoo\n6\tbar\n"), 0600)
	q(s, "insert into sluice.t select a+1, b from input('a UInt8, b String') from infile '"+f+"' FORMAT TSV", "TSV")
	q(s, "insert into sluice.t from infile '"+f+"' FORMAT TSV", "TSV")
	q(s, "insert into sluice.t from infile '/nope' FORMAT TSV", "TSV")
	q(s, "insert into sluice.t select a+1, b from input('a UInt8, b String') format TSV 1\tfoo", "TSV")
	// fifo
	fifo := filepath.Join(tmp, "fifo"); exec.Command("mkfifo", fifo).Run()
	go func() { w, err := os.OpenFile(fifo, os.O_WRONLY, 0); fmt.Println("fifo open", err); for range 3 { w.Write(one); time.Sleep(100*time.Millisecond) }; w.Close() }()
	go func() { time.Sleep(3*time.Second); w, err := os.OpenFile(fifo, os.O_RDWR, 0); fmt.Println(err); time.Sleep(100*time.Millisecond); w.Close() }()
	q(s, "insert into sluice.t from infile '"+fifo+"' FORMAT Native", "TSV")
	out := filepath.Join(tmp, "out")
	for range 3 { os.Remove(out)
	q(s, "select number from numbers(10) into outfile '"+out+"' FORMAT JSON", "TSV") }
	os.Remove(out)
	q(s, "select number from numbers(10) FORMAT JSON settings max_threads=1 into outfile '"+out+"'", "TSV")
	q(s, "select number from numbers(10) settings max_threads=1 FORMAT JSON  into outfile '"+out+"'", "TSV")
	b, _ := os.ReadFile(out); fmt.Printf("%s\n", b)
	os.Remove(out)
	q(s, "select number, throwIf(number=1) from numbers(10) into outfile '"+out+"' FORMAT JSON", "TSV")
	_, err = os.Stat(out); fmt.Println("outfile after error", err)
	os.Remove(out)
	q(s, "select number from numbers(10000000) into outfile '"+out+"' FORMAT JSON", "TSV"); fmt.Println(rss())
	fmt.Println(rss())
	q(s, "SET implicit_select=0, allow_introspection_functions=0, readonly=2", "TSV")
	q(s, "create table x (a Int8) engine=Memory", "TSV")
	q(s, "insert into sluice.t values (1,'a')", "TSV")
	q(s, "selec 1", "TSV")
	q(s, "show databases", "TSV")
	q(s, "USE sluice", "TSV")
	q(s, "show tables", "TSV")
	q(s, "USE `nope`", "TSV")
	q(s, "SET nope=1", "TSV")
	// kill
	for _, mode := range []string{"q","s"} {
	s2, _ := lib.open(args...)
	q(s2, "SET log_comment='victim'", "TSV")
	done := make(chan struct{})
	go func() { defer close(done); const sl="select sum(sleepEachRow(0.1)) from numbers(100) settings max_block_size=1"; if mode=="q" {q(s2, sl, "TSV")} else {r:=s2.stream(sl,"TSV",nil); t0:=time.Now(); c:=s2.fetch(r); fmt.Println("fetch", c.err(), time.Since(t0)); c.free(); r.free() }}()
	time.Sleep(500*time.Millisecond)
	q(s, "select query_id, elapsed from system.processes where Settings['log_comment']='victim'", "TSV")
	q(s, "kill query where Settings['log_comment']='victim' sync", "TSV")
	<-done
	s2.close()
	}
	// in flight select over lots of time
	q(s, "select number from numbers(100) where number = 3 format Native settings x=1", "TSV")
	q(s, "select timezone(), hostName(), serverUUID()", "TSV")
	q(s, "select * from file('/etc/hostname', 'LineAsString')", "TSV")
	q(s, "select query, type from system.query_log", "TSV")
	q(s, "select * from system.errors", "TSV")
	q(s, "select metric, value from system.metrics where value>0", "TSV")
	fmt.Println(rss())
	s.close()
	s, _ = lib.open(args...)
	q(s, "select count() from sluice.t", "TSV")
	q(s, "select count() from t", "TSV")
	s.close()
}

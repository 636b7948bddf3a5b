package engine

import ("testing";"time";"fmt";"os";"strings")

const plib = "/tmp/eng/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so"

func rss() string { b,_ := os.ReadFile("/proc/self/status"); var out []string; for _, l := range strings.Split(string(b),"\n") { if strings.HasPrefix(l,"VmRSS")||strings.HasPrefix(l,"RssAnon")||strings.HasPrefix(l,"Threads") {out=append(out,l)} }; return strings.Join(out," ") }

func TestProbe(t *testing.T) {
	t0 := time.Now()
	lib, err := load(plib); if err != nil { t.Fatal(err) }
	fmt.Println("load", time.Since(t0), rss())
	dir := t.TempDir()
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
	q(s, "select version()", "TSV")
	fmt.Println(rss())
	for i := 0; i < 3; i++ {
		t0 = time.Now()
		s2, err := lib.open(append(args, "--max_threads=3", "--database=system")...); if err != nil { t.Fatal(err) }
		fmt.Println("open2", time.Since(t0), rss())
		if i == 0 { q(s2, "select value from system.settings where name='max_threads'", "TSV"); q(s2, "select currentDatabase(), queryID()", "TSV"); q(s, "select currentDatabase()", "TSV") 
			q(s2, "use default", "TSV"); q(s2, "create temporary table tt (a Int8)", "TSV"); q(s2, "select * from tt", "TSV"); q(s, "select * from tt", "TSV")}
		t0 = time.Now()
		s2.close()
		fmt.Println("close2", time.Since(t0))
	}
	q(s, "SET max_threads='1', log_comment='abc'", "TSV")
	q(s, "select {a:String} || 'x', {b:Array(Int8)}", "TSV", param{"a", `x\ty'`}, param{"b","[1,2]"})
	q(s, "select name,value, changed from system.settings where changed", "TSV")
	q(s, "SET max_threads=DEFAULT, log_comment=DEFAULT", "TSV")
	q(s, "select name,value, changed from system.settings where changed", "TSV")
	q(s, "select 1 as a format JSON", "TSV")
	q(s, "select 1 as a; select 2", "TSV")
	q(s, "selec 1", "TSV")
	q(s, "select * from nope", "TSV")
	q(s, "create table t (a UInt64, b String) engine=MergeTree order by a", "TSV")
	q(s, "insert into t values (1,'a'),(2,'b')", "TSV")
	q(s, "insert into t format JSONEachRow {\"a\":3}", "TSV")
	q(s, "insert into t select number, toString(number) from numbers(1000)", "TSV")
	q(s, "select count() from t", "TSV")
	st := func(sql, f string) {
		r := s.stream(sql, f, nil); defer r.free()
		fmt.Printf("stream> %s err=%v %q\n", sql, r.err(), r.bytes())
		if r.err() != nil { return }
		for i:=0;i<1000;i++ {
			c := s.fetch(r)
			b := c.bytes(); n := len(b); if n > 300 { b = b[:300] }
			if i < 3 || n == 0 || c.err()!=nil { fmt.Printf("  chunk %d len=%d err=%v %q %+v\n", i, n, c.err(), b, c.progress()) }
			e := c.err()
			c.free()
			if n == 0 || e != nil { break }
		}
	}
	st("select number from numbers(200000)", "JSON")
	st("select number from numbers(200000) format CSVWithNames", "TSV")
	st("select number, throwIf(number=150000) from numbers(200000)", "TSV")
	st("select 1 where 0", "TSVWithNames")
	st("select 1 where 0", "Native")
	st("select number%3, count() from numbers(200000) group by 1 with totals", "JSON")
	st("create table t2 (a UInt64, b String) engine=MergeTree order by a", "TSV")
	st("show tables", "TSV")
	st("insert into t2 select number, toString(number) from numbers(1000)", "TSV")
	st("select count() from t2", "TSV")
	st("explain select count() from t2", "TSV")
	st("insert into t2 values (1,'a')", "TSV")
	st("selec 1", "TSV")
	st("select * from nope", "TSV")
	q(s, "select * from system.processes", "Vertical")
	// kill
	s2, _ := lib.open(append(args, "--log_comment=victim")...)
	done := make(chan struct{})
	go func() { defer close(done); q(s2, "select sum(sleepEachRow(0.1)) from numbers(100) settings max_block_size=1", "TSV") }()
	time.Sleep(500*time.Millisecond)
	q(s, "select query_id, user, query, Settings from system.processes", "Vertical")
	q(s, "kill query where Settings['log_comment']='victim' async", "TSV")
	<-done
	s2.close()
	fmt.Println(rss())
	time.Sleep(2*time.Second)
	fmt.Println(rss())
	q(s, "select name, value from system.server_settings where changed", "TSV")
	t0 = time.Now()
	s.close()
	fmt.Println("close", time.Since(t0))
	t0 = time.Now()
	s, err = lib.open(args...)
	fmt.Println("reopen", time.Since(t0), err)
	q(s, "select count() from t2", "TSV")
	s.close()
}

package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
	"github.com/sluicehq/sluice/sdk/wire"
)

var day = time.Date(2026, 3, 14, 10, 0, 0, 0, time.UTC)

// fakeAttempts makes n plausible rows after seq first, all of one day.
func fakeAttempts(first uint64, n int) []store.Attempt {
	r := rand.New(rand.NewPCG(1, first))
	rows := make([]store.Attempt, n)
	for i := range rows {
		pool := fmt.Sprintf("pool-%d", r.IntN(3))
		a := &wire.Attempt{
			N: 1, Pool: pool, Provider: "simulated", Model: "sim-" + pool, Region: "eu", Strategy: "least_connections",
			Price: &wire.Price{Version: "2026-03", Input: 150000, Output: 600000}, QueueMS: r.Int64N(50),
			Status: wire.Succeeded, HTTP: 200, TTFTMS: 20 + r.Int64N(100), LatencyMS: 200 + r.Int64N(1000),
			Decision: &wire.Decision{Route: "chat", Strategy: "least_connections", Pool: pool, Model: "sim-" + pool, Sequence: uint64(i),
				Candidates: []wire.Candidate{
					{Pool: "pool-0", Model: "sim-pool-0", Weight: 1, Depth: r.IntN(50), Score: r.Float64()},
					{Pool: "pool-1", Model: "sim-pool-1", Weight: 2, Depth: r.IntN(50), Score: r.Float64()},
					{Pool: "pool-2", Model: "sim-pool-2", Weight: 3, Depth: r.IntN(50), Excluded: "tripped"},
				}},
		}
		a.Settle(wire.Usage{Input: 100 + r.Int64N(2000), Output: 10 + r.Int64N(500)}, wire.UsageFromProvider)
		seq := first + uint64(i)
		rows[i] = store.Attempt{Seq: seq, TS: day.Add(time.Duration(seq) * 100 * time.Microsecond), Attempt: a,
			Job: &wire.Meta{ID: fmt.Sprintf("0190f6c2-7d1a-7%015d", seq), Tenant: fmt.Sprintf("tenant-%d", r.IntN(10)), Class: wire.Standard,
				Endpoint: wire.ChatCompletions, Route: "chat", SubmittedAt: day.UnixNano()}}
	}
	return rows
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// query runs a statement and returns its rows.
func query(t testing.TB, s *store.Store, sql string) [][]any {
	t.Helper()
	rows, err := s.Query(t.Context(), sql)
	must(t, err)
	defer rows.Close()
	var out [][]any
	for rows.Next() {
		out = append(out, rows.Values())
	}
	must(t, rows.Err())
	return out
}

func exec(t testing.TB, s *store.Store, sql string) { query(t, s, sql) }

func fakeJobs(first uint64, n int) []store.Job {
	rows := make([]store.Job, n)
	for i, a := range fakeAttempts(first, n) {
		rows[i] = store.Job{Seq: a.Seq, FinishedAt: a.TS, Job: a.Job, Status: wire.Succeeded, Attempts: 1, Cost: a.Attempt.Cost}
	}
	return rows
}

// Every field of a row arrives, whatever it holds.
func TestRoundTrip(t *testing.T) {
	s := storetest.Open(t)
	rows := fakeAttempts(1, 3)
	a := rows[1].Attempt
	a.Cost, a.Price, a.Status, a.ErrorCode, a.Decision = nil, nil, wire.Interrupted, wire.CodeInterrupted, nil
	a.Usage = wire.Usage{Input: -5, CacheRead: 1 << 40, CacheWrite: 3, Output: 4, Reasoning: 5}
	a.LatencyMS, a.HTTP, a.N = 1<<40, 1<<20, 2
	rows[1].Job.Labels = map[string]string{"team": "it's", "päck": `\n"` + "\x00"}
	d := rows[2].Attempt.Decision
	d.Rules, d.Failed, d.Experiment, d.Variant, d.Fallback = []string{"a", "b"}, []string{"c"}, "exp", "v2", 3
	rows[2].Attempt.MaxAttempts, rows[2].Attempt.MaxTokens = 7, 1<<40
	big := wire.NanoUSD(9_223_372_036_854_775_807)
	rows[2].Attempt.Cost = &big
	must(t, s.InsertAttempts(t.Context(), rows))

	got := query(t, s, "SELECT toString(tuple(* EXCEPT(labels, `candidates.score`))) FROM attempts WHERE seq = 2")[0][0].(string)
	want := `(2,'2026-03-14 10:00:00.000200','0190f6c2-7d1a-7000000000000002',2,'` + rows[1].Job.Tenant + `','standard','/v1/chat/completions','chat',` +
		`'least_connections','` + a.Pool + `','simulated','` + a.Model + `','eu','interrupted','interrupted',65535,0,1099511627776,3,4,5,'provider',NULL,'',` +
		fmt.Sprint(a.QueueMS) + `,` + fmt.Sprint(a.TTFTMS) + `,4294967295,'','','','',[],[],0,0,0,'',0,[],[],[],[],[])`
	if got != want {
		t.Errorf("row 2:\n got %s\nwant %s", got, want)
	}
	row := query(t, s, "SELECT labels, `candidates.pool`, `candidates.excluded`, `candidates.score`, decision_sequence FROM attempts ORDER BY seq")
	if l := row[1][0].(map[string]string); l["team"] != "it's" || l["päck"] != `\n"`+"\x00" {
		t.Errorf("labels %q", l)
	}
	c := rows[2].Attempt.Decision
	if fmt.Sprint(row[2][1:]) != fmt.Sprint([]any{[]string{"pool-0", "pool-1", "pool-2"}, []string{"", "", "tripped"},
		[]float64{c.Candidates[0].Score, c.Candidates[1].Score, 0}, c.Sequence}) {
		t.Errorf("decision %v, want %+v", row[2][1:], c)
	}
	steered := "SELECT toString(tuple(experiment, variant, decision_route, rules, rules_failed, fallback, max_attempts, max_output_tokens)) FROM attempts WHERE seq = 3"
	if got, want := query(t, s, steered)[0][0], `('exp','v2','chat',['a','b'],['c'],3,7,1099511627776)`; got != want {
		t.Errorf("steered: %s, want %s", got, want)
	}
	if got := fmt.Sprint(query(t, s, "SELECT toString(cost_usd) FROM attempts WHERE seq > 1 ORDER BY seq")); got != "[[<nil>] [9223372036.854775807]]" {
		t.Errorf("cost_usd %s", got)
	}
}

func TestJobsRoundTrip(t *testing.T) {
	s := storetest.Open(t)
	rows := fakeJobs(1, 2)
	rows[0].Wait, rows[0].FinishedAt = 1500*time.Millisecond, day.Add(2*time.Second)
	rows[1].Cost, rows[1].Status, rows[1].ErrorCode, rows[1].Attempts, rows[1].Job.Batch = nil, wire.Failed, wire.CodeExhausted, 5, "b1"
	rows[1].FinishedAt = day.Add(-time.Hour) // a clock that went back
	must(t, s.InsertJobs(t.Context(), rows))
	got := query(t, s, "SELECT toString(tuple(seq, status, error_code, attempts, cost_nano_usd IS NULL, wait_ms, total_ms, batch_id)) FROM jobs ORDER BY seq")
	if want := "[[(1,'succeeded','',1,0,1500,2000,'')] [(2,'failed','attempts_exhausted',5,1,0,0,'b1')]]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// One insert is one part (I1).
func TestInsertIsOnePart(t *testing.T) {
	s := storetest.Open(t)
	exec(t, s, "SYSTEM STOP MERGES attempts")
	must(t, s.InsertAttempts(t.Context(), fakeAttempts(1, 30_000)))
	must(t, s.InsertAttempts(t.Context(), fakeAttempts(30_001, 1)))
	got := query(t, s, "SELECT rows FROM system.parts WHERE active AND database = currentDatabase() AND table = 'attempts' ORDER BY rows")
	if fmt.Sprint(got) != "[[1] [30000]]" {
		t.Errorf("parts of %v rows, want 1 and 30000", got)
	}
}

func TestInsertRefuses(t *testing.T) {
	s := storetest.Open(t)
	must(t, s.InsertAttempts(t.Context(), nil))
	rows := fakeAttempts(1, 2)
	rows[1].TS = rows[0].TS.Add(24 * time.Hour)
	if err := s.InsertAttempts(t.Context(), rows); err == nil || !strings.Contains(err.Error(), "PartitionOf") {
		t.Errorf("two partitions: %v", err)
	}
	rows = fakeAttempts(1, 2)
	rows[1].Seq = rows[0].Seq
	if err := s.InsertAttempts(t.Context(), rows); err == nil || !strings.Contains(err.Error(), "order") {
		t.Errorf("one seq twice: %v", err)
	}
	if seq, err := s.MaxSeq(t.Context(), store.Attempts); err != nil || seq != 0 {
		t.Errorf("the table stands at %d, %v; want nothing in it", seq, err)
	}
}

// Two writers continue from the same position: one wins, the other is told,
// and no row is doubled (I3).
func TestInsertIsCompareAndSet(t *testing.T) {
	s := storetest.Open(t)
	must(t, s.InsertAttempts(t.Context(), fakeAttempts(1, 100)))
	must(t, s.InsertAttempts(t.Context(), fakeAttempts(101, 50)))
	for _, n := range []int{20, 100} {
		if err := s.InsertAttempts(t.Context(), fakeAttempts(101, n)); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%d rows at a taken position: %v", n, err)
		}
	}
	// The very same insert again is there already: no error, no row.
	must(t, s.InsertAttempts(t.Context(), fakeAttempts(101, 50)))
	if got := query(t, s, "SELECT count(), uniqExact(seq), max(seq) FROM attempts")[0]; fmt.Sprint(got) != "[150 150 150]" {
		t.Errorf("rows, distinct, max: %v", got)
	}
}

// The same with a clock that goes back within an insert, over an hour's border.
func TestCompareAndSetWhenTheClockGoesBack(t *testing.T) {
	s := storetest.Open(t)
	rows := func(n int) []store.Attempt {
		list := fakeAttempts(101, n)
		for i := range list {
			list[i].TS = list[i].TS.Add(-time.Duration(i) * 4 * time.Minute)
		}
		return list
	}
	must(t, s.InsertAttempts(t.Context(), fakeAttempts(1, 100)))
	must(t, s.InsertAttempts(t.Context(), rows(50)))
	for _, n := range []int{1, 20, 100} {
		if err := s.InsertAttempts(t.Context(), rows(n)); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%d rows at a taken position: %v", n, err)
		}
	}
	must(t, s.InsertAttempts(t.Context(), rows(50)))
	if got := query(t, s, "SELECT count(), uniqExact(seq), max(seq) FROM attempts")[0]; fmt.Sprint(got) != "[150 150 150]" {
		t.Errorf("rows, distinct, max: %v", got)
	}
}

// A token that is taken without rows, as a kill at the wrong moment leaves it,
// does not stop the table.
func TestBurntToken(t *testing.T) {
	s := storetest.Open(t)
	must(t, s.InsertAttempts(t.Context(), fakeAttempts(1, 100)))
	must(t, s.InsertAttempts(t.Context(), fakeAttempts(101, 50)))
	exec(t, s, "ALTER TABLE attempts DELETE WHERE seq > 100 SETTINGS mutations_sync = 1")
	must(t, s.InsertAttempts(t.Context(), fakeAttempts(101, 80)))
	if got := query(t, s, "SELECT count(), uniqExact(seq), max(seq) FROM attempts")[0]; fmt.Sprint(got) != "[180 180 180]" {
		t.Errorf("rows, distinct, max: %v", got)
	}
}

// Eight writers race for the same ledger, each as the ingester would: read the
// position, insert what follows.
func TestWritersRace(t *testing.T) {
	s := storetest.Open(t)
	const total = 2000
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for {
				at, err := s.MaxSeq(t.Context(), store.Attempts)
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				if at == total {
					return
				}
				n := min(1+r.IntN(200), total-int(at))
				if err := s.InsertAttempts(t.Context(), fakeAttempts(at+1, n)); err != nil && !errors.Is(err, store.ErrConflict) {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := query(t, s, "SELECT count(), uniqExact(seq), max(seq) FROM attempts")[0]; fmt.Sprint(got) != "[2000 2000 2000]" {
		t.Errorf("rows, distinct, max: %v", got)
	}
}

// kill -9 of the engine while inserts run: what is there is a prefix, and
// going on from max(seq) gives every row once.
func TestKilledEngine(t *testing.T) {
	s := storetest.Open(t)
	const batch, batches = 500, 60
	next := uint64(1)
	kills := 0
	for deadline := time.Now().Add(2 * time.Minute); next <= batch*batches; {
		if time.Now().After(deadline) {
			t.Fatal("no progress")
		}
		if next > uint64(kills+1)*batch*batches/4 && kills < 3 {
			kills++
			time.AfterFunc(time.Duration(rand.IntN(30))*time.Millisecond, func() { storetest.Kill(t) })
		}
		if err := s.InsertAttempts(t.Context(), fakeAttempts(next, batch)); err == nil {
			next += batch
			continue
		}
		time.Sleep(50 * time.Millisecond)
		if at, err := s.MaxSeq(t.Context(), store.Attempts); err == nil {
			next = at + 1
		}
	}
	got := query(t, s, "SELECT count(), uniqExact(seq), max(seq) FROM attempts")[0]
	if want := fmt.Sprint([]any{batch * batches, batch * batches, batch * batches}); fmt.Sprint(got) != want || kills != 3 {
		t.Errorf("rows, distinct, max: %v, want %s; %d kills", got, want, kills)
	}
}

package store_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
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

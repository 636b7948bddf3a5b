package ingest

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// benchRecord is a terminal record of ordinary size.
func benchRecord(tb testing.TB) *ledger.Seen {
	a := &wire.Attempt{N: 1, Pool: "sim-fast", Provider: "simulated", Model: "sim-small", Region: "eu-west", Strategy: "least_connections",
		Price: &wire.Price{Version: "2026-03-01", Input: 150000, CacheRead: 75000, Output: 600000}, QueueMS: 3,
		Status: wire.Succeeded, HTTP: 200, TTFTMS: 51, LatencyMS: 804,
		Decision: &wire.Decision{Route: "chat", Strategy: "least_connections", Pool: "sim-fast", Model: "sim-small", Sequence: 81234,
			Candidates: []wire.Candidate{
				{Pool: "sim-fast", Model: "sim-small", Weight: 3, Depth: 7, Score: 0.109375},
				{Pool: "sim-cheap", Model: "sim-small", Weight: 1, Depth: 12, Score: 0.1875},
				{Pool: "sim-flaky", Model: "sim-large", Weight: 1, Depth: 64, Excluded: "full"},
			}}}
	a.Settle(wire.Usage{Input: 311, CacheRead: 64, Output: 207}, wire.UsageFromProvider)
	rec := wire.Record{Status: wire.Succeeded, Entry: wire.Entry{Attempt: a, Progress: wire.Progress{Attempts: 1, Spent: *a.Cost, Expect: 99120},
		Meta: wire.Meta{ID: "0199f6c2-7d1a-7c3e-9a51-0c5d1f2ab001", Tenant: "acme", Class: wire.Interactive, Seq: 55110, SubmittedAt: 1770000000000000000,
			Endpoint: wire.ChatCompletions, Route: "chat", Stream: true, MaxTokens: 512, BodyBytes: 1024, BodyHash: 0xfedcba9876543210,
			Labels: map[string]string{"team": "search"}}}}
	h := rec.Encode()
	return &ledger.Seen{Seq: 1, At: time.Unix(1770000001, 0), Header: h}
}

func BenchmarkDecode(b *testing.B) {
	m := benchRecord(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := decode(m); err != nil {
			b.Fatal(err)
		}
	}
}

// discard takes everything.
type discard struct{}

func (discard) Migrate(context.Context) error                                 { return nil }
func (discard) MaxSeq(context.Context, store.Table) (uint64, error)           { return 0, nil }
func (discard) InsertAttempts(context.Context, []store.Attempt) error         { return nil }
func (discard) InsertJobs(context.Context, []store.Job) error                 { return nil }
func (discard) InsertScores(context.Context, []store.Score) error             { return nil }
func (discard) InsertTexts(_ context.Context, rows []store.Text) (int, error) { return len(rows), nil }
func (discard) ForgetTexts(context.Context, string, string) error             { return nil }
func (discard) ShortenTexts(context.Context, string, time.Duration) error     { return nil }

// BenchmarkLedger reads claims and terminal records from a real stream,
// without ClickHouse: per record.
func BenchmarkLedger(b *testing.B) {
	l := startLedger(b)
	m := benchRecord(b)
	claim := map[string][]string{wire.HeaderStatus: {"running"}, wire.HeaderEntry: m.Header[wire.HeaderEntry]}
	body := make([]byte, 1024)
	const n = 20_000
	for range n {
		l.async("a", claim, nil)
		l.async("a", m.Header, body)
	}
	<-l.js.PublishAsyncComplete()
	last := l.last()
	for b.Loop() {
		r := start(b, Config{JS: l.js, Store: discard{}})
		r.caughtUp(b, l)
		r.stop()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(last), "ns/record")
}

// BenchmarkLedgerToEngine is the whole way, from a ledger of claims and
// terminal records into the real ClickHouse: per job, a row in each table.
func BenchmarkLedgerToEngine(b *testing.B) {
	dsn := storetest.DSN(b)
	l := startLedger(b)
	m := benchRecord(b)
	claim := map[string][]string{wire.HeaderStatus: {"running"}, wire.HeaderEntry: m.Header[wire.HeaderEntry]}
	body := make([]byte, 1024)
	const n = 20_000
	for b.Loop() {
		b.StopTimer()
		for range n {
			l.async("a", claim, nil)
			l.async("a", m.Header, body)
		}
		<-l.js.PublishAsyncComplete()
		b.StartTimer()
		s, err := store.Open(store.Config{DSN: dsn})
		must(b, err)
		r := start(b, Config{JS: l.js, Store: s})
		r.caughtUp(b, l)
		r.stop()
		must(b, s.Close())
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/n, "µs/job")
}

// BenchmarkKeep makes the rows of a record, and says what they hold of memory
// while they wait: with all of the record, and with what is kept of it.
func BenchmarkKeep(b *testing.B) {
	for name, own := range map[string]func(*store.Attempt, *store.Job){"record": nil, "rows": newKeeper().own} {
		b.Run(name, func(b *testing.B) {
			var attempts []*store.Attempt
			var jobs []*store.Job
			heap := func() uint64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			before := heap()
			for b.Loop() {
				a, j, err := decode(benchRecord(b))
				if err != nil {
					b.Fatal(err)
				}
				if own != nil {
					own(a, j)
				}
				attempts, jobs = append(attempts, a), append(jobs, j)
			}
			b.ReportMetric(float64(heap()-before)/float64(b.N), "B-held/op")
			runtime.KeepAlive(attempts)
			runtime.KeepAlive(jobs)
		})
	}
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/analytics/ingest"
	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/broker/natsd"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/wire"
)

// ingestRounds measure bare inserts and ingest in turn.
const ingestRounds = 3

const ingestDatabase = "bench_ingest"

// ingestRate prints how many rows a second come out of a ledger, beside
// clickhouse-go inserting the same rows, which it finds in memory, into tables
// like ours in batches of the ingester's size: without projections, which the
// ratio is about, and with them.
//
// The tables are in a database of their own, which is dropped.
func ingestRate(ctx context.Context, w io.Writer, eng *benchEngine, n int) (err error) {
	st, err := eng.open(ctx, ingestDatabase)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, execute(context.WithoutCancel(ctx), st, "DROP DATABASE "+ingestDatabase), st.Close())
	}()
	dir, err := os.MkdirTemp(eng.dir, "ledgers-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintf(w, "\n%d jobs of one attempt each, from the ledger (its claims are read too): rows/s into attempts and jobs together\n", n)
	fmt.Fprintf(w, "(in brackets: µs of CPU a row, of this process, which is also the NATS server, and of the engine)\n")
	var rates, bares, work, bareWork []float64
	for i := range ingestRounds {
		bare, err := bareRate(ctx, st, eng, n, false)
		if err != nil {
			return err
		}
		like, err := bareRate(ctx, st, eng, n, true)
		if err != nil {
			return err
		}
		rate, err := ledgerRate(ctx, st, eng, filepath.Join(dir, fmt.Sprint("nats-", i)), n)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "round %d  ledger to tables %s   bare insert %s   bare insert into tables with our projections %s\n", i+1, rate, bare, like)
		rates, bares = append(rates, rate.perSecond), append(bares, bare.perSecond)
		work, bareWork = append(work, rate.own+rate.engine), append(bareWork, bare.own+bare.engine)
	}
	fmt.Fprintf(w, "ingest ratio %.2f, by CPU time %.2f\n", median(rates)/median(bares), median(bareWork)/median(work))
	return nil
}

// rowRate is how fast rows came, and what a row took.
type rowRate struct {
	perSecond   float64
	own, engine float64 // µs of CPU a row
}

// String is the rate and, in brackets, the CPU time.
func (r rowRate) String() string {
	return fmt.Sprintf("%7.0f (%.1f + %.1f)", r.perSecond, r.own, r.engine)
}

// rated measures what brings in rows of both tables.
func rated(eng *benchEngine, rows int, run func() error) (rowRate, error) {
	began, own, engine := time.Now(), cpuTime(), eng.cpu()
	err := run()
	took, n := time.Since(began), float64(rows)
	return rowRate{n / took.Seconds(), float64((cpuTime() - own).Microseconds()) / n, float64((eng.cpu() - engine).Microseconds()) / n}, err
}

// ingestRecord is a terminal record of ordinary size.
func ingestRecord(i int) *wire.Record {
	a := &wire.Attempt{N: 1, Pool: "openai-us", Provider: "openai", Model: "gpt-4o-mini", Region: "us-east", Strategy: "least_connections",
		Price:  &wire.Price{Version: "2026-03", Input: 150_000, CacheRead: 75_000, Output: 600_000},
		Status: wire.Succeeded, HTTP: 200, QueueMS: int64(i % 50), TTFTMS: 51 + int64(i%97), LatencyMS: 804 + int64(i%997),
		Decision: &wire.Decision{Route: "chat", Strategy: "least_connections", Pool: "openai-us", Model: "gpt-4o-mini", Sequence: uint64(i),
			Candidates: []wire.Candidate{
				{Pool: "openai-us", Model: "gpt-4o-mini", Weight: 3, Depth: i % 64, Score: float64(i%64) / 64},
				{Pool: "local", Model: "llama-3.3-70b", Weight: 1, Depth: 12, Score: 0.1875},
				{Pool: "azure-eu", Model: "gpt-4o", Weight: 1, Depth: 64, Excluded: "full"},
			}}}
	a.Settle(wire.Usage{Input: 311 + int64(i%1000), CacheRead: 64, Output: 207 + int64(i%300)}, wire.UsageFromProvider)
	rec := &wire.Record{Status: wire.Succeeded, Entry: wire.Entry{Attempt: a, Meta: wire.Meta{ID: fmt.Sprintf("0199f6c2-7d1a-%012d", i),
		Tenant: fmt.Sprintf("tenant-%02d", i%50), Class: wire.Interactive, Seq: uint64(i), SubmittedAt: time.Now().UnixNano(),
		Endpoint: wire.ChatCompletions, Route: "chat", MaxTokens: 512, BodyBytes: 1024, Labels: map[string]string{"team": "search"}}}}
	rec.Entry.Progress.Add(a)
	return rec
}

// ledgerRate ingests n jobs, claim and terminal record each, that lie in a
// ledger on disk.
func ledgerRate(ctx context.Context, st *store.Store, eng *benchEngine, dir string, n int) (rate rowRate, err error) {
	srv, err := natsd.Start(natsd.Config{DataDir: dir, Sync: time.Second})
	if err != nil {
		return rate, err
	}
	defer srv.Stop()
	js, err := hopConn(srv, "bench")
	if err != nil {
		return rate, err
	}
	defer js.Conn().Close()
	var subjects wire.Subjects
	if err := topology.Ensure(ctx, js, topology.Config{Subjects: subjects, Replicas: 1}); err != nil {
		return rate, err
	}
	for _, t := range []store.Table{store.Attempts, store.Jobs} { // positions start again with each ledger
		if err := execute(ctx, st, "TRUNCATE TABLE "+string(t)); err != nil {
			return rate, err
		}
	}
	last, err := writeLedger(ctx, js, subjects, n)
	if err != nil {
		return rate, err
	}
	in, err := ingest.New(ingest.Config{JS: js, Subjects: subjects, Store: st, Instance: "bench", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return rate, err
	}
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }() // ends with stop
	rate, err = rated(eng, 2*n, func() error { return in.WaitFor(ctx, last) })
	stop()
	if e := <-done; err == nil {
		err = e
	}
	if got := in.Progress(); err == nil && (got.Attempts != uint64(n) || got.Jobs != uint64(n)) {
		err = fmt.Errorf("%d attempts and %d jobs were written, not %d", got.Attempts, got.Jobs, n)
	}
	return rate, err
}

func writeLedger(ctx context.Context, js jetstream.JetStream, subjects wire.Subjects, n int) (uint64, error) {
	body := Prompt(1024)
	for i := range n {
		rec := ingestRecord(i)
		h := rec.Encode()
		claim := nats.Header{wire.HeaderStatus: {string(wire.Running)}, wire.HeaderEntry: h[wire.HeaderEntry]}
		subject := subjects.Ledger(rec.Entry.Meta.Tenant, rec.Entry.Meta.ID)
		for _, m := range []*nats.Msg{{Subject: subject, Header: claim}, {Subject: subject, Header: h, Data: body}} {
			if _, err := js.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute)); err != nil {
				return 0, err
			}
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	s, err := js.Stream(ctx, subjects.Stream(wire.StreamLedger))
	if err != nil {
		return 0, err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return 0, err
	}
	if info.State.Msgs != 2*uint64(n) {
		return 0, fmt.Errorf("the ledger took %d records, not %d", info.State.Msgs, 2*n)
	}
	return info.State.LastSeq, nil
}

// bareTables are those of a bare insert, and what they are like.
var bareTables = map[string]store.Table{"bare_attempts": store.Attempts, "bare_jobs": store.Jobs}

// bareRate inserts the rows of n jobs and nothing else.
func bareRate(ctx context.Context, st *store.Store, eng *benchEngine, n int, projections bool) (rowRate, error) {
	for name, like := range bareTables {
		if err := createBare(ctx, st, name, like, projections); err != nil {
			return rowRate{}, err
		}
	}
	const batch = 10_000 // half of ingest.Config.MaxRows, which is for both tables
	attempts, jobs := make([]store.Attempt, n), make([]store.Job, n)
	now := time.Now()
	for i := range n {
		rec, seq := ingestRecord(i), uint64(i+1)
		attempts[i] = store.Attempt{Seq: seq, TS: now, Job: &rec.Entry.Meta, Attempt: rec.Entry.Attempt}
		jobs[i] = store.Job{Seq: seq, FinishedAt: now, Job: &rec.Entry.Meta, Status: rec.Status, Attempts: 1, Cost: rec.Entry.Attempt.Cost}
	}
	return rated(eng, 2*n, func() error {
		for from := 0; from < n; from += batch {
			to := min(from+batch, n)
			if err := st.InsertBare(ctx, "bare_attempts", "bare_jobs", attempts[from:to], jobs[from:to]); err != nil {
				return err
			}
		}
		return nil
	})
}

// createBare makes a table like one of ours, anew.
func createBare(ctx context.Context, st *store.Store, name string, like store.Table, projections bool) error {
	if err := execute(ctx, st, "DROP TABLE IF EXISTS "+name); err != nil {
		return err
	}
	if err := execute(ctx, st, fmt.Sprintf("CREATE TABLE %s AS %s", name, like)); err != nil || projections {
		return err
	}
	list, err := answer(ctx, st, "SELECT name FROM system.projections WHERE database = currentDatabase() AND table = '"+name+"'")
	for _, p := range list {
		if err == nil {
			err = execute(ctx, st, fmt.Sprintf("ALTER TABLE %s DROP PROJECTION %s", name, p[0]))
		}
	}
	return err
}

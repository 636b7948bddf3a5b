package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

func TestMain(m *testing.M) {
	ats.Register() // once, outside any bubble: without it the server's clock stands still in bubbles
	storetest.Main(m)
}

var subjects wire.Subjects

// ledgerServer is an embedded server with the ledger stream.
type ledgerServer struct {
	t  testing.TB
	js jetstream.JetStream
	nc *nats.Conn
	s  *server.Server
}

func startLedger(t testing.TB) *ledgerServer {
	t.Helper()
	l := &ledgerServer{t: t}
	dir := t.TempDir() // before Cleanup of the server: removed after it
	s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: dir, DontListen: true, NoSigs: true, NoLog: true})
	must(t, err)
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats-server is not ready")
	}
	l.s = s
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	l.nc, l.js = l.connect()
	l.createStream()
	return l
}

func (l *ledgerServer) connect() (*nats.Conn, jetstream.JetStream) {
	l.t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(l.s))
	must(l.t, err)
	l.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	must(l.t, err)
	return nc, js
}

func (l *ledgerServer) createStream() {
	_, err := l.js.CreateStream(l.t.Context(), jetstream.StreamConfig{
		Name: subjects.Stream(wire.StreamLedger), Subjects: []string{subjects.Records("*", "*")}, AllowDirect: true})
	must(l.t, err)
}

// job writes the records of one job: n attempts, each with its claim, all but
// the last failed.
func (l *ledgerServer) job(id string, n int) {
	l.t.Helper()
	meta := wire.Meta{ID: id, Tenant: "acme", Class: wire.Standard, Route: "chat", Endpoint: wire.ChatCompletions, SubmittedAt: time.Now().UnixNano()}
	var p wire.Progress
	for i := 1; i <= n; i++ {
		a := &wire.Attempt{N: i, Pool: "p", Provider: "simulated", Model: "m", Price: &wire.Price{Version: "t", Input: 1000, Output: 2000}}
		l.record(&wire.Record{Status: wire.Running, Entry: wire.Entry{Meta: meta, Progress: p, Attempt: a}})
		a.Status, a.LatencyMS = wire.Failed, 10
		rec := &wire.Record{Status: wire.Waiting, Reason: wire.ReasonRetry}
		if i == n {
			a.Status, rec.Status, rec.Reason = wire.Succeeded, wire.Succeeded, ""
			rec.Body = []byte("secret answer")
		}
		a.Settle(wire.Usage{Input: 10, Output: 5}, wire.UsageFromProvider)
		p.Add(a)
		rec.Entry = wire.Entry{Meta: meta, Progress: p, Attempt: a}
		l.record(rec)
	}
}

func (l *ledgerServer) record(rec *wire.Record) uint64 {
	l.t.Helper()
	h := rec.Encode()
	return l.raw(rec.Entry.Meta.ID, h, rec.Body)
}

func (l *ledgerServer) raw(id string, header map[string][]string, body []byte) uint64 {
	l.t.Helper()
	ack, err := l.js.PublishMsg(l.t.Context(), &nats.Msg{Subject: subjects.Records("acme", id), Header: header, Data: body})
	must(l.t, err)
	return ack.Sequence
}

// async publishes without waiting for the acknowledgement.
func (l *ledgerServer) async(id string, header map[string][]string, body []byte) {
	_, err := l.js.PublishMsgAsync(&nats.Msg{Subject: subjects.Records("acme", id), Header: header, Data: body})
	must(l.t, err)
}

func (l *ledgerServer) last() uint64 {
	l.t.Helper()
	s, err := l.js.Stream(l.t.Context(), subjects.Stream(wire.StreamLedger))
	must(l.t, err)
	return s.CachedInfo().State.LastSeq
}

// fakeStore is ClickHouse as package store promises it, with scripted faults.
type fakeStore struct {
	mu       sync.Mutex
	attempts []store.Attempt
	jobs     []store.Job
	scores   []store.Score
	texts    []store.Text
	said     int // inserts of texts, and orders to forget
	shorter  map[string]time.Duration
	inserts  [][2]uint64 // first and last seq of each insert that took effect
	calls    int
	clashes  int // inserts of rows that the table has

	// fault is asked before each insert.
	fault func(call int, t store.Table) fault
	down  bool
}

// fault is what happens to an insert.
type fault int

const (
	none      fault = iota
	refused         // it fails and has no effect
	ambiguous       // it takes effect, and then fails
	hangs           // it takes no effect, and lasts until its context ends
)

var errDown = errors.New("scripted: ClickHouse is away")

func (f *fakeStore) Migrate(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return errDown
	}
	return nil
}

func (f *fakeStore) MaxSeq(_ context.Context, t store.Table) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return 0, errDown
	}
	return f.maxSeq(t), nil
}

func (f *fakeStore) maxSeq(t store.Table) uint64 {
	if t == store.Attempts && len(f.attempts) > 0 {
		return f.attempts[len(f.attempts)-1].Seq
	}
	if t == store.Scores && len(f.scores) > 0 {
		return f.scores[len(f.scores)-1].Seq
	}
	if t == store.Jobs && len(f.jobs) > 0 {
		return f.jobs[len(f.jobs)-1].Seq
	}
	return 0
}

func (f *fakeStore) InsertAttempts(ctx context.Context, rows []store.Attempt) error {
	return f.insert(ctx, store.Attempts, rows[0].Seq, rows[len(rows)-1].Seq, func() { f.attempts = append(f.attempts, rows...) })
}

func (f *fakeStore) InsertJobs(ctx context.Context, rows []store.Job) error {
	return f.insert(ctx, store.Jobs, rows[0].Seq, rows[len(rows)-1].Seq, func() { f.jobs = append(f.jobs, rows...) })
}

func (f *fakeStore) InsertScores(_ context.Context, rows []store.Score) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return errDown
	}
	f.scores = append(f.scores, rows...)
	return nil
}

// InsertTexts takes all rows but those of attempts that it has, as the store does.
func (f *fakeStore) InsertTexts(ctx context.Context, rows []store.Text) (added int, err error) {
	return added, f.say(ctx, func() {
		for _, r := range rows {
			if !slices.ContainsFunc(f.texts, func(x store.Text) bool { return x.ID() == r.ID() }) {
				f.texts = append(f.texts, r)
				added++
			}
		}
	})
}

func (f *fakeStore) ForgetTexts(ctx context.Context, tenant, job string) error {
	return f.say(ctx, func() {
		f.texts = slices.DeleteFunc(f.texts, func(x store.Text) bool { return x.Tenant == tenant && (job == "" || x.Job == job) })
	})
}

func (f *fakeStore) ShortenTexts(_ context.Context, tenant string, keep time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shorter[tenant] = keep
	return nil
}

// say applies a change of texts, with the fault that is scripted for it.
func (f *fakeStore) say(ctx context.Context, apply func()) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	what, err := f.meet(ctx, &f.said, store.Texts)
	if err != nil {
		return err
	}
	apply()
	if what == ambiguous {
		return errDown
	}
	return nil
}

// meet counts a call, and has it meet what is planned for it. The lock is held.
func (f *fakeStore) meet(ctx context.Context, calls *int, t store.Table) (what fault, err error) {
	*calls++
	if f.down {
		return none, errDown
	}
	if f.fault != nil {
		what = f.fault(*calls, t)
	}
	switch what {
	case refused:
		return what, errDown
	case hangs:
		f.mu.Unlock()
		<-ctx.Done()
		f.mu.Lock()
		return what, ctx.Err()
	}
	return what, nil
}

func (f *fakeStore) insert(ctx context.Context, t store.Table, first, last uint64, apply func()) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	what, err := f.meet(ctx, &f.calls, t)
	if err != nil {
		return err
	}
	if at := f.maxSeq(t); at >= first {
		f.clashes++
		return fmt.Errorf("insert of %d into %s, which stands at %d: %w", first, t, at, store.ErrConflict)
	}
	apply()
	f.inserts = append(f.inserts, [2]uint64{first, last})
	if what == ambiguous {
		return errDown
	}
	return nil
}

func (f *fakeStore) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

// wantRows checks that the tables hold exactly these numbers of rows, each
// once and in order.
func (f *fakeStore) wantRows(t *testing.T, attempts, jobs int) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var a, j []uint64
	for _, r := range f.attempts {
		a = append(a, r.Seq)
	}
	for _, r := range f.jobs {
		j = append(j, r.Seq)
	}
	for name, seqs := range map[string][]uint64{"attempts": a, "jobs": j} {
		if !slices.IsSorted(seqs) || len(slices.Compact(slices.Clone(seqs))) != len(seqs) {
			t.Errorf("%s are not in order, or doubled: %v", name, seqs)
		}
	}
	if len(a) != attempts || len(j) != jobs {
		t.Errorf("got %d attempts and %d jobs, want %d and %d", len(a), len(j), attempts, jobs)
	}
}

// tail is one for the ingester to share.
func (l *ledgerServer) tail() *ledger.Tail {
	return ledger.NewTail(l.js, subjects, time.Minute, slog.New(slog.DiscardHandler))
}

// running is an ingester at work.
type running struct {
	*Ingester
	stop func() // and wait
}

func start(t testing.TB, cfg Config) *running {
	t.Helper()
	if cfg.Instance == "" {
		cfg.Instance = "one"
	}
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	ctx, cancel := context.WithCancel(context.Background())
	tailed := make(chan error, 1)
	if cfg.Tail == nil {
		tailed <- nil
	} else {
		go func() { tailed <- cfg.Tail.Run(ctx) }()
	}
	in, err := New(cfg)
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		<-tailed
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return &running{in, stop}
}

// caughtUp waits until everything in the ledger is written.
func (r *running) caughtUp(t testing.TB, l *ledgerServer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := r.WaitFor(ctx, l.last()); err != nil {
		t.Fatalf("not caught up with %d: %+v", l.last(), r.Progress())
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

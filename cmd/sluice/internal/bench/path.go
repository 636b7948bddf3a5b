package bench

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluicehq/sluice/analytics/engine"
	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/cmd/sluice/internal/app"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Prompt is a chat request of exactly size bytes.
func Prompt(size int) []byte {
	const head, tail = `{"model":"chat","max_tokens":16,"messages":[{"role":"user","content":"`, `"}]}`
	n := max(size-len(head)-len(tail), 1)
	words := strings.Repeat("word ", n/5+1)[:n]
	return []byte(head + words + tail)
}

// System is a whole Sluice in this process, with data in a folder of its own.
type System struct {
	App    *app.App
	Client *sdk.Client
	Store  *store.Store
	dir    string
	stop   context.CancelFunc
	ended  chan error
}

// poolsYAML is the bench's configuration; %s: pools and routes.
const systemYAML = `
nats: {embedded: {listen: "127.0.0.1:0", sync: 1s}}
clickhouse: {embedded: {enabled: %v, listen: "127.0.0.1:0", password: bench}}
http: {listen: "127.0.0.1:0"}
data_dir: %s
%s
`

// fastPools is one pool that answers at once.
const fastPools = `
pools:
  - {name: fast, adapter: simulated, concurrency: %d, models: {m: {price: {input: 1, output: 2}}}, simulated: {seed: 1}}
routes:
  - {model: chat, strategy: least_connections, candidates: [{pool: fast, model: m}]}
`

// Start runs everything with the given pools and routes and waits until it is
// ready, ClickHouse included if withEngine.
func Start(ctx context.Context, pools string, withEngine bool) (*System, error) {
	if withEngine {
		if _, err := engine.Find(); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "sluice.yaml")
	text := fmt.Sprintf(systemYAML, withEngine, filepath.Join(dir, "data"), pools)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	src := config.Sources{Path: path, Adapters: app.Adapters()}
	for _, s := range router.Strategies() {
		src.Strategies = append(src.Strategies, s.Name)
	}
	cfg, err := config.Load(src)
	if err != nil {
		return nil, err
	}
	s := &System{dir: dir, ended: make(chan error, 1)}
	ctx, s.stop = context.WithCancel(ctx)
	ready := make(chan *app.App, 1)
	roles := []app.Role{app.Router, app.Worker, app.Ingest}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	go func() {
		s.ended <- app.Run(ctx, cfg, app.Options{Roles: roles, Sources: src, Logger: log, Ready: func(a *app.App) { ready <- a }})
	}()
	select {
	case s.App = <-ready:
	case err := <-s.ended:
		s.stop()
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	nc, err := s.App.Connect("bench")
	if err == nil {
		s.Client, err = sdk.Dial(ctx, "", sdk.WithConn(nc), sdk.WithTenant("bench"))
	}
	if err == nil && withEngine {
		s.Store, err = awaitStore(ctx, s.App.DSN())
	}
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// awaitStore waits until ClickHouse answers and has all its tables.
func awaitStore(ctx context.Context, dsn string) (*store.Store, error) {
	st, err := store.Open(store.Config{DSN: dsn})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute) // of a machine that may be busy
	defer cancel()
	for {
		_, err := st.MaxSeq(ctx, store.Jobs)
		if err == nil {
			return st, st.Migrate(ctx) // whole, before anything is measured
		}
		if sleepErr := ledger.Pause(ctx, 50*time.Millisecond); sleepErr != nil {
			return nil, fmt.Errorf("ClickHouse does not come up: %w", err)
		}
	}
}

// Stop ends the system and removes its data.
func (s *System) Stop() error {
	if s.Client != nil {
		s.Client.Close()
	}
	if s.Store != nil {
		_ = s.Store.Close()
	}
	s.stop()
	err := <-s.ended
	return errors.Join(err, os.RemoveAll(s.dir))
}

// push submits n jobs and waits until all are rows.
func (s *System) push(ctx context.Context, n int) error {
	body := Prompt(1024)
	for h, err := range s.Client.SubmitMany(ctx, jobsOf(body, n)) {
		if err != nil {
			return fmt.Errorf("job %v: %w", h, err)
		}
	}
	return s.awaitRows(ctx, n)
}

// jobsOf is n jobs with the same body.
func jobsOf(body []byte, n int) iter.Seq[sdk.Job] {
	return func(yield func(sdk.Job) bool) {
		for range n {
			if !yield(sdk.Job{Class: wire.Standard, Body: body}) {
				return
			}
		}
	}
}

// awaitRows waits until the tables have n jobs, all succeeded. It asks the
// ingester, and ClickHouse only once: a count every few milliseconds would cost
// as much as the inserts.
func (s *System) awaitRows(ctx context.Context, n int) error {
	for s.App.Ingester().Progress().Jobs < uint64(n) {
		if err := ledger.Pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	got, err := s.count(ctx, "SELECT count() FROM jobs")
	if err != nil {
		return err
	}
	bad, err := s.count(ctx, "SELECT count() FROM jobs WHERE status != 'succeeded'")
	if err == nil && (bad > 0 || got != uint64(n)) {
		err = fmt.Errorf("%d jobs for %d, %d of them not succeeded", got, n, bad)
	}
	return err
}

// count runs a query with one number as its result.
func (s *System) count(ctx context.Context, sql string) (uint64, error) {
	rows, err := s.Store.Query(ctx, sql)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	var n uint64
	for rows.Next() {
		if _, err := fmt.Sscan(fmt.Sprint(rows.Values()[0]), &n); err != nil {
			return 0, err
		}
	}
	return n, rows.Err()
}

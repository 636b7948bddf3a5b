// Package path tests the whole path of a job, from publish to record, on the
// real embedded nats-server under fake time.
package path

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/budget"
	"github.com/sluicehq/sluice/broker/control"
	"github.com/sluicehq/sluice/broker/dispatch"
	"github.com/sluicehq/sluice/broker/natsd"
	"github.com/sluicehq/sluice/broker/natsd/natstest"
	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
	"github.com/sluicehq/sluice/workers/run"
	said "github.com/sluicehq/sluice/workers/text"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// pool is a pool of a rig; the route "chat" has all of them as candidates.
type pool struct {
	name        string
	concurrency int // default 4
	weight      int // default 1
	unpriced    bool
	price       *wire.Price // default testPrice
	provider    http.RoundTripper
	adapter     string        // default openai
	bundle      *run.Bundling // it takes jobs by its provider's batch API
	routes      []string      // further routes that have it as their candidate
	only        bool          // it is no candidate of chat
	labels      map[string]string
}

// setup describes a rig. Its zero value has everything a job needs but pools.
type setup struct {
	sync     time.Duration // of the file store, in fake time; default 1 s
	store    int64         // bytes of all streams; 0: no bound
	dir      string
	strategy string // default least_connections
	pools    []pool
	bare     bool          // neither dispatcher nor worker: the test adds them
	attempts int           // default 3
	ackWait  time.Duration // default 30 s
	tenants  []natsd.Tenant
	timeout  time.Duration           // of a call; default the engine's
	captures float64                 // share of the jobs
	budget   float64                 // of retries; default 0.25
	plan     *steer.Plan             // of the dispatchers and of explain
	held     int                     // jobs per class and queue in a dispatcher's memory; default 512
	webhooks bool                    // are called
	texts    map[string]*said.Policy // of tenants that keep what is said
	pins     bool                    // queues are pinned, as in a cluster
}

// rig is a broker in a bubble.
type rig struct {
	t     *testing.T
	setup setup
	srv   *natsd.Server
	nc    *nats.Conn
	js    jetstream.JetStream
	subj  wire.Subjects
	led   *ledger.Ledger
	table *router.Table
	log   *slog.Logger
	procs []*proc

	mu    sync.Mutex
	heard chan struct{} // closed and replaced at every record
}

// proc is a process of the broker, with a connection of its own.
type proc struct {
	gate   *gate
	nc     *nats.Conn
	cancel context.CancelFunc
	done   sync.WaitGroup
	runner *run.Runner
	texts  *said.Keeper // of a worker

	observer   *observe.Observer
	book       *budget.Book
	dispatcher *dispatch.Dispatcher
}

// testPrice is one dollar per million tokens in, two out: 1,000 and 2,000
// nano-dollars a token.
var testPrice = &wire.Price{Version: "test", Input: 1_000_000, Output: 2_000_000}

// bubble runs f under fake time with an empty data directory.
func bubble(t *testing.T, f func(t *testing.T, dir string)) {
	t.Helper()
	dir := t.TempDir()
	// nats.go keeps the timers of its flushes in a pool, which must not bring
	// one from another bubble: two collections empty it.
	runtime.GC()
	runtime.GC()
	synctest.Test(t, func(t *testing.T) { f(t, dir) })
}

// start runs a server and, unless it is bare, one process of each role. All
// ends with the test.
func start(t *testing.T, s setup) *rig {
	t.Helper()
	level := slog.LevelWarn
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	r := &rig{t: t, setup: s, heard: make(chan struct{}),
		log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))}
	var err error
	if r.srv, err = natsd.Start(natsd.Config{DataDir: s.dir, Sync: cmp.Or(s.sync, time.Second), Tenants: s.tenants, MaxStore: s.store}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.stop)
	r.table = newTable(t, s)
	if r.nc, err = r.srv.Connect("rig"); err != nil {
		t.Fatal(err)
	}
	if r.js, err = jetstream.New(r.nc); err != nil {
		t.Fatal(err)
	}
	if err := topology.Ensure(t.Context(), r.js, topology.Config{Subjects: r.subj, Pins: s.pins}.Share(s.store)); err != nil {
		t.Fatal(err)
	}
	r.led = ledger.New(r.js, r.subj)
	if _, err := r.nc.Subscribe(r.subj.Records("*", "*"), func(*nats.Msg) { r.hear() }); err != nil {
		t.Fatal(err)
	}
	p := r.proc("control")
	js := p.jetstream(t)
	c := control.New(control.Config{JS: js, Subjects: r.subj, Ledger: ledger.New(js, r.subj), Logger: r.log,
		Table: func() *router.Table { return r.table }, Plan: func() *steer.Plan { return s.plan }, Pools: func() []control.PoolInfo { return poolInfos(s) }})
	p.goRun(r, c.Run)
	if !s.bare {
		r.dispatcher("d1")
		r.worker("w1")
	}
	synctest.Wait() // all subscriptions are made
	return r
}

func poolInfos(s setup) []control.PoolInfo {
	var out []control.PoolInfo
	for _, p := range s.pools {
		out = append(out, control.PoolInfo{Name: p.name, Concurrency: max(p.concurrency, 1)})
	}
	return out
}

func newTable(t *testing.T, s setup) *router.Table {
	t.Helper()
	strategy := s.strategy
	if strategy == "" {
		strategy = "least_connections"
	}
	var pools []router.Pool
	routes := []router.RouteSpec{{Name: "chat", Strategy: strategy}}
	for i := range s.pools {
		p := &s.pools[i]
		if p.concurrency == 0 {
			p.concurrency = 4
		}
		pools = append(pools, router.Pool{Name: p.name, Provider: "test", Region: "eu", Concurrency: p.concurrency, Labels: p.labels, Bundles: p.bundle != nil})
		c := router.CandidateSpec{Pool: p.name, Model: "m-" + p.name, Weight: max(p.weight, 1), Price: testPrice, Priority: i}
		if p.price != nil {
			c.Price = p.price
		}
		if p.unpriced {
			c.Price = nil
		}
		names := append([]string{"chat"}, p.routes...)
		if p.only {
			names = p.routes
		}
		for _, name := range names {
			i := slices.IndexFunc(routes, func(r router.RouteSpec) bool { return r.Name == name })
			if i < 0 {
				i = len(routes)
				routes = append(routes, router.RouteSpec{Name: name, Strategy: strategy})
			}
			routes[i].Candidates = append(routes[i].Candidates, c)
		}
	}
	table, err := router.NewTable(pools, routes)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// proc makes a process without a role.
func (r *rig) proc(name string) *proc {
	r.t.Helper()
	p := &proc{gate: newGate()}
	var err error
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	if p.nc, err = r.srv.Connect(name, p.gate.option, quiet); err != nil {
		r.t.Fatal(err)
	}
	p.gate.onDeath = p.nc.Close
	r.procs = append(r.procs, p)
	return p
}

func (p *proc) jetstream(t *testing.T) jetstream.JetStream {
	js, err := jetstream.New(p.nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// goRun runs a part of the process until it is stopped.
func (p *proc) goRun(r *rig, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	before := p.cancel
	p.cancel = func() {
		cancel()
		if before != nil {
			before()
		}
	}
	p.done.Go(func() {
		if err := f(ctx); err != nil && !p.gate.isDead() {
			r.t.Errorf("a part of the broker failed: %v", err)
		}
	})
}

// stop ends the process in good order.
func (p *proc) stop() {
	if p.cancel != nil {
		p.cancel()
	}
	p.done.Wait()
	if p.nc.IsConnected() {
		_ = p.nc.FlushTimeout(time.Second) // as the binary does; a killed one says nothing more
	}
	p.nc.Close()
}

// dispatcher adds a process with the router role.
func (r *rig) dispatcher(name string) *proc {
	r.t.Helper()
	p := r.proc(name)
	js := p.jetstream(r.t)
	d := dispatch.New(dispatch.Config{JS: js, Subjects: r.subj, Ledger: ledger.New(js, r.subj), Logger: r.log.With("proc", name), Held: r.setup.held,
		NoWebhooks: !r.setup.webhooks}, r.table)
	d.SetPlan(r.setup.plan)
	p.dispatcher = d
	p.goRun(r, d.Run)
	return p
}

// worker adds a process with the worker role, which announces itself. Without
// names it serves every pool.
func (r *rig) worker(name string) *proc {
	r.t.Helper()
	p := r.proc(name)
	js := p.jetstream(r.t)
	var served []run.Pool
	for _, x := range r.setup.pools {
		e, err := engine.New(engine.Config{Pool: x.name, Adapter: cmp.Or(x.adapter, "openai"), Transport: x.provider})
		if err != nil {
			r.t.Fatal(err)
		}
		served = append(served, run.Pool{Name: x.name, Concurrency: x.concurrency, Endpoint: e, Bundle: x.bundle})
	}
	p.texts = said.NewKeeper(js, r.subj, r.log)
	p.texts.Set(r.setup.texts)
	w := run.New(run.Config{JS: js, Subjects: r.subj, Ledger: ledger.New(js, r.subj), Logger: r.log.With("proc", name), Texts: p.texts,
		Instance: name, Pools: served, AckWait: r.setup.ackWait, MaxAttempts: r.setup.attempts})
	p.runner = w
	p.goRun(r, func(ctx context.Context) error {
		return ledger.Announce(ctx, js, r.subj, func() ledger.Node { return ledger.Node{Instance: name} })
	})
	p.goRun(r, w.Run)
	return p
}

// stop ends everything; the bubble then checks that nothing leaked.
func (r *rig) stop() {
	for _, p := range r.procs {
		p.gate.thaw()
		p.stop()
	}
	r.procs = nil
	if r.nc != nil {
		r.nc.Close()
	}
	if r.srv != nil {
		r.srv.Stop()
		r.srv = nil
	}
}

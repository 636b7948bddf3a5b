package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/analytics/alert"
	"github.com/sluicehq/sluice/analytics/ingest"
	"github.com/sluicehq/sluice/broker/budget"
	"github.com/sluicehq/sluice/broker/control"
	"github.com/sluicehq/sluice/broker/dispatch"
	"github.com/sluicehq/sluice/broker/gateway"
	"github.com/sluicehq/sluice/broker/natsd"
	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/broker/reconcile"
	"github.com/sluicehq/sluice/broker/rollout"
	"github.com/sluicehq/sluice/broker/roster"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/internal/tracing"
	"github.com/sluicehq/sluice/sdk/lease"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/text"
	"golang.org/x/sync/errgroup"
)

// Role is a part that a process runs.
type Role string

// The roles of `sluice serve --role`.
const (
	Gateway Role = "gateway"
	Router  Role = "router"
	Worker  Role = "worker"
	Ingest  Role = "ingest"
)

// Roles lists every role.
func Roles() []Role { return []Role{Gateway, Router, Worker, Ingest} }

// Options are what the process decides beside the configuration.
type Options struct {
	Roles   []Role
	Sources config.Sources // read again while running
	Logger  *slog.Logger
	// Stderr takes what the embedded engine's process logs; default: where
	// this process's standard error goes.
	Stderr io.Writer
	// Ready is called once when jobs are taken. Analytics may come later.
	Ready func(*App)
}

// App is a running process.
type App struct {
	cfg      *config.Config
	opt      Options
	log      *slog.Logger
	instance string
	subjects wire.Subjects

	tracer     *tracing.Tracer // nil: off
	srv        *natsd.Server   // nil: external NATS
	conns      []*nats.Conn
	dispatcher *dispatch.Dispatcher
	engineAddr string       // where the embedded ClickHouse answers, "" if it is not
	tail       *ledger.Tail // read by router and ingester, where both are here; else nil
	echo       *ledger.Echo // what this process appends to the ledger
	observer   *observe.Observer
	book       *budget.Book // nil: not this role
	ingester   *ingest.Ingester
	alerts     *alert.Watcher              // nil: not this role, or no ClickHouse
	texts      atomic.Pointer[text.Keeper] // nil: not this role
	dsn        string
	roster     *roster.Roster
	added      atomic.Pointer[config.Added]

	httpAddr string // of the gateway's listener

	mu  sync.Mutex
	now *config.Config   // in force: cfg, or a later version of the file
	gw  *gateway.Gateway // nil: not this role, or not yet
}

// Run runs the roles until ctx ends, then stops in good order and returns
// nil. An error means that something could not start.
func Run(ctx context.Context, cfg *config.Config, opt Options) error {
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	a := &App{cfg: cfg, opt: opt, log: opt.Logger, subjects: wire.Subjects{Prefix: cfg.SubjectPrefix}, now: cfg, echo: ledger.NewEcho()}
	a.instance = a.newInstance()
	if a.embedded() || a.embeddedClickHouse() {
		unlock, err := lockDataDir(cfg.DataDir)
		if err != nil {
			return err
		}
		defer unlock() // I1
	}
	stop, err := a.startTracer(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := a.startNATS(); err != nil {
		return err
	}
	defer a.stopNATS()
	if a.srv != nil {
		keep, stop := context.WithCancel(context.WithoutCancel(ctx)) // the last ends are to be stored, too
		var kept sync.WaitGroup
		kept.Go(func() { a.srv.Keep(keep) })
		defer func() { stop(); kept.Wait() }()
	}
	return a.run(ctx)
}

// newInstance names this process, unlike any other or earlier one. The name
// says whether it belongs to the embedded server's own process (see recover).
func (a *App) newInstance() string {
	prefix := "node-"
	if a.embedded() {
		prefix = upPrefix
	}
	return prefix + strings.ReplaceAll(uuid.Must(uuid.NewV7()).String(), "-", "")
}

// upPrefix starts the instance names of processes that hold their own NATS.
const upPrefix = "up-"

func (a *App) embedded() bool           { return a.cfg.NATS.URL.Reveal() == "" }
func (a *App) has(r Role) bool          { return slices.Contains(a.opt.Roles, r) }
func (a *App) embeddedClickHouse() bool { return a.has(Ingest) && a.cfg.ClickHouse.Embedded.Enabled }

// NATSAddr is where NATS clients can connect; empty if only this process can.
func (a *App) NATSAddr() string {
	if a.srv == nil {
		return "the configured cluster"
	}
	return a.srv.Addr()
}

// run starts the parts in order and stops them in the opposite one.
func (a *App) run(ctx context.Context) error {
	js, err := a.connect("setup")
	if err != nil {
		return err
	}
	if err := topology.Ensure(ctx, js, a.topology()); err != nil {
		return fmt.Errorf("set up the streams: %w", err)
	}
	if a.embedded() {
		if err := a.recover(ctx, js); err != nil {
			return fmt.Errorf("take over from the last run: %w", err)
		}
	}
	if err := a.readRoster(ctx, js); err != nil {
		return err
	}
	// Later stages outlive ctx: the ingester writes what the workers end, and
	// the engine must still be there for it.
	engineCtx, stopEngine := context.WithCancel(context.WithoutCancel(ctx))
	ingestCtx, stopIngest := context.WithCancel(context.WithoutCancel(ctx))
	var engine, ing sync.WaitGroup
	defer func() { stopIngest(); ing.Wait(); stopEngine(); engine.Wait() }()

	if a.has(Ingest) {
		if err := a.startAnalytics(engineCtx, ingestCtx, &engine, &ing); err != nil {
			return err
		}
	}
	// Requests under way are still answered when a stop begins, so the
	// gateway stops before router and workers do.
	front, fctx := errgroup.WithContext(ctx)
	brokerCtx, stopBroker := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBroker()
	back, bctx := errgroup.WithContext(brokerCtx)
	if err := a.startBroker(bctx, back, js); err != nil {
		stopBroker()
		return errors.Join(err, back.Wait())
	}
	if a.tail != nil { // after those who hear of its past
		ing.Go(func() { _ = a.tail.Run(ingestCtx) }) // always nil
	}
	if a.has(Gateway) {
		gw, err := a.newGateway()
		if err != nil {
			stopBroker()
			return errors.Join(err, back.Wait())
		}
		front.Go(func() error { return gw.run(fctx) })
	}
	front.Go(func() error { // a part that fails ends the process
		select {
		case <-fctx.Done():
			return nil
		case <-bctx.Done():
			return errBroken
		}
	})
	if a.opt.Ready != nil {
		a.opt.Ready(a)
	}
	err = front.Wait()
	stopBroker()
	if berr := back.Wait(); berr != nil {
		return berr
	}
	return err
}

// errBroken stands in for the failed part's own error.
var errBroken = errors.New("a part of the broker failed")

// startBroker starts router, worker and reload in the group.
func (a *App) startBroker(ctx context.Context, g *errgroup.Group, js jetstream.JetStream) error {
	table, err := buildTable(a.cfg)
	if err != nil {
		return err
	}
	plan, err := buildPlan(a.cfg)
	if err != nil {
		return err
	}
	reload := []func(*config.Config) error{a.setTenants}
	if a.alerts != nil {
		reload = append(reload, func(cfg *config.Config) error { a.alerts.Set(alertRules(cfg)); return nil })
	}
	if a.has(Router) {
		djs, err := a.connect("router")
		if err != nil {
			return err
		}
		ojs, err := a.connect("observer")
		if err != nil {
			return err
		}
		a.observer = observe.New(observe.Config{JS: ojs, Subjects: a.subjects, Logger: a.log, Instance: a.instance + "-router", Tail: a.tail}, observed(a.cfg, table))
		a.observer.Tail().Hear(a.echo)
		g.Go(func() error { return a.observer.Run(ctx) })
		if err := a.newBook(); err != nil {
			return err
		}
		g.Go(func() error { return a.book.Run(ctx) })
		a.dispatcher = dispatch.New(dispatch.Config{JS: djs, Subjects: a.subjects, Ledger: ledger.New(djs, a.subjects).Tell(a.echo), Logger: a.log,
			Captures: a.cfg.Records.Captures, RetryBudget: a.cfg.Workers.RetryBudget, RetryMinimum: a.cfg.Workers.RetryMinimum,
			NoWebhooks: a.cfg.Webhooks.Secret.Reveal() == "", Budgets: a.book, Observer: a.observer, Tracer: a.tracer}, table)
		a.dispatcher.SetTiers(tiers(a.cfg))
		steered := &steering{plan: plan, to: a.dispatcher}
		rolls := rollout.New(rollout.Config{JS: ojs, Subjects: a.subjects, Logger: a.log, Tail: a.observer.Tail(), Apply: steered.share}, rolloutSpecs(a.cfg))
		g.Go(func() error { return rolls.Run(ctx) })
		g.Go(func() error { return a.dispatcher.Run(ctx) })
		c := control.New(control.Config{JS: js, Subjects: a.subjects, Ledger: ledger.New(js, a.subjects).Tell(a.echo), Logger: a.log,
			Table: a.dispatcher.Table, Plan: a.dispatcher.Plan, Tier: a.dispatcher.Tier, Pools: a.poolInfo, Observer: a.observer, Rollouts: rolls,
			Budgets: a.book, Alerts: func(ctx context.Context) ([]wire.Alert, error) { return alert.List(ctx, js, a.subjects) },
			Roster: a.roster, CheckPool: a.checkPool})
		g.Go(func() error { return c.Run(ctx) })
		bjs, err := a.connect("batches")
		if err != nil {
			return err
		}
		a.startBatches(ctx, g, bjs)
		if err := a.startWebhooks(ctx, g); err != nil {
			return err
		}
		rec := reconcile.New(reconcile.Config{JS: js, Subjects: a.subjects, Logger: a.log})
		g.Go(func() error { return rec.Run(ctx) })
		g.Go(func() error { return topology.KeepBlocks(ctx, js, a.subjects) })
		g.Go(func() error { return a.roster.Sweep(ctx) })
		reload = append(reload, func(cfg *config.Config) error {
			t, err := buildTable(cfg)
			if err != nil {
				return err
			}
			p, err := buildPlan(cfg)
			if err != nil {
				return err
			}
			a.observer.Set(observed(cfg, t))
			a.book.Set(budgets(cfg))
			a.dispatcher.SetTable(t)
			a.dispatcher.SetTiers(tiers(cfg))
			steered.set(p)
			rolls.Set(rolloutSpecs(cfg))
			return nil
		})
	}
	if a.has(Worker) {
		w, err := a.newWorkers(ctx)
		if err != nil {
			return err
		}
		g.Go(w.run)
		reload = append(reload, w.replace)
	}
	g.Go(func() error { return a.roster.Follow(ctx, a.setRoster) })
	g.Go(func() error { return a.watch(ctx, reload) })
	return nil
}

// watch applies a changed configuration file to the running parts.
func (a *App) watch(ctx context.Context, reload []func(*config.Config) error) error {
	config.Watch(ctx, a.opt.Sources, a.cfg, func(cfg *config.Config, err error) {
		if err != nil {
			a.log.Error("the changed configuration is not used", "path", a.cfg.Path, "err", err)
			return
		}
		if keys := config.NeedsRestart(a.cfg, cfg); len(keys) > 0 {
			a.log.Warn("some of what changed in the configuration applies from the next start on", "path", cfg.Path, "keys", keys)
		}
		for _, f := range reload {
			if err := f(cfg); err != nil {
				a.log.Error("the changed configuration is not used", "path", a.cfg.Path, "err", err)
				return
			}
		}
		a.mu.Lock()
		a.now = cfg
		a.mu.Unlock()
		a.log.Info("configuration changed", "path", cfg.Path)
	})
	return nil
}

// recover tells the streams that every process of an earlier run of this data
// folder is dead (I2): its presence and its leases are removed, and unless workers of other
// processes are connected, what it had taken from the queues is delivered
// again at once instead of after the ack wait.
func (a *App) recover(ctx context.Context, js jetstream.JetStream) error {
	dead := func(n ledger.Node) bool { return strings.HasPrefix(n.Instance, upPrefix) }
	if err := ledger.Forget(ctx, js, a.subjects, dead); err != nil {
		return err
	}
	if err := lease.Forget(ctx, js, a.subjects, func(instance string) bool { return strings.HasPrefix(instance, upPrefix) }); err != nil {
		return err
	}
	others, err := ledger.Nodes(ctx, js, a.subjects)
	if err != nil || len(others) > 0 {
		return err
	}
	return topology.ResetQueues(ctx, js, a.subjects)
}

// connect opens a connection of its own for one part.
func (a *App) connect(part string) (jetstream.JetStream, error) {
	var nc *nats.Conn
	var err error
	if a.srv != nil {
		nc, err = a.srv.Connect("sluice-" + part)
	} else {
		nc, err = nats.Connect(a.cfg.NATS.URL.Reveal(), nats.Name("sluice-"+part), nats.MaxReconnects(-1),
			nats.RetryOnFailedConnect(false), nats.ReconnectWait(500*time.Millisecond))
	}
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w; is it running, and is nats.url right?", a.cfg.NATS.URL, err)
	}
	a.conns = append(a.conns, nc)
	return jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(maxPending))
}

// maxPending is the most unacknowledged publishes of a part; each part bounds
// itself below that.
const maxPending = 16384

func (a *App) startNATS() error {
	if !a.embedded() {
		return nil
	}
	c := natsd.Config{DataDir: a.cfg.DataDir, Listen: a.cfg.NATS.Embedded.Listen, Sync: time.Duration(a.cfg.NATS.Embedded.Sync), MaxStore: a.cfg.NATS.Embedded.MaxStore,
		Subjects: a.subjects, Logger: a.log}
	c.Tenants = natsTenants(a.cfg)
	var err error
	a.srv, err = natsd.Start(c)
	return err
}

// lastWords is how long the server may take for what was said last before a
// connection is closed. What it has not read by then may be lost: acknowledgements,
// and jobs given back, whose queues would wait for their ack wait.
const lastWords = 2 * time.Second

func (a *App) stopNATS() {
	var all sync.WaitGroup
	for _, nc := range a.conns {
		all.Go(func() {
			if nc.IsConnected() {
				_ = nc.FlushTimeout(lastWords) // or they are lost, and come again
			}
			nc.Close()
		})
	}
	all.Wait()
	if a.srv != nil {
		a.srv.Stop()
	}
}

// lockName is the file in a data folder that its process holds.
const lockName = "sluice.lock"

var errInUse = errors.New("another sluice process uses this data folder: stop it, or give --data-dir another folder")

func lockPath(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("data folder: %w; set data_dir to a writable folder", err)
	}
	return filepath.Join(dir, lockName), nil
}

// Connect opens a connection to the process's NATS for a client of it.
func (a *App) Connect(name string) (*nats.Conn, error) {
	if a.srv != nil {
		return a.srv.Connect(name)
	}
	return nats.Connect(a.cfg.NATS.URL.Reveal(), nats.Name(name))
}

// Ingester is the ingester of this process, nil without that role or without
// ClickHouse.
func (a *App) Ingester() *ingest.Ingester { return a.ingester }

// DSN is the ClickHouse that this process writes to; empty if none.
func (a *App) DSN() string { return a.dsn }

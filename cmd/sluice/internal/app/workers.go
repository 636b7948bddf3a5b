package app

import (
	"context"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/workers/probe"
	"github.com/sluicehq/sluice/workers/run"
	"github.com/sluicehq/sluice/workers/text"
)

// workers is the worker role: a runner for the pools as configured. A changed
// configuration starts a new runner and lets the old one finish what it runs.
// Each is an instance of its own, so that claims tell them apart.
type workers struct {
	app     *App
	ctx     context.Context
	js      jetstream.JetStream
	started time.Time
	texts   *text.Keeper // of all runners

	mu      sync.Mutex
	retire  func()        // of the current runner
	pools   []config.Pool // of the current runner
	running sync.WaitGroup
	failed  chan error
}

func (a *App) newWorkers(ctx context.Context) (*workers, error) {
	js, err := a.connect("worker")
	if err != nil {
		return nil, err
	}
	w := &workers{app: a, ctx: ctx, js: js, started: time.Now(), failed: make(chan error, 1), texts: text.NewKeeper(js, a.subjects, a.log)}
	if err := w.keep(a.cfg); err != nil {
		return nil, err
	}
	a.texts.Store(w.texts)
	return w, w.start(a.cfg, a.instance)
}

// run waits for the end and for every runner to finish.
func (w *workers) run() error {
	var err error
	select {
	case <-w.ctx.Done():
	case err = <-w.failed:
	}
	w.running.Wait()
	return err
}

// keep has what is said be kept as configured.
func (w *workers) keep(cfg *config.Config) error {
	policies, err := textPolicies(cfg)
	if err == nil {
		w.texts.Set(policies)
	}
	return err
}

// replace puts a runner with the new configuration in the place of the
// current one, if the pools differ.
func (w *workers) replace(cfg *config.Config) error {
	if err := w.keep(cfg); err != nil {
		return err
	}
	w.mu.Lock()
	same := reflect.DeepEqual(w.pools, cfg.Pools)
	retire := w.retire
	w.mu.Unlock()
	if same {
		return nil
	}
	if err := w.start(cfg, w.app.newInstance()); err != nil {
		return err
	}
	retire()
	return nil
}

// start begins a runner.
func (w *workers) start(cfg *config.Config, instance string) error {
	var pools []run.Pool
	var frees []func()
	names := []string{}
	free := func() {
		for _, f := range frees {
			f()
		}
	}
	for i := range cfg.Pools {
		p := &cfg.Pools[i]
		e, f, err := buildEndpoint(p)
		if err != nil {
			free()
			return err
		}
		frees = append(frees, f)
		pool := run.Pool{Name: p.Name, Concurrency: p.Concurrency, Endpoint: e}
		if b := p.Batch; b != nil {
			pool.Bundle = &run.Bundling{MaxLines: b.MaxLines, Linger: b.Linger, Poll: b.Poll}
		}
		pools = append(pools, pool)
		names = append(names, p.Name)
	}
	r := run.New(run.Config{JS: w.js, Subjects: w.app.subjects, Ledger: ledger.New(w.js, w.app.subjects).Tell(w.app.echo), Logger: w.app.log,
		Instance: instance, Pools: pools, Tracer: w.app.tracer, Texts: w.texts, AckWait: cfg.Workers.AckWait, MaxAttempts: cfg.Workers.MaxAttempts,
		Backoff: cfg.Workers.RetryBackoff, Drain: cfg.Workers.Drain})
	ctx, retire := context.WithCancel(w.ctx)
	w.mu.Lock()
	w.retire, w.pools = func() { retire(); r.Retire() }, cfg.Pools
	w.mu.Unlock()
	host, _ := os.Hostname() // only for people
	node := ledger.Node{Instance: instance, Host: host, PID: os.Getpid(), Pools: names, Started: w.started.UTC().Format(time.RFC3339)}
	for _, role := range w.app.opt.Roles {
		node.Roles = append(node.Roles, string(role))
	}
	// The presence lasts until the runner is through: its claims are honoured
	// while it drains.
	present, leave := context.WithCancel(context.WithoutCancel(ctx))
	w.running.Go(func() {
		defer free()
		defer leave()
		defer retire()
		w.fail(r.Run(w.ctx))
	})
	w.running.Go(func() {
		w.fail(ledger.Announce(present, w.js, w.app.subjects, func() ledger.Node {
			if ctx.Err() != nil { // it takes no more jobs
				node.Pools = nil
			}
			return node
		}))
	})
	prober := probe.New(probe.Config{JS: w.js, Subjects: w.app.subjects, Logger: w.app.log, Instance: instance, Pools: probed(cfg, pools)})
	w.running.Go(func() { w.fail(prober.Run(ctx)) })
	for i := range cfg.Pools {
		if p := &cfg.Pools[i]; p.DiscoverModels {
			w.running.Go(func() { w.discover(ctx, p.Name, pools[i].Endpoint) })
		}
	}
	return nil
}

// probed are the pools that are to be probed.
func probed(cfg *config.Config, served []run.Pool) (out []probe.Pool) {
	for i := range cfg.Pools {
		p := &cfg.Pools[i]
		m := p.Models.Find(p.Probe.Model)
		if p.Probe.Interval <= 0 || p.Removing || m == nil {
			continue
		}
		out = append(out, probe.Pool{Name: p.Name, Endpoint: served[i].Endpoint, Interval: p.Probe.Interval, Timeout: p.Probe.Timeout,
			Model: m.Upstream, Price: priceOf(p, m)})
	}
	return out
}

// fail makes run return the error.
func (w *workers) fail(err error) {
	if err != nil {
		select {
		case w.failed <- err:
		default:
		}
	}
}

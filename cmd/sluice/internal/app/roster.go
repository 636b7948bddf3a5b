package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/roster"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/workers/engine"
)

// readRoster takes the pools into the configuration that were added while
// Sluice ran, before anything is made of it. From then on the configuration's
// watch sees what changes there.
func (a *App) readRoster(ctx context.Context, js jetstream.JetStream) error {
	a.roster = roster.New(js, a.subjects)
	var s roster.State
	err := topology.Persist(ctx, func(ctx context.Context) (err error) {
		s, err = a.roster.Read(ctx)
		return err
	})
	if err != nil {
		return err
	}
	a.setRoster(s)
	a.opt.Sources.Added = a.addedPools
	if len(s.Pools)+len(s.Models) == 0 {
		return nil
	}
	cfg, err := config.Load(a.opt.Sources)
	if err != nil {
		return fmt.Errorf("the configuration with the pools that were added: %w", err)
	}
	for _, w := range cfg.Warnings {
		if !slices.Contains(a.cfg.Warnings, w) {
			a.log.Warn(w)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cfg, a.now = cfg, cfg
	return nil
}

// setRoster keeps a state of the roster.
func (a *App) setRoster(s roster.State) {
	added := &config.Added{Models: s.Models}
	for _, p := range s.Pools {
		added.Pools = append(added.Pools, config.AddedPool{Name: p.Name, Text: p.Text, Removing: p.Removing})
	}
	a.added.Store(added)
}

// addedPools are the last ones that were seen.
func (a *App) addedPools() config.Added { return *a.added.Load() }

// checkPool checks a pool that is to be added, against the configuration.
func (a *App) checkPool(text string) (string, error) {
	_, name, err := a.opt.Sources.CheckAdded(text)
	return name, err
}

// discoverEvery is how often a provider is asked for its models, discoverAgain
// how soon after a failure.
const (
	discoverEvery = 5 * time.Minute
	discoverAgain = 30 * time.Second
)

// discover keeps the roster's list of the models of a pool's provider until
// ctx ends.
func (w *workers) discover(ctx context.Context, pool string, e *engine.Endpoint) {
	for wait := time.Duration(0); ledger.Pause(ctx, wait) == nil; {
		wait = discoverAgain
		models, err := e.Models(ctx)
		if err == nil && !slices.Equal(models, w.app.addedPools().Models[pool]) {
			if err = w.app.roster.SetModels(ctx, pool, models); err == nil {
				w.app.log.Info("models found", "pool", pool, "models", len(models))
			}
		}
		if err == nil {
			wait = discoverEvery
		} else if ctx.Err() == nil {
			w.app.log.Warn("models not found; those that are known stay", "pool", pool, "err", err)
		}
	}
}

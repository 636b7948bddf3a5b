package app

import (
	"fmt"
	"maps"
	"net/http"

	"github.com/sluicehq/sluice/broker/control"
	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/adapter"
	"github.com/sluicehq/sluice/workers/engine"
	"github.com/sluicehq/sluice/workers/price"
	"github.com/sluicehq/sluice/workers/simulated"
)

// priceOf is what a pool's model costs: the configured price, else the price
// table's, else unknown; less what the provider's batch API takes off.
func priceOf(p *config.Pool, m *config.Model) *wire.Price {
	pr := listPrice(p, m)
	if pr == nil || p.Batch == nil {
		return pr
	}
	off := pr.Less(p.Batch.Discount)
	return &off
}

// listPrice is what a call costs.
func listPrice(p *config.Pool, m *config.Model) *wire.Price {
	if m.Price != nil {
		return m.Price
	}
	if pr, ok := price.Lookup(p.Provider, m.Upstream); ok {
		return &pr
	}
	return nil
}

// Prices gives what a pool's upstream model costs under a configuration, nil
// if that is not known.
func Prices(cfg *config.Config) func(pool, model string) *wire.Price {
	return func(pool, model string) *wire.Price {
		p := cfg.Pool(pool)
		if p == nil {
			return nil
		}
		for i := range p.Models {
			if p.Models[i].Upstream == model {
				return priceOf(p, &p.Models[i])
			}
		}
		return nil
	}
}

// routingLabels are a pool's labels, and its tier, region and provider as
// labels of these names where it has no others of them: routes and rules can
// ask for them.
func routingLabels(p *config.Pool) map[string]string {
	out := map[string]string{}
	for name, v := range map[string]string{"tier": p.Tier, "region": p.Region, "provider": p.Provider} {
		if v != "" {
			out[name] = v
		}
	}
	maps.Copy(out, p.Labels)
	return out
}

// buildTable makes the router's table from the configuration.
func buildTable(cfg *config.Config) (*router.Table, error) {
	var pools []router.Pool
	for i := range cfg.Pools {
		p := &cfg.Pools[i]
		pools = append(pools, router.Pool{Name: p.Name, Provider: p.Provider, Region: p.Region, Tier: p.Tier, Labels: routingLabels(p),
			Weight: p.Weight, Concurrency: p.Concurrency, Capabilities: capabilities(p.Capabilities),
			Tenants: p.Tenants, TenantTiers: p.TenantTiers, Endpoints: adapter.Endpoints(p.Adapter), Draining: p.Removing,
			Bundles: p.Batch != nil})
	}
	var routes []router.RouteSpec
	schedules := zones{}
	list := cfg.Versions()
	for _, r := range cfg.Routes {
		list = append(list, config.Version{Route: r})
	}
	for _, r := range list {
		spec := router.RouteSpec{Name: r.Model, Of: r.Of, Strategy: r.Strategy, Params: params(&r.Params)}
		spec.Require = labels(r.Require)
		for _, c := range r.Candidates {
			p := cfg.Pool(c.Pool)
			if p == nil {
				return nil, fmt.Errorf("route %q: no pool is called %q", r.Model, c.Pool)
			}
			m := p.Models.Find(c.Model)
			if m == nil {
				return nil, fmt.Errorf("route %q: pool %s offers no model %q", r.Model, c.Pool, c.Model)
			}
			spec.Candidates = append(spec.Candidates, router.CandidateSpec{Pool: c.Pool, Model: m.Upstream, Weight: c.Weight, Price: priceOf(p, m),
				Priority: c.Priority, Quality: c.Quality, Context: c.Context, MaxOutput: c.MaxOutput,
				Capabilities: capabilities(c.Capabilities), Schedule: schedules.of(&c.Schedule)})
		}
		routes = append(routes, spec)
	}
	return router.NewTable(pools, routes)
}

// observed is what the observer is to observe.
func observed(cfg *config.Config, t *router.Table) observe.Setup {
	s := observe.Setup{Table: t, Limits: map[string]observe.Limits{}}
	for i := range cfg.Pools {
		p := &cfg.Pools[i]
		s.Limits[p.Name] = observe.Limits{Requests: p.Limits.RPM, Tokens: p.Limits.TPM}
	}
	return s
}

// tiers are the tenants' tiers.
func tiers(cfg *config.Config) map[string]string {
	out := map[string]string{}
	for _, t := range cfg.Tenants {
		if t.Tier != "" {
			out[t.Name] = t.Tier
		}
	}
	return out
}

// buildEndpoint makes a pool's connection to its provider. The closer frees
// what belongs to it.
func buildEndpoint(p *config.Pool) (*engine.Endpoint, func(), error) {
	ec := engine.Config{Pool: p.Name, Adapter: p.Adapter, BaseURL: p.BaseURL, APIKey: p.APIKey.Reveal(), Region: p.Region,
		Timeout: p.Timeout, IdleTimeout: p.IdleTimeout, Models: map[string]engine.Model{}}
	for _, m := range p.Models {
		ec.Models[m.Name] = engine.Model{Upstream: m.Upstream}
	}
	free := func() {}
	if p.Adapter == simulatedAdapter { // a provider without a network
		t, closeBooks, err := buildSimulated(p)
		if err != nil {
			return nil, nil, err
		}
		ec.Transport, free = t, closeBooks
	}
	e, err := engine.New(ec)
	if err != nil {
		free()
		return nil, nil, err
	}
	return e, func() { e.Close(); free() }, nil
}

func buildSimulated(p *config.Pool) (http.RoundTripper, func(), error) {
	s := p.Simulated
	sc := simulated.Config{Seed: s.Seed, TimeToFirstToken: s.TTFT, TokensPerSecond: s.TokensPerSecond, ErrorShare: s.ErrorShare,
		MinTokens: int(s.OutputTokens.Min), MaxTokens: int(s.OutputTokens.Max), Fill: s.Fill, Prices: map[string]wire.Price{}}
	for _, f := range s.Errors {
		sc.Faults = append(sc.Faults, simulated.Fault(f))
	}
	for i := range p.Models {
		m := &p.Models[i]
		sc.Models = append(sc.Models, m.Upstream)
		if pr := listPrice(p, m); pr != nil { // its books take half of it for batches
			sc.Prices[m.Upstream] = *pr
		}
	}
	free := func() {}
	if s.Books != "" {
		b, err := simulated.OpenBooks(s.Books)
		if err != nil {
			return nil, nil, fmt.Errorf("pool %s: %w", p.Name, err)
		}
		sc.Books = b
		free = func() { _ = b.Close() } // every line was written when it was booked
	}
	t, err := simulated.New(sc)
	if err != nil {
		free()
		return nil, nil, fmt.Errorf("pool %s: %w", p.Name, err)
	}
	return t, free, nil
}

// poolInfo is what administrators see of the pools' configuration.
func (a *App) poolInfo() []control.PoolInfo {
	pools := a.current().Pools
	out := make([]control.PoolInfo, len(pools))
	for i := range pools {
		p := &pools[i]
		out[i] = control.PoolInfo{Name: p.Name, Adapter: p.Adapter, Provider: p.Provider, Region: p.Region, Tier: p.Tier,
			Weight: p.Weight, Concurrency: p.Concurrency, Models: []control.ModelInfo{}, Added: p.Added, Removing: p.Removing, Draining: p.Removing}
		for j := range p.Models {
			m := &p.Models[j]
			out[i].Models = append(out[i].Models, control.ModelInfo{Name: m.Name, Upstream: m.Upstream, Priced: priceOf(p, m) != nil})
		}
	}
	return out
}

// Adapters are the names that a pool's adapter may have.
func Adapters() []string { return adapter.Names() }

const simulatedAdapter = "simulated"

package config

import (
	"fmt"
	"regexp"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Bounds of the lists.
const (
	MaxPools  = 1_000 // and of candidates of a route
	MaxRoutes = 10_000
	MaxRules  = 1_000
	MaxKeys   = 100 // of a tenant, beside its own

	MaxFallback = 16 // steps of a route's chain
)

// Defaults that other parts of the configuration refer to.
const (
	DefaultStrategy = "least_connections"
	DefaultRoute    = "chat" // the route over the simulated pools
	DefaultWeight   = 1

	AdapterOpenAI    = "openai"
	adapterAnthropic = "anthropic"
	adapterGemini    = "gemini"
	adapterBedrock   = "bedrock"
	AdapterSimulated = "simulated"
)

// base is the configuration that a source may change: everything but pools
// and routes.
func base() *Config {
	return &Config{
		SubjectPrefix: wire.DefaultPrefix,
		NATS:          NATS{Embedded: EmbeddedNATS{Listen: "127.0.0.1:4222", Sync: Sync(time.Second)}, Replicas: 1},
		ClickHouse: ClickHouse{Embedded: EmbeddedClickHouse{
			Enabled: true, Listen: "127.0.0.1:8123", Password: Secret{source: passwordVariable},
		}, Cluster: Cluster{Replicated: true, Distributed: true}},
		HTTP:     HTTP{Listen: "127.0.0.1:8080", MaxBody: wire.MaxBody, MaxInFlight: 16384, Timeout: 10 * time.Minute},
		DataDir:  "./sluice-data",
		Webhooks: Webhooks{Timeout: 15 * time.Second, RetryFor: 24 * time.Hour},
		Records:  Records{Retention: 24 * time.Hour, Captures: 1},
		Workers: Workers{AckWait: 30 * time.Second, MaxAttempts: 3, RetryBackoff: 500 * time.Millisecond,
			RetryBudget: 0.25, RetryMinimum: 60, Drain: 30 * time.Second},
		Holds:     Holds{MaxTokens: 4096, MediaTokens: 65536},
		Analytics: Analytics{FlushInterval: 500 * time.Millisecond},
		Alerts: Alerts{Every: time.Minute, Window: 10 * time.Minute, Baseline: 24 * time.Hour, RaiseAfter: 2, ClearAfter: 5, Samples: 50,
			ErrorRate: 0.1, LatencyShift: 0.5, CostShift: 0.5, ShareShift: 0.1, BudgetBurn: 4, Unpriced: true},
	}
}

// passwordVariable is where the engine's password comes from by default. As
// the one exception among secrets, it may be unset: the contract's example
// names it, and without it a password is generated.
const passwordVariable = "env:SLUICE_CLICKHOUSE_PASSWORD"

func (p *Pool) setDefaults() {
	p.Adapter, p.Weight, p.Concurrency = AdapterOpenAI, DefaultWeight, 16
	p.Timeout, p.IdleTimeout = 10*time.Minute, time.Minute
}

func (s *Simulated) setDefaults() {
	s.Seed, s.RetryAfter, s.OutputTokens = 1, time.Second, TokenRange{Min: 16, Max: 64}
}

func (b *ProviderBatch) setDefaults() {
	b.Discount, b.MaxLines, b.Linger, b.Poll = 50, 10_000, 10*time.Second, 30*time.Second
}

// batchConcurrency is the default of pools with a batch API.
const batchConcurrency = 1024

func (b *Budget) setDefaults() {
	b.Window, b.OnExceeded, b.UnknownPrice, b.UnknownCost = "day", "wait", "refuse", "worst"
}

// complete fills in what depends on other values: pools and routes that are
// not given, and the defaults of those that are.
func (d *decoder) complete(c *Config, src Sources, added Added) {
	c.Pools = bounded(d, "pools", c.Pools, MaxPools)
	c.Routes = bounded(d, "routes", c.Routes, MaxRoutes)
	c.Rules = bounded(d, "rules", c.Rules, MaxRules)
	for i := range c.Tenants {
		c.Tenants[i].Keys = bounded(d, at("tenants", i)+".keys", c.Tenants[i].Keys, MaxKeys)
	}
	for i := range c.Routes {
		r := &c.Routes[i]
		r.Candidates = bounded(d, at("routes", i)+".candidates", r.Candidates, MaxPools)
		r.Fallback = bounded(d, at("routes", i)+".fallback", r.Fallback, MaxFallback)
	}
	if !d.given("pools") {
		c.Pools = append(simulatedPools(), providerPools(src)...)
	}
	d.addPools(c, added.Pools)
	for i := range c.Pools {
		p := &c.Pools[i]
		p.complete(src.ProviderOf)
		if p.Batch != nil && !d.given(at("pools", i)+".concurrency") {
			p.Concurrency = batchConcurrency
		}
	}
	d.offer(c, added.Models)
	if !d.given("routes") {
		c.Routes = derivedRoutes(c.Pools, !d.given("pools"))
	}
	d.join(c)
	pools := make(map[string]*Pool, len(c.Pools))
	for i := range c.Pools {
		pools[c.Pools[i].Name] = &c.Pools[i]
	}
	for i := range c.Routes {
		d.completeRoute(pools, &c.Routes[i], at("routes", i))
	}
	d.completeVersions(c, pools)
	if !c.ClickHouse.DSN.IsZero() && !d.given("clickhouse.embedded.enabled") {
		c.ClickHouse.Embedded.Enabled = false
	}
}

// bounded reports a list that is too long, and cuts it.
func bounded[T any](d *decoder, key string, list []T, most int) []T {
	if len(list) <= most {
		return list
	}
	d.fault(d.at[key], key, "", fmt.Sprintf("has %d elements, more than %d", len(list), most))
	return list[:most]
}

// given reports whether a source named the key.
func (d *decoder) given(key string) bool {
	_, ok := d.at[key]
	return ok
}

// baseURLs are the addresses of the adapters' own providers. Bedrock has one
// in each region.
var baseURLs = map[string]string{
	AdapterOpenAI:    "https://api.openai.com/v1",
	adapterAnthropic: "https://api.anthropic.com/v1",
	adapterGemini:    "https://generativelanguage.googleapis.com/v1beta",
}

// awsRegion is the form of AWS's names of regions.
var awsRegion = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)

func (p *Pool) complete(known func(string) string) {
	switch p.Adapter {
	case AdapterSimulated:
		if p.Simulated == nil {
			p.Simulated = &Simulated{}
			p.Simulated.setDefaults()
		}
	case adapterBedrock:
		if p.BaseURL == "" && awsRegion.MatchString(p.Region) {
			p.BaseURL = "https://bedrock-runtime." + p.Region + ".amazonaws.com"
		}
	default:
		if p.BaseURL == "" {
			p.BaseURL = baseURLs[p.Adapter]
		}
	}
	if p.Probe != (Probe{}) {
		p.Probe.complete(p.Models)
	}
	if p.Provider == "" {
		p.Provider = providerOf(p.Adapter, p.BaseURL, known)
	}
}

func (p *Probe) complete(models Models) {
	if p.Timeout == 0 {
		p.Timeout = 10 * time.Second
	}
	if p.Model == "" && len(models) > 0 {
		p.Model = models[0].Name
	}
}

func (d *decoder) completeRoute(pools map[string]*Pool, r *Route, key string) {
	if r.Strategy == "" {
		r.Strategy = DefaultStrategy
	}
	d.completeCandidates(pools, r.Candidates, r.Model, key)
}

func (d *decoder) completeCandidates(pools map[string]*Pool, list []Candidate, route, key string) {
	for i := range list {
		cand := &list[i]
		pool := pools[cand.Pool]
		if pool == nil {
			continue
		}
		if cand.Model == "" {
			cand.Model = pool.defaultModel(route)
		}
		if d.given(key+".candidates") && !d.given(at(key+".candidates", i)+".weight") {
			cand.Weight = pool.Weight
		}
	}
}

// defaultModel is the model meant by a candidate that names none.
func (p *Pool) defaultModel(route string) string {
	if len(p.Models) == 1 {
		return p.Models[0].Name
	}
	if p.Models.Find(route) != nil {
		return route
	}
	return ""
}

// derivedRoutes are the routes of a configuration without any: one for each
// model name that is offered, over all pools that offer it; and where the
// pools are the default ones too, chat over the simulated ones instead.
func derivedRoutes(pools []Pool, defaultPools bool) []Route {
	var routes []Route
	index := make(map[string]int)
	add := func(name, pool, model string, weight int) {
		i, ok := index[name]
		if !ok {
			i = len(routes)
			index[name] = i
			routes = append(routes, Route{Model: name})
		}
		routes[i].Candidates = append(routes[i].Candidates, Candidate{Pool: pool, Model: model, Weight: weight})
	}
	for _, p := range pools {
		for _, m := range p.Models {
			if defaultPools && p.Adapter == AdapterSimulated {
				add(DefaultRoute, p.Name, m.Name, p.Weight)
			} else {
				add(m.Name, p.Name, m.Name, p.Weight)
			}
		}
	}
	return routes
}

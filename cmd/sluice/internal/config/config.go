package config

import (
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Config is the whole configuration, as Load returns it: complete, checked,
// and not to be changed.
type Config struct {
	SubjectPrefix string       `yaml:"subject_prefix"` // first tokens of every NATS subject; default "sluice"
	NATS          NATS         `yaml:"nats"`
	ClickHouse    ClickHouse   `yaml:"clickhouse"`
	HTTP          HTTP         `yaml:"http"`
	DataDir       string       `yaml:"data_dir"` // everything on disk lies below; default "./sluice-data"
	Webhooks      Webhooks     `yaml:"webhooks"`
	Records       Records      `yaml:"records"`
	Workers       Workers      `yaml:"workers"`
	Analytics     Analytics    `yaml:"analytics"`
	Alerts        Alerts       `yaml:"alerts"`
	Pools         []Pool       `yaml:"pools"`           // up to MaxPools
	Routes        []Route      `yaml:"routes"`          // up to MaxRoutes
	Rules         []Rule       `yaml:"rules,omitempty"` // up to MaxRules
	Experiments   []Experiment `yaml:"experiments,omitempty"`
	Rollouts      []Rollout    `yaml:"rollouts,omitempty"`
	Shadows       []Shadow     `yaml:"shadows,omitempty"`
	Budgets       []Budget     `yaml:"budgets,omitempty"`
	Holds         Holds        `yaml:"holds"`
	Tenants       []Tenant     `yaml:"tenants,omitempty"` // none: loopback only, any tenant name, no key

	// Path is the file that was read; empty without one.
	Path string `yaml:"-"`
	// Warnings are for people, one sentence each. They hold no secrets.
	Warnings []string `yaml:"-"`
}

// NATS says which NATS to use: an external one, or the embedded server.
type NATS struct {
	URL      URL          `yaml:"url,omitempty"` // external cluster, comma separated; empty: embedded
	Embedded EmbeddedNATS `yaml:"embedded"`
	// Replicas of every stream and bucket: 1, 3 or 5; default 1. More than 1
	// needs an external cluster of at least so many servers.
	Replicas int `yaml:"replicas"`
}

// EmbeddedNATS is the server inside the process; it counts only without a
// URL.
type EmbeddedNATS struct {
	Listen string `yaml:"listen"` // host:port for clients; port 0: a free one; default 127.0.0.1:4222
	Sync   Sync   `yaml:"sync"`   // how often the file store syncs: a duration or "always"; default 1s
	// MaxStore bounds the bytes of all streams: 256 MiB or more; half of it may
	// be queued jobs. Default 0: what the streams have, and three quarters of
	// what is free on the disk.
	MaxStore int64 `yaml:"max_store,omitempty"`
}

// ClickHouse says which ClickHouse to use: an external one, or the embedded
// engine.
type ClickHouse struct {
	DSN      URL                `yaml:"dsn,omitempty"` // clickhouse://… or http(s)://…; empty: embedded
	Embedded EmbeddedClickHouse `yaml:"embedded"`
	TTL      TTL                `yaml:"ttl,omitempty"`
	Storage  Storage            `yaml:"storage,omitempty"`
	Cluster  Cluster            `yaml:"cluster"`
}

// EmbeddedClickHouse is the engine that Sluice runs as a child process.
type EmbeddedClickHouse struct {
	Enabled  bool   `yaml:"enabled"`            // default true; always false with a DSN
	Listen   string `yaml:"listen"`             // host:port of its HTTP port; default 127.0.0.1:8123
	Password Secret `yaml:"password,omitempty"` // of user default; unset: generated into <data_dir>/clickhouse.password
}

// HTTP is the gateway.
type HTTP struct {
	Listen      string        `yaml:"listen"`              // host:port; default 127.0.0.1:8080
	AdminKey    Secret        `yaml:"admin_key,omitempty"` // opens every tenant's things on the dashboard and below /admin/v1; unset: nobody needs one, if tenants need none
	TLS         TLS           `yaml:"tls,omitempty"`       // none: plain HTTP
	Origins     []string      `yaml:"origins,omitempty"`   // of web pages that may use it from a browser; default none
	MaxBody     int64         `yaml:"max_body"`            // bytes of a request's body; 1 KiB to wire.MaxBody, the default
	MaxInFlight int           `yaml:"max_in_flight"`       // requests for an answer at a time; 1 to 1,000,000; default 16384
	Timeout     time.Duration `yaml:"timeout"`             // of a job whose client waits and names no deadline; 0: none; up to 24h; default 10m
}

// TLS names the files of a certificate, which are read again when they change.
type TLS struct {
	Cert string `yaml:"cert,omitempty"` // PEM, with the chain
	Key  string `yaml:"key,omitempty"`  // PEM
}

// Webhooks are calls that tell how jobs ended. Without a secret there are none.
type Webhooks struct {
	Secret       Secret        `yaml:"secret,omitempty"` // each tenant's own is derived from it; at least 16 bytes
	AllowPrivate bool          `yaml:"allow_private"`    // whether jobs may name private addresses; default false
	Timeout      time.Duration `yaml:"timeout"`          // of one call; 1s to 1m; default 15s
	RetryFor     time.Duration `yaml:"retry_for"`        // how long a call is tried again; 1m to 168h; default 24h
}

// Records says how long results live.
type Records struct {
	Retention time.Duration `yaml:"retention"` // of results and job IDs; at least twice workers.ack_wait; default 24h
	Captures  float64       `yaml:"captures"`  // share of the jobs whose decisions can be replayed; 0 to 1; default 1
}

// Workers are the bounds of running a job.
type Workers struct {
	AckWait      time.Duration `yaml:"ack_wait"`      // a worker silent for longer is dead; 1s to 1h; default 30s
	MaxAttempts  int           `yaml:"max_attempts"`  // of a job before it is a dead letter; 1 to 100; default 3
	RetryBackoff time.Duration `yaml:"retry_backoff"` // before the second attempt, doubling; up to 1h; default 500ms
	RetryBudget  float64       `yaml:"retry_budget"`  // retries of a route as a share of its first attempts; above 0 to 10; default 0.25
	RetryMinimum int           `yaml:"retry_minimum"` // retries of a route that a minute always allows, to 1,000,000; default 60, and never less than 15 for each slot of its pools
	Drain        time.Duration `yaml:"drain"`         // how long running attempts may go on at stop; up to 24h; default 30s
}

// Analytics is the ingester.
type Analytics struct {
	FlushInterval time.Duration `yaml:"flush_interval"` // longest time that a row waits for company; up to 1h; default 500ms
}

// Pool is one provider endpoint with its key, models, prices and limits.
type Pool struct {
	Name        string            `yaml:"name"`               // [A-Za-z0-9_-]{1,64}, unique
	Adapter     string            `yaml:"adapter"`            // one of [Sources].Adapters; default "openai"
	Provider    string            `yaml:"provider"`           // whose prices count; default: by base_url (the host, or "local"), or the adapter
	BaseURL     string            `yaml:"base_url,omitempty"` // http(s), no query; default: where the adapter's own provider is, so https://api.openai.com/v1
	APIKey      Secret            `yaml:"api_key,omitempty"`
	Models      Models            `yaml:"models"`      // offered names, in the order of the file
	Weight      int               `yaml:"weight"`      // 0 to 1,000,000; default 1; a candidate's own weight goes before
	Concurrency int               `yaml:"concurrency"` // calls at once over all workers; 1 to 100,000; default 16, or with batch, where it is jobs on their way into bundles, 1024
	Limits      Limits            `yaml:"limits,omitempty"`
	Region      string            `yaml:"region,omitempty"`
	Tier        string            `yaml:"tier,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	// Capabilities of its models: some of [Capabilities]; none: not known, all.
	Capabilities []string `yaml:"capabilities,omitempty"`
	// Batch has it take jobs by its provider's own batch API, and those only that
	// are placed there; nil: each job is a call.
	Batch *ProviderBatch `yaml:"batch,omitempty"`
	// Tenants that may use it, and the tiers of tenants that may; none: all.
	Tenants     []string `yaml:"tenants,omitempty"`
	TenantTiers []string `yaml:"tenant_tiers,omitempty"`
	// Routes that it is a candidate of, beside those that name it. One that is
	// not there is made.
	Routes []string `yaml:"routes,omitempty"`
	// DiscoverModels asks its provider for further models, by /v1/models.
	DiscoverModels bool `yaml:"discover_models,omitempty"`
	// Probe asks it for a few tokens now and then, whether there are jobs or not.
	Probe       Probe         `yaml:"probe,omitempty"`
	Timeout     time.Duration `yaml:"timeout"`             // of one whole call; up to 24h; default 10m
	IdleTimeout time.Duration `yaml:"idle_timeout"`        // between two pieces of a stream; up to 24h; default 1m
	Simulated   *Simulated    `yaml:"simulated,omitempty"` // with adapter simulated only; then never nil
	// Added says that it is in no file but was added while running, Removing
	// that it takes no more jobs and goes when it is idle.
	Added    bool `yaml:"-"`
	Removing bool `yaml:"-"`
}

// ProviderBatch says how jobs go to a provider's own batch API.
type ProviderBatch struct {
	Discount int           `yaml:"discount"`  // percent of every price that it is cheaper by; 0 to 99; default 50
	MaxLines int           `yaml:"max_lines"` // jobs that go together; 1 to 100,000 (openai: 50,000); default 10,000
	Linger   time.Duration `yaml:"linger"`    // how long jobs wait for company; 10ms to 1h; default 10s
	Poll     time.Duration `yaml:"poll"`      // between two questions how a batch does; 100ms to 1h; default 30s
}

// Probe says how a pool is probed: not at all without an interval.
type Probe struct {
	Interval time.Duration `yaml:"interval,omitempty"` // over all workers; 1s to 24h; 0: no probes
	Timeout  time.Duration `yaml:"timeout,omitempty"`  // up to 10m; default 10s
	Model    string        `yaml:"model,omitempty"`    // offered name; default: the pool's first
}

// Limits are what a provider allows, or a tenant may; 0: not limited.
type Limits struct {
	RPM int64 `yaml:"rpm,omitempty"` // requests a minute
	TPM int64 `yaml:"tpm,omitempty"` // tokens a minute
}

// Models are the models that a pool offers.
type Models []Model

// Model is one model that a pool offers.
type Model struct {
	Name     string      // as routes name it; 1 to 256 bytes
	Upstream string      // as the provider names it; default: Name
	Price    *wire.Price // overrides the price table; nil: the table's
}

// Route is a model name that clients ask for.
type Route struct {
	Model      string      `yaml:"model"`    // 1 to 256 bytes, unique
	Strategy   string      `yaml:"strategy"` // one of [Sources].Strategies; default least_connections
	Candidates []Candidate `yaml:"candidates"`
	// Require are labels that a candidate's pool must carry.
	Require map[string]string `yaml:"require,omitempty"`
	Params  Params            `yaml:"params,omitempty"`
	// Fallback is what to do instead, in this order, when every candidate is
	// unavailable or has failed the job; up to MaxFallback steps.
	Fallback []Fallback `yaml:"fallback,omitempty"`
}

// Fallback is one step: a wait, or another route, a shorter output, or both.
type Fallback struct {
	Route     string        `yaml:"route,omitempty"`      // a configured one; default: the route itself
	MaxTokens int64         `yaml:"max_tokens,omitempty"` // most output tokens; 0: as the job says
	Wait      time.Duration `yaml:"wait,omitempty"`       // later steps count once the job has waited so long; 1ms to 366 days
}

// Params tune a route's strategy; 0 is the strategy's own default.
type Params struct {
	Percentile   int     `yaml:"percentile,omitempty"`    // latency: 50, 90, 95 or 99; default 90
	Tolerance    float64 `yaml:"tolerance,omitempty"`     // how much worse than the best is as good; up to 100; below 0: none
	Explore      int     `yaml:"explore,omitempty"`       // one decision in so many renews measurements; below 0: never
	Bound        float64 `yaml:"bound,omitempty"`         // consistent_hashing: 1 to 1000 times the fair share; default 1.25
	OutputTokens int64   `yaml:"output_tokens,omitempty"` // expected of a job that does not say; default 512
	// Nearness lists, by a user's region, pool regions from near to far, with
	// commas between.
	Nearness map[string]string `yaml:"nearness,omitempty"`
	// Scorers of multi_dimensional with their weights.
	Scorers map[string]string `yaml:"scorers,omitempty"`
}

// Candidate is a model of a pool that may answer a route.
type Candidate struct {
	Pool   string `yaml:"pool"`
	Model  string `yaml:"model"`  // offered name; default: the pool's only one, or the route's name
	Weight int    `yaml:"weight"` // 0 to 1,000,000; default: the pool's

	Priority     int      `yaml:"priority,omitempty"`     // priority_tiers: the lowest first
	Quality      float64  `yaml:"quality,omitempty"`      // 0 to 1 (best); 0: not known
	Context      int64    `yaml:"context,omitempty"`      // tokens of input and output; 0: not known
	MaxOutput    int64    `yaml:"max_output,omitempty"`   // tokens; 0: not known
	Capabilities []string `yaml:"capabilities,omitempty"` // default: the pool's
	Schedule     Schedule `yaml:"schedule,omitempty"`     // when it may be used; default: always
}

// Schedule is when a candidate may be used.
type Schedule struct {
	Zone    string   `yaml:"zone,omitempty"`    // such as Europe/Berlin; default UTC
	Windows []string `yaml:"windows,omitempty"` // such as "Mon-Fri 08:00-18:00", "Sat,Sun", "22:00-06:00"
}

// Rule says what becomes of the jobs that an expression is true of.
type Rule struct {
	Name     string `yaml:"name"` // [A-Za-z0-9_-]{1,64}, unique; decisions record it
	When     string `yaml:"when"` // a CEL expression of type bool; see package broker/rules for its variables
	Then     Then   `yaml:"then"`
	Continue bool   `yaml:"continue,omitempty"` // later rules may add what this one leaves open; else the first match is the last
}

// Then is what follows from a rule that matches; at least one key.
type Then struct {
	Route       string            `yaml:"route,omitempty"`        // a configured one
	Require     map[string]string `yaml:"require,omitempty"`      // labels that a candidate's pool must carry
	Prefer      map[string]string `yaml:"prefer,omitempty"`       // labels to carry where some candidates do
	Class       string            `yaml:"class,omitempty"`        // interactive, standard or batch
	MaxAttempts int               `yaml:"max_attempts,omitempty"` // 1 to 100, instead of workers.max_attempts
	Deadline    time.Duration     `yaml:"deadline,omitempty"`     // from submission, 1s to 366 days; an earlier one of the client's stays
}

// Budget is a limit on dollars, tokens or jobs in a window; exactly one limit
// is given. See docs/budgets.md.
type Budget struct {
	Scope        string        `yaml:"scope"`                  // global, or terms with commas between: tenant:, key:, provider:, pool:, model:, route: and a name, label:name=value
	LimitUSD     *wire.NanoUSD `yaml:"limit_usd,omitempty"`    // above 0
	LimitTokens  *int64        `yaml:"limit_tokens,omitempty"` // above 0
	LimitJobs    *int64        `yaml:"limit_jobs,omitempty"`   // above 0
	Window       string        `yaml:"window"`                 // hour, day, week, month or total; default day
	Rolling      bool          `yaml:"rolling,omitempty"`      // the time before each moment, instead of calendar windows
	Zone         string        `yaml:"zone,omitempty"`         // of calendar windows, such as Europe/Berlin; default UTC
	OnExceeded   string        `yaml:"on_exceeded"`            // wait, cheaper or reject; default wait
	UnknownPrice string        `yaml:"unknown_price"`          // refuse or allow; default refuse
	UnknownCost  string        `yaml:"unknown_cost"`           // worst or estimate; default worst
	Alerts       []int         `yaml:"alerts,omitempty"`       // percents of the limit that raise an event; default 50, 80, 100; [0]: none
}

// Holds bound what a job can cost at most, where the job itself does not.
type Holds struct {
	MaxTokens   int64 `yaml:"max_tokens"`   // output of a job that names no bound, then sent to the provider; 1 to 10,000,000; default 4096
	MediaTokens int64 `yaml:"media_tokens"` // input of a job's images, audio and files; 1 to 10,000,000; default 65536
}

// Tenant is who pays.
type Tenant struct {
	Name string `yaml:"name"` // [A-Za-z0-9_-]{1,64}, unique
	Key  Secret `yaml:"key"`  // unique over all tenants' keys: it names the tenant on HTTP, and is its password on NATS
	Tier string `yaml:"tier,omitempty"`
	// Limits are what it may ask of each gateway.
	Limits Limits `yaml:"limits,omitempty"`
	// Keys prove it as well, and count by their names in budgets; up to MaxKeys.
	Keys []TenantKey `yaml:"keys,omitempty"`
	// Text has what its jobs ask and get be kept; nil: it is not.
	Text *Text `yaml:"text,omitempty"`
}

// TenantKey is a named key of a tenant, beside its own.
type TenantKey struct {
	Name string `yaml:"name"` // [A-Za-z0-9_-]{1,64}, unique within the tenant
	Key  Secret `yaml:"key"`  // as the tenant's
	// Limits are what may be asked with it of each gateway, within the tenant's.
	Limits Limits `yaml:"limits,omitempty"`
}

// Pool finds a pool by name, or gives nil.
func (c *Config) Pool(name string) *Pool {
	for i := range c.Pools {
		if c.Pools[i].Name == name {
			return &c.Pools[i]
		}
	}
	return nil
}

// Route finds a route by its model name, or gives nil.
func (c *Config) Route(model string) *Route {
	for i := range c.Routes {
		if c.Routes[i].Model == model {
			return &c.Routes[i]
		}
	}
	return nil
}

// Find gives the model that is offered under name, or nil.
func (m Models) Find(name string) *Model {
	for i := range m {
		if m[i].Name == name {
			return &m[i]
		}
	}
	return nil
}

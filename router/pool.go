package router

import (
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Bounds of a table. NewTable refuses what lies outside.
const (
	MaxWeight      = 1_000_000
	MaxConcurrency = 1_000_000
	MaxPriority    = 1_000_000
	MaxCandidates  = 4_096 // of one route
)

// Pool is what the router knows of a pool and what changes rarely: a change
// means a new Table. The zero value of every field but Name is neutral.
type Pool struct {
	Name     string            `json:"name,omitzero"`
	Provider string            `json:"provider,omitzero"`
	Region   string            `json:"region,omitzero"`
	Tier     string            `json:"tier,omitzero"`
	Labels   map[string]string `json:"labels,omitzero"`
	// Weight is what a configuration gives the pool's candidates by default.
	// The router itself looks at CandidateSpec.Weight only.
	Weight int `json:"weight,omitzero"`
	// Concurrency is the most attempts that run at once; below 1 means 1.
	Concurrency int `json:"concurrency,omitzero"`
	// Draining pools take no new jobs. Down pools have no live worker.
	Draining bool `json:"draining,omitzero"`
	Down     bool `json:"down,omitzero"`
	// Endpoints that the pool's adapter serves; empty: not known, all.
	Endpoints []wire.Endpoint `json:"endpoints,omitzero"`
	// Capabilities of all its models; a candidate's own replace them.
	// 0: not known, all.
	Capabilities Capability `json:"capabilities,omitzero"`
	// Bundles says that the pool takes jobs by its provider's own batch API:
	// only those that are placed there.
	Bundles bool `json:"bundles,omitzero"`
	// Tenants that may use the pool, and the tiers of tenants that may; a
	// tenant must be in both lists that are not empty.
	Tenants     []string `json:"tenants,omitzero"`
	TenantTiers []string `json:"tenant_tiers,omitzero"`
}

// Allowance is the most jobs, queued and running, that may be at the pool
// before a job of the class finds it full: interactive twice the concurrency,
// standard one and a half times, batch once. So room that batch jobs may not
// use is always left for the more urgent ones.
func (p *Pool) Allowance(class wire.Class) int {
	c := min(max(p.Concurrency, 1), MaxConcurrency)
	switch class {
	case wire.Interactive:
		return 2 * c
	case wire.Batch:
		return c
	}
	return c + c/2
}

// Capability is a set of things that a model can do.
type Capability uint16

// The capabilities that a request may need.
const (
	Streaming Capability = 1 << iota
	Tools
	Vision
	Audio
	JSONSchema
	Thinking
	PromptCaching
)

// CandidateSpec is a (pool, upstream model) pair of a route. The zero value
// of every field but Pool, Model and Weight is neutral.
type CandidateSpec struct {
	Pool  string `json:"pool,omitzero"`
	Model string `json:"model,omitzero"` // the upstream model
	// Weight is the candidate's share, 0 to MaxWeight; 0 excludes it.
	Weight int `json:"weight,omitzero"`
	// Price of the upstream model; nil: unknown.
	Price *wire.Price `json:"price,omitzero"`
	// Priority is the tier for strategy priority_tiers: the lowest first.
	Priority int `json:"priority,omitzero"`
	// Quality is a score from 0 (useless) to 1 (best); 0: not known.
	Quality float64 `json:"quality,omitzero"`
	// Context is the most tokens of input and output together; 0: not known.
	Context int64 `json:"context,omitzero"`
	// MaxOutput is the most tokens the model ever writes; 0: not known.
	MaxOutput int64 `json:"max_output,omitzero"`
	// Capabilities of the model; 0: those of its pool.
	Capabilities Capability `json:"capabilities,omitzero"`
	// Schedule says when the candidate may be used; nil: always.
	Schedule *Schedule `json:"schedule,omitzero"`
}

// Schedule is a set of weekly windows in a time zone. A window that ends
// before it starts runs over midnight.
type Schedule struct {
	// Location is the time zone; nil: UTC. Schedules of one zone should share
	// the pointer: they are then looked at together.
	Location *time.Location `json:"-"`
	Windows  []Hours        `json:"windows"`
}

// Hours is a window of a Schedule, in minutes after local midnight.
type Hours struct {
	// Days on which the window starts, bit 0 is Sunday; 0: every day.
	Days uint8 `json:"days,omitzero"`
	// From is the first minute, To the first that is outside; From == To is
	// the whole day.
	From int `json:"from,omitzero"`
	To   int `json:"to,omitzero"`
}

// RouteSpec is a model name that clients ask for.
type RouteSpec struct {
	Name     string `json:"name,omitzero"`
	Strategy string `json:"strategy,omitzero"`
	// Of is the route that this one is a variant of: clients cannot ask for it
	// by its own name. Empty: they can. Decisions do not look at it.
	Of         string          `json:"of,omitzero"`
	Candidates []CandidateSpec `json:"candidates,omitzero"`
	// Require are labels that a candidate's pool must carry.
	Require []Label `json:"require,omitzero"`
	Params  Params  `json:"params,omitzero"`
}

// Label is a name and the value it must have.
type Label struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// String is the label as name=value.
func (l Label) String() string { return l.Name + "=" + l.Value }

// Params tune a strategy. The zero value means the defaults.
type Params struct {
	// Percentile of the latency strategy: 50, 90, 95 or 99. Defaults to 90.
	Percentile int `json:"percentile,omitzero"`
	// Tolerance is how much worse than the best score still counts as equal,
	// as a share of it; candidates that are equal split the jobs by weight.
	// Defaults to the strategy's own; below 0 means none.
	Tolerance float64 `json:"tolerance,omitzero"`
	// Explore sends one decision in so many to any eligible candidate, by
	// weight, so that old measurements are renewed. Defaults to the
	// strategy's own; below 0 means never.
	Explore int `json:"explore,omitzero"`
	// Bound of consistent hashing: a candidate's depth stays below Bound
	// times its fair share. Defaults to 1.25; at least 1.
	Bound float64 `json:"bound,omitzero"`
	// OutputTokens is what a job is expected to write if nothing is known of
	// it. Defaults to 512.
	OutputTokens int64 `json:"output_tokens,omitzero"`
	// Nearness lists, by a user's region, pool regions from near to far.
	// Regions that are not listed come after those that are. Without an
	// entry: the same region, then the same part before the first '-'.
	Nearness map[string][]string `json:"nearness,omitzero"`
	// Scorers of strategy multi_dimensional. Defaults to performance, cost
	// and load, equally.
	Scorers []ScorerWeight `json:"scorers,omitzero"`
}

// ScorerWeight is one dimension of strategy multi_dimensional.
type ScorerWeight struct {
	Scorer string  `json:"scorer,omitzero"`
	Weight float64 `json:"weight,omitzero"`
}

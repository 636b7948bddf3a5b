package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/sluicehq/sluice/internal/tracing"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Config says what a Gateway serves and where. Conn must be set.
type Config struct {
	// Listen is the address of the listener. Defaults to 127.0.0.1:8080.
	Listen string

	// TLS is the certificate to serve with. Nil: plain HTTP.
	TLS *Certificate

	// Origins are those whose web pages may use this gateway from a browser,
	// such as https://app.example.com. Defaults to none.
	Origins []string

	// Deadline is how long a job may take whose client waits and names no
	// Sluice-Deadline. Defaults to 0: any time.
	Deadline time.Duration

	// Webhooks tells about webhooks. Nil: there are none, and a request that
	// asks for one is refused.
	Webhooks Webhooks

	// Conn carries every job. Where tenants are configured on NATS too, it
	// must be allowed to act for all of them. The gateway never closes it.
	Conn *nats.Conn

	// Subjects is the prefix that the broker was configured with.
	Subjects wire.Subjects

	// Tenants are those with a key. None: no key is asked for, and the header
	// Sluice-Tenant names the tenant, "default" if it is missing.
	Tenants []Tenant

	// AdminKey opens every tenant's things, and what changes them, on the
	// dashboard and the administrative interface. Without it (and without
	// tenants), everyone may do all of that.
	AdminKey string

	// Web is the dashboard that / shows. Defaults to none.
	Web fs.FS

	// Analytics answers a question about costs from ClickHouse, as a value
	// for JSON; nil: there is no ClickHouse. It is asked for one tenant where
	// Tenant is set.
	Analytics func(ctx context.Context, q Question) (any, error)

	// Texts gives what is kept of jobs' prompts and answers, as a value for JSON;
	// nil: there is no ClickHouse.
	Texts func(ctx context.Context, q TextsQuestion) (any, error)

	// Models are the routes that /v1/models lists. Defaults to none.
	Models func() []string

	// Bundles reports whether some pool takes jobs by its provider's own batch
	// API. Defaults to: none does.
	Bundles func() bool

	// Ready says why the process cannot take jobs now. Defaults to: it can,
	// while Conn is connected.
	Ready func() error

	// Full says why no job can be stored now, as on a full disk: requests are
	// then refused at once instead of waiting for NATS. Defaults to: not known.
	Full func() error

	// Registry is what /metrics shows; the gateway adds its own metrics to it.
	// Defaults to a new one, with those of the process beside them.
	Registry *prometheus.Registry

	// Tracer makes a span of each request for an answer. Nil: none.
	Tracer *tracing.Tracer

	// Logger gets what an operator can act on; never a key, a prompt or an
	// answer. Defaults to slog.Default().
	Logger *slog.Logger

	// MaxBody is the most bytes of a request's body. Defaults to, and is at
	// most, wire.MaxBody.
	MaxBody int64

	// MaxInFlight is the most requests for an answer at a time; more are
	// refused with 503. Defaults to 16384.
	MaxInFlight int

	// HeartbeatInterval is after how long a silent stream gets a comment, so
	// that no proxy takes it for dead. Defaults to 15 seconds.
	HeartbeatInterval time.Duration

	// BodyTimeout bounds the reading of a request's body. Defaults to a minute.
	BodyTimeout time.Duration

	// WriteTimeout is how long a client may take none of an answer's bytes
	// before it counts as gone. Defaults to a minute.
	WriteTimeout time.Duration

	// StopTimeout is how long requests under way may go on once Run's context
	// has ended. Defaults to 10 seconds.
	StopTimeout time.Duration
}

// Question is one for ClickHouse, as the query of a URL asked it.
type Question struct {
	Name         string // cost, jobs, dearest, waste, shares or cache
	Tenant       string // "": of all tenants
	By           []string
	Where        map[string]string
	Since, Until time.Time // zero: open
	Limit        int       // 0: the question's own
}

// Webhooks is what the gateway needs of package webhook.
type Webhooks interface {
	// Secret is what a tenant checks signatures with.
	Secret(tenant string) string
	// Log is the newest lines of the delivery log as JSON, newest first, of a
	// tenant ("": all) and, if it is not empty, of a job.
	Log(ctx context.Context, tenant, job string, limit int) ([]byte, error)
}

// Tenant is a tenant, the key that proves it, and what it may ask for.
type Tenant struct {
	Name, Key string
	Limits    Limits
	Keys      []Key // that prove it as well
}

// Key is one of a tenant's named keys. Its jobs are the tenant's; budgets can
// tell them apart, and it can have limits of its own within the tenant's.
type Key struct {
	Name, Key string
	Limits    Limits
}

// withDefaults is the configuration with every zero value filled in.
func (c Config) withDefaults() Config {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:8080"
	}
	if c.Models == nil {
		c.Models = func() []string { return nil }
	}
	if c.Ready == nil {
		c.Ready = func() error { return nil }
	}
	if c.Full == nil {
		c.Full = func() error { return nil }
	}
	if c.Registry == nil {
		c.Registry = NewRegistry()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.MaxBody <= 0 || c.MaxBody > wire.MaxBody {
		c.MaxBody = wire.MaxBody
	}
	if c.MaxInFlight <= 0 {
		c.MaxInFlight = 16384
	}
	for d, def := range map[*time.Duration]time.Duration{
		&c.HeartbeatInterval: 15 * time.Second, &c.BodyTimeout: time.Minute,
		&c.WriteTimeout: time.Minute, &c.StopTimeout: 10 * time.Second,
	} {
		if *d <= 0 {
			*d = def
		}
	}
	return c
}

// check reports every fault of the configuration at once.
func (c *Config) check() error {
	var faults []error
	if c.Conn == nil {
		faults = append(faults, errors.New("no Conn is given"))
	}
	if _, err := newCORS(c.Origins); err != nil {
		faults = append(faults, err)
	}
	faults = append(faults, tenantFaults(c.Tenants)...)
	for _, t := range c.Tenants {
		admin := t.Key == c.AdminKey || slices.ContainsFunc(t.Keys, func(k Key) bool { return k.Key == c.AdminKey })
		if admin && c.AdminKey != "" {
			faults = append(faults, fmt.Errorf("tenant %.80q has the administrator's key", t.Name))
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("gateway: %w", errors.Join(faults...))
	}
	return nil
}

func tenantFaults(list []Tenant) []error {
	var faults []error
	names, keys := map[string]bool{}, map[string]bool{}
	for _, t := range list {
		if !wire.ValidName(t.Name) || names[t.Name] {
			faults = append(faults, fmt.Errorf("tenant %.80q must match [A-Za-z0-9_-]{1,64} and be there once", t.Name))
		}
		if t.Key == "" {
			faults = append(faults, fmt.Errorf("tenant %.80q has no key", t.Name))
		}
		names[t.Name] = true
		for _, k := range append([]Key{{Key: t.Key}}, t.Keys...) {
			name := wire.KeyName(t.Name, k.Name)
			if k.Name != "" && (!wire.ValidName(k.Name) || k.Key == "" || names[name]) {
				faults = append(faults, fmt.Errorf("key %.160q must match [A-Za-z0-9_-]{1,64}, be there once and not be empty", name))
			}
			if k.Key != "" && keys[k.Key] {
				faults = append(faults, fmt.Errorf("key %.160q is also another's: it must say whose a request is", name))
			}
			names[name], keys[k.Key] = true, true
		}
	}
	return faults
}

// NewRegistry is a registry with the metrics of the process itself.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

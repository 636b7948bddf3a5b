package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// write puts a configuration file into a directory of its own.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// load reads a configuration text with variables given as NAME=value.
func load(t *testing.T, text string, environ ...string) (*Config, error) {
	t.Helper()
	return Load(Sources{Path: write(t, text), Environ: environ, Strategies: []string{"round_robin", "least_connections"},
		ProviderOf: func(u string) string { return map[string]string{"https://api.openai.com/v1": "openai"}[u] }})
}

func mustLoad(t *testing.T, text string, environ ...string) *Config {
	t.Helper()
	c, err := load(t, text, environ...)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return c
}

// without runs Load in a directory that has no file.
func without(t *testing.T, environ ...string) *Config {
	t.Helper()
	t.Chdir(t.TempDir())
	c, err := Load(Sources{Environ: environ, Strategies: []string{"least_connections"}})
	if err != nil {
		t.Fatalf("load without a file: %v", err)
	}
	return c
}

func TestDefaultsWithoutAnything(t *testing.T) {
	c := without(t)
	if got := strings.Join((&validator{c: c}).poolNames(), " "); got != "sim-fast sim-cheap sim-flaky" {
		t.Errorf("pools %q", got)
	}
	if len(c.Routes) != 1 || c.Routes[0].Model != "chat" || len(c.Routes[0].Candidates) != 3 {
		t.Errorf("routes %+v", c.Routes)
	}
	if c.HTTP.Timeout != 10*time.Minute {
		t.Errorf("http.timeout is %v", c.HTTP.Timeout)
	}
	if len(c.Warnings) != 0 || c.Path != "" {
		t.Errorf("warnings %q, path %q", c.Warnings, c.Path)
	}
	want := base()
	want.ClickHouse.Embedded.Password = Secret{}
	want.Pools, want.Routes = c.Pools, c.Routes
	if got, exp := redacted(t, c), redacted(t, want); got != exp {
		t.Errorf("got\n%s\nwant\n%s", got, exp)
	}
	for _, p := range c.Pools {
		if p.Simulated == nil || p.Models[0].Price == nil || p.Concurrency < 1 || p.Timeout != 10*time.Minute {
			t.Errorf("pool %+v", p)
		}
	}
}

func TestDefaultPoolsOfProvidersWithAKey(t *testing.T) {
	var environ []string
	for _, pr := range providers() {
		environ = append(environ, pr.variable+"=k-"+pr.name)
	}
	c := without(t, environ...)
	if len(c.Pools) != 3+len(providers()) {
		t.Fatalf("%d pools", len(c.Pools))
	}
	for _, pr := range providers() {
		p := c.Pool(pr.name)
		if p == nil || p.APIKey.Reveal() != "k-"+pr.name || p.Provider != pr.name || len(p.Models) == 0 {
			t.Errorf("pool %s: %+v", pr.name, p)
		}
	}
	for _, r := range c.Routes {
		for _, cand := range r.Candidates {
			simulated := strings.HasPrefix(cand.Pool, "sim-")
			if (r.Model == DefaultRoute) != simulated {
				t.Errorf("route %s has candidate %+v", r.Model, cand)
			}
		}
	}
	for _, r := range c.Routes {
		if r.Model == "openai/gpt-oss-120b" && len(r.Candidates) != 2 {
			t.Errorf("a model that two pools offer is a route over both: %+v", r)
		}
	}
}

// contractExample is section 6 of the contract, with the pool that its route
// names beside it.
const contractExample = `
nats:       {url: "", embedded: {listen: 127.0.0.1:4222, sync: 1s}}
clickhouse: {dsn: "", embedded: {listen: 127.0.0.1:8123, password: env:SLUICE_CLICKHOUSE_PASSWORD}}
http:       {listen: 127.0.0.1:8080}
data_dir:   ./sluice-data
pools:
  - name: openai-us
    adapter: openai
    base_url: https://api.openai.com/v1
    api_key: env:OPENAI_API_KEY
    models:
      gpt-4o-mini: {}
      smart: {upstream: gpt-4o, price: {input: 2.50, cache_read: 1.25, output: 10.00}}
    weight: 3
    concurrency: 64
    limits: {rpm: 5000, tpm: 2000000}
    region: us-east
    tier: premium
    labels: {gdpr: "no"}
  - {name: local, base_url: "http://127.0.0.1:8000/v1", models: {llama: }}
routes:
  - model: chat
    strategy: least_connections
    candidates: [{pool: openai-us, model: gpt-4o-mini, weight: 3}, {pool: local, model: llama, weight: 1}]
budgets:
  - {scope: "tenant:acme", limit_usd: 50, window: day, on_exceeded: wait}
tenants:
  - {name: acme, key: env:ACME_KEY, tier: gold}
`

func TestContractExample(t *testing.T) {
	c := mustLoad(t, contractExample, "OPENAI_API_KEY=sk-1", "ACME_KEY=acme-1")
	p := c.Pool("openai-us")
	if p == nil || p.APIKey.Reveal() != "sk-1" || p.Weight != 3 || p.Concurrency != 64 || p.Limits != (Limits{5000, 2000000}) ||
		p.Region != "us-east" || p.Tier != "premium" || p.Labels["gdpr"] != "no" || p.Provider != "openai" {
		t.Errorf("pool %+v", p)
	}
	smart := p.Models.Find("smart")
	want := wire.Price{Version: "config", Input: 2_500_000, CacheRead: 1_250_000, CacheWrite: 2_500_000, Output: 10_000_000, Reasoning: 10_000_000}
	if smart == nil || smart.Upstream != "gpt-4o" || *smart.Price != want {
		t.Errorf("model %+v", smart)
	}
	if mini := p.Models.Find("gpt-4o-mini"); mini == nil || mini.Upstream != "gpt-4o-mini" || mini.Price != nil {
		t.Errorf("model %+v", mini)
	}
	if local := c.Pool("local"); local.Provider != "local" || local.Concurrency != 16 || local.Weight != 1 {
		t.Errorf("pool %+v", local)
	}
	if b := c.Budgets[0]; b.Scope != "tenant:acme" || *b.LimitUSD != 50*wire.NanosPerUSD || b.Window != "day" || b.OnExceeded != "wait" || b.UnknownPrice != "refuse" || b.UnknownCost != "worst" {
		t.Errorf("budget %+v", b)
	}
	if tn := c.Tenants[0]; tn.Name != "acme" || tn.Key.Reveal() != "acme-1" || tn.Tier != "gold" {
		t.Errorf("tenant %+v", tn)
	}
	if len(c.Warnings) != 0 {
		t.Errorf("warnings %q", c.Warnings)
	}
	if !c.ClickHouse.Embedded.Password.IsZero() {
		t.Error("the unset default variable counts as no password")
	}
}

func TestPrecedence(t *testing.T) {
	const text = "http: {listen: 127.0.0.1:1}\n"
	for _, tc := range []struct {
		name, want string
		environ    []string
		flags      map[string]string
	}{
		{"file", "127.0.0.1:1", nil, nil},
		{"variable over file", "127.0.0.1:2", []string{"SLUICE_HTTP_LISTEN=127.0.0.1:2"}, nil},
		{"an empty variable is unset", "127.0.0.1:1", []string{"SLUICE_HTTP_LISTEN="}, nil},
		{"the last of two variables", "127.0.0.1:3", []string{"SLUICE_HTTP_LISTEN=127.0.0.1:2", "SLUICE_HTTP_LISTEN=127.0.0.1:3"}, nil},
		{"flag over variable", "127.0.0.1:4", []string{"SLUICE_HTTP_LISTEN=127.0.0.1:2"}, map[string]string{"http.listen": "127.0.0.1:4"}},
	} {
		c, err := Load(Sources{Path: write(t, text), Environ: tc.environ, Flags: tc.flags})
		if err != nil || c.HTTP.Listen != tc.want {
			t.Errorf("%s: %v, error %v", tc.name, c, err)
		}
	}
}

func TestEveryKeyByVariable(t *testing.T) {
	values := map[string]string{
		"subject_prefix": "my.sluice", "nats.url": "nats://u:p@10.0.0.1:4222", "nats.embedded.listen": "127.0.0.1:0",
		"nats.embedded.sync": "always", "nats.embedded.max_store": "1073741824", "clickhouse.dsn": "clickhouse://default:x@ch:9000/sluice",
		"clickhouse.ttl.attempts": "400d", "clickhouse.ttl.jobs": "90d", "clickhouse.ttl.scores": "30d",
		"clickhouse.storage.policy": "tiered", "clickhouse.storage.volume": "cold", "clickhouse.storage.move_after": "7d",
		"clickhouse.cluster.name": "main", "clickhouse.cluster.replicated": "false", "clickhouse.cluster.distributed": "false",
		"clickhouse.embedded.enabled": "false", "clickhouse.embedded.listen": "127.0.0.1:0",
		"clickhouse.embedded.password": "pw", "http.listen": "127.0.0.1:0", "http.admin_key": "root",
		"http.tls.cert": "c.pem", "http.tls.key": "k.pem", "http.origins": "[\"https://a.b\"]", "http.max_body": "4096", "http.max_in_flight": "9",
		"http.timeout": "9m", "data_dir": "x: y", "records.retention": "7d", "records.captures": "0.5",
		"webhooks.secret": "0123456789abcdef", "webhooks.allow_private": "true", "webhooks.timeout": "5s", "webhooks.retry_for": "1h",
		"workers.ack_wait": "5s", "workers.max_attempts": "7", "workers.retry_backoff": "1s", "workers.drain": "9s",
		"workers.retry_budget": "0.5", "workers.retry_minimum": "9",
		"alerts.every": "2s", "alerts.window": "5m", "alerts.baseline": "2h", "alerts.raise_after": "3", "alerts.clear_after": "4", "alerts.samples": "9",
		"alerts.error_rate": "0.2", "alerts.latency_shift": "0.3", "alerts.cost_shift": "0.4", "alerts.share_shift": "0.5", "alerts.budget_burn": "6",
		"alerts.unpriced": "false", "alerts.webhooks": "[\"https://a.b/c\"]",
		"analytics.flush_interval": "50ms", "nats.replicas": "3",
		"pools":            "[{name: a, adapter: simulated, models: {m: {}}}]",
		"routes":           "[{model: r, candidates: [{pool: a}]}, {model: s, candidates: [{pool: a}]}]",
		"rules":            "[{name: r, when: \"true\", then: {class: batch}}]",
		"experiments":      "[{name: e, route: r, variants: [{name: a}, {name: b}]}]",
		"rollouts":         "[{name: o, route: s, to: {candidates: [{pool: a}]}}]",
		"shadows":          "[{name: h, route: s, to: {route: r}}]",
		"budgets":          "[{scope: global, limit_usd: 0.000000001}]",
		"tenants":          "[{name: t, key: k}]",
		"holds.max_tokens": "99", "holds.media_tokens": "98",
	}
	var environ []string
	for _, k := range Keys() {
		v, ok := values[k.Path]
		if !ok {
			t.Errorf("no value for %s", k.Path)
		}
		environ = append(environ, k.Variable()+"="+v)
	}
	c := without(t, environ...)
	if c.SubjectPrefix != "my.sluice" || c.NATS.URL.Reveal() != "nats://u:p@10.0.0.1:4222" || !c.NATS.Embedded.Sync.Always() ||
		c.ClickHouse.DSN.Reveal() != "clickhouse://default:x@ch:9000/sluice" || c.ClickHouse.Embedded.Password.Reveal() != "pw" || c.HTTP.AdminKey.Reveal() != "root" ||
		c.ClickHouse.TTL != (TTL{400 * day, 90 * day, 30 * day}) || c.ClickHouse.Storage != (Storage{"tiered", "cold", 7 * day}) || c.ClickHouse.Cluster != (Cluster{Name: "main"}) ||
		c.Store("http://h").Layout.AttemptsTTL != 400*day || c.Store("http://h").Layout.Volume != "cold" || c.Store("http://h").Cluster.Name != "main" ||
		c.DataDir != "x: y" || c.NATS.Replicas != 3 || c.Records != (Records{168 * time.Hour, 0.5}) ||
		c.Workers != (Workers{5 * time.Second, 7, time.Second, 0.5, 9, 9 * time.Second}) || c.Analytics.FlushInterval != 50*time.Millisecond ||
		len(c.Alerts.Webhooks) != 1 || c.Alerts.Webhooks[0].Reveal() != "https://a.b/c" || !reflect.DeepEqual(c.Alerts, Alerts{2 * time.Second, 5 * time.Minute, 2 * time.Hour, 3, 4, 9, 0.2, 0.3, 0.4, 0.5, 6, false, c.Alerts.Webhooks}) {
		t.Errorf("got %s", redacted(t, c))
	}
	if len(c.Pools) != 1 || !reflect.DeepEqual(c.Routes[0].Candidates[0], Candidate{Pool: "a", Model: "m", Weight: 1}) || *c.Budgets[0].LimitUSD != 1 || c.Tenants[0].Key.Reveal() != "k" {
		t.Errorf("got %s", redacted(t, c))
	}
}

func TestFlagOfOneElement(t *testing.T) {
	c, err := Load(Sources{Path: write(t, contractExample), Environ: []string{"OPENAI_API_KEY=a", "ACME_KEY=b"}, Flags: map[string]string{
		"pools.openai-us.concurrency": "7", "pools.openai-us.limits": "{rpm: 9}", "routes.chat.strategy": "x",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if p := c.Pool("openai-us"); p.Concurrency != 7 || p.Limits.RPM != 9 || c.Routes[0].Strategy != "x" {
		t.Errorf("got %+v, %+v", p, c.Routes[0])
	}
}

func TestAliasesAndMergeKeys(t *testing.T) {
	c := mustLoad(t, `
pools:
  - &a {name: a, adapter: simulated, models: &m {x: {}, y: {}}, concurrency: 5, region: eu}
  - {<<: *a, name: b, concurrency: 6}
  - {name: c, adapter: simulated, models: *m}
`)
	b := c.Pool("b")
	if b.Concurrency != 6 || b.Region != "eu" || len(b.Models) != 2 || len(c.Pool("c").Models) != 2 {
		t.Errorf("got %+v", b)
	}
	if len(c.Routes) != 2 || c.Routes[0].Model != "x" || len(c.Routes[0].Candidates) != 3 {
		t.Errorf("without routes, each offered model is one: %+v", c.Routes)
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for name, src := range map[string]Sources{
		"absent":        {Path: filepath.Join(dir, "no.yaml")},
		"by a variable": {Environ: []string{"SLUICE_CONFIG=" + filepath.Join(dir, "no.yaml")}},
		"a directory":   {Path: dir},
		"too large":     {Path: write(t, strings.Repeat("#", maxFile+1))},
	} {
		var faults Faults
		if c, err := Load(src); err == nil || c != nil || errors.As(err, &faults) {
			t.Errorf("%s: got %v, %v", name, c, err)
		}
	}
}

func redacted(t *testing.T, c *Config) string {
	t.Helper()
	s, err := c.Redacted()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGoldenFaults keeps the whole list for a file in which nearly everything
// is wrong, as people see it (I1), without one of its secrets (I3).
func TestGoldenFaults(t *testing.T) {
	_, err := Load(Sources{Path: "testdata/bad.yaml", Strategies: []string{"round_robin", "least_connections"},
		Environ: []string{"SLUICE_ANALYTICS_FLUSH_INTERVAL=0s"},
		Flags:   map[string]string{"http.listen": "x", "pools.zz.weight": "1", "no.such.key": "1"}})
	var faults Faults
	if !errors.As(err, &faults) {
		t.Fatalf("got %v", err)
	}
	const golden = "testdata/bad.golden"
	got := err.Error() + "\n"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if strings.Contains(got, "geheim") {
		t.Error("a secret is in the list")
	}
	for _, f := range faults {
		if f.Where == "" || f.Bound == "" || f.Key == "" {
			t.Errorf("fault without where, key or bound: %+v", f)
		}
	}
}

const onePool = "pools: [{name: p, adapter: simulated, models: {m: {}}}]\n"

// TestOneFault gives each bound its own file: exactly this fault and no other.
func TestOneFault(t *testing.T) {
	long := strings.Repeat("x", 257)
	for _, tc := range []struct{ name, text, want string }{
		{"replicas without a majority", "nats: {url: \"nats://a:1\", replicas: 2}", "nats.replicas = 2: must be 1, 3 or 5"},
		{"replicas of one server", "nats: {replicas: 3}", "nats.replicas = 3: needs a cluster of so many servers"},
		{"not a mapping", "just text", "sluice.yaml:1: "},
		{"a list at the top", "- a", "must be a mapping"},
		{"bad syntax", "pools: [", "line 1"},
		{"two documents", "{}\n---\n{}", "only one YAML document"},
		{"duplicate key", "data_dir: a\ndata_dir: b", "sluice.yaml:2: data_dir: is given twice, first in line 1"},
		{"duplicate key inside", "http: {listen: 127.0.0.1:1, listen: 127.0.0.1:2}", "http.listen: is given twice"},
		{"unknown key", "color: red", "color = red: unknown key: known here are subject_prefix, nats"},
		{"misspelt key", "recrods: {retention: 1h}", "did you mean records?"},
		{"merge of nothing", "<<: 3", "must name one mapping"},
		{"a key that is a list", "? [a]\n: b", "must be a plain word"},
		{"a mapping for a scalar", "data_dir: {a: b}", "data_dir: must be a single value"},
		{"a scalar for a list", "pools: 3", "pools = 3: must be a list"},
		{"a scalar for a mapping", "http: 8080", "http = 8080: must be a mapping"},
		{"no pools", "pools: []", "pools: must have at least one pool"},
		{"a probe too often", "pools: [{name: a, adapter: simulated, models: {m: {}}, probe: {interval: 10ms}}]", "probe.interval = 10ms: must be from 1s to 24h"},
		{"a probe without an interval", "pools: [{name: a, adapter: simulated, models: {m: {}}, probe: {timeout: 1s}}]", "probe.interval = 0s: must be from 1s to 24h"},
		{"a probe of no model", "pools: [{name: a, adapter: simulated, models: {m: {}}, probe: {interval: 10s, model: x}}]", "probe.model = x: must be a model that the pool offers"},
		{"a batch API of bedrock", "pools: [{name: a, adapter: bedrock, region: us-east-1, models: {m: {}}, batch: {}}]", "batch: needs an adapter whose provider has a batch API"},
		{"a batch for nothing", "pools: [{name: a, adapter: simulated, models: {m: {}}, batch: {discount: 100}}]", "batch.discount = 100: must be from 0 to 99"},
		{"a batch too large", "pools: [{name: a, models: {m: {}}, batch: {max_lines: 50001}}]", "batch.max_lines = 50001: must be from 1 to 50000"},
		{"a batch asked too often", "pools: [{name: a, adapter: simulated, models: {m: {}}, batch: {poll: 1ms}}]", "batch.poll = 1ms: must be from 100ms to 1h"},
		{"a batch and a probe", "pools: [{name: a, adapter: simulated, models: {m: {}}, batch: {}, probe: {interval: 10s}}]", "batch: cannot go with probe"},
		{"models of bedrock", "pools: [{name: a, adapter: bedrock, region: us-east-1, models: {m: {}}, discover_models: true}]", "discover_models = true: must be false for bedrock"},
		{"no routes", onePool + "routes: []", "routes: must have at least one route"},
		{"no name", "pools: [{adapter: simulated, models: {m: {}}}]", "pools[0].name: must match"},
		{"no port", "http: {listen: localhost}", "must be host:port"},
		{"port too high", "http: {listen: 127.0.0.1:65536}", "must be host:port"},
		{"not loopback", "http: {listen: 192.168.0.1:80}", "must be a loopback address such as 127.0.0.1:80"},
		{"all interfaces", "nats: {embedded: {listen: ':4222'}}", "must be a loopback address"},
		{"a name that is no address", "clickhouse: {embedded: {listen: 'example.org:1'}}", "must be a loopback address"},
		{"taken port", "http: {listen: 127.0.0.1:4222}", "http.listen = 127.0.0.1:4222: is taken by nats.embedded.listen"},
		{"sync of nothing", "nats: {embedded: {sync: 0s}}", `or "always"`},
		{"sync too seldom", "nats: {embedded: {sync: 2h}}", "must be from 1ms to 1h"},
		{"nats scheme", "nats: {url: 'http://h:1'}", "nats.url = http://h:1: must be nats:// or tls:// or ws:// or wss://host:port"},
		{"one of two nats urls", "nats: {url: 'nats://a:1,b'}", "must be nats://"},
		{"nats without a host", "nats: {url: 'nats://'}", "must be nats://"},
		{"two dsn", "clickhouse: {dsn: 'http://a:1,http://b:1'}", "must be one address"},
		{"dsn of a variable", "clickhouse: {dsn: 'env:NO_DSN'}", "the variable NO_DSN is not set"},
		{"dsn and password", "clickhouse: {dsn: 'http://a:1', embedded: {password: x}}", "contradicts clickhouse.dsn"},
		{"dsn and enabled", "clickhouse: {dsn: 'http://a:1', embedded: {enabled: true}}", "contradicts clickhouse.dsn"},
		{"rows that go before their records", "clickhouse: {ttl: {attempts: 1d}}", "clickhouse.ttl.attempts = 1d: must be 0 (for ever), or from 48h"},
		{"a cluster of one engine", "clickhouse: {cluster: {name: main}}", "needs an external server (clickhouse.dsn)"},
		{"a volume without an age", "clickhouse: {dsn: 'http://a:1', storage: {volume: cold}}", "must have both volume and move_after"},
		{"a cluster's name", "clickhouse: {dsn: 'http://a:1', cluster: {name: 'a b'}}", "must match [A-Za-z0-9_-]{1,64}"},
		{"a baseline of few windows", "alerts: {window: 1h, baseline: 2h}", "must be from ten times alerts.window (10h)"},
		{"looks too often", "alerts: {every: 10ms}", "alerts.every = 10ms: must be from 1s to 1h"},
		{"too few samples", "alerts: {samples: 1}", "must be from 5"},
		{"more than all", "alerts: {error_rate: 1.5}", "must be from 0 to 1"},
		{"alerts nobody signs", "alerts: {webhooks: ['https://a.b/c']}", "needs webhooks.secret"},
		{"an alert's URL", "webhooks: {secret: 'sixteen bytes and more'}\nalerts: {webhooks: ['ftp://geheim']}", "alerts.webhooks[0] = ***: must be http:// or https:// and a host"},
		{"boolean", "clickhouse: {embedded: {enabled: yes}}", "clickhouse.embedded.enabled = yes: must be true or false"},
		{"duration without unit", "records: {retention: 24}", "must be a duration"},
		{"days with a part", "records: {retention: 1.5d}", "must be a duration"},
		{"retention too short", "records: {retention: 59s}", "must be at least twice workers.ack_wait (30s)"},
		{"retention too long", "records: {retention: 400d}", "must be from 1s to 8784h"},
		{"attempts", "workers: {max_attempts: 101}", "workers.max_attempts = 101: must be from 1 to 100"},
		{"attempts as words", "workers: {max_attempts: three}", "must be a whole number"},
		{"attempts in hex", "workers: {max_attempts: 0x3}", "must be a whole number"},
		{"no models", "pools: [{name: p}]", "pools[0].models: must offer at least one model"},
		{"long model", "pools: [{name: p, models: {" + long + ": {}}}]", "must be 1 to 256 bytes"},
		{"control character", "pools: [{name: p, region: \"a\\u0007\", models: {m: {}}}]", "printable text"},
		{"labels as a list", "pools: [{name: p, labels: [a], models: {m: {}}}]", "pools[0].labels: must be a mapping"},
		{"a label that is a list", "pools: [{name: p, labels: {a: []}, models: {m: {}}}]", "pools[0].labels.a: must be a single value"},
		{"a price as a float", "pools: [{name: p, models: {m: {price: {input: 1e-3, output: 1}}}}]", "must be dollars per million tokens"},
		{"a negative price", "pools: [{name: p, models: {m: {price: {input: -1, output: 1}}}}]", "must be dollars per million tokens"},
		{"a price that is null", "pools: [{name: p, models: {m: {price: {input: , output: 1}}}}]", "price.input: is missing"},
		{"a price as text", "pools: [{name: p, models: {m: {price: cheap}}}]", "price = cheap: must be a mapping"},
		{"rpm", "pools: [{name: p, limits: {rpm: 1.5}, models: {m: {}}}]", "must be a whole number"},
		{"a short secret", "webhooks: {secret: literal}", "webhooks.secret = ***: must have at least 16 bytes"},
		{"webhooks.retry_for", "webhooks: {retry_for: 8d}", "must be from 1m to 168h"},
		{"half of TLS", "http: {tls: {cert: x}}", "http.tls: must have both"},
		{"an origin with a path", "http: {origins: [\"https://a/b\"]}", "http.origins[0] = https://a/b: must be an origin"},
		{"max_body", "http: {max_body: 8323073}", "must be from 1024 to 8323072"},
		{"max_in_flight", "http: {max_in_flight: 0}", "must be from 1 to 1000000"},
		{"http.timeout", "http: {timeout: 25h}", "must be from 0s to 24h"},
		{"a tenant's rpm", "tenants: [{name: a, key: literal, limits: {rpm: -1}}]", "tenants[0].limits.rpm = -1: must be from 0"},
		{"a tenant's limit", "tenants: [{name: a, key: literal, limits: {rps: 1}}]", "tenants[0].limits.rps = 1: unknown key"},
		{"a key of a tenant that is another's", "tenants: [{name: a, key: x}, {name: b, key: y, keys: [{name: ci, key: x}]}]", "tenants[1].keys[0].key: is also tenants[0].key"},
		{"two keys that are one", "tenants: [{name: a, key: x, keys: [{name: c, key: y}, {name: d, key: y}]}]", "tenants[0].keys[1].key: is also tenants[0].keys[0].key"},
		{"a named administrator", "http: {admin_key: z}\ntenants: [{name: a, key: x, keys: [{name: c, key: z}]}]", "tenants[0].keys[0].key: is also http.admin_key"},
		{"two keys of a name", "tenants: [{name: a, key: x, keys: [{name: c, key: y}, {name: c, key: z}]}]", "tenants[0].keys[1].name = c: is taken by element 0"},
		{"a key's name", "tenants: [{name: a, key: x, keys: [{name: a/b, key: y}]}]", "tenants[0].keys[0].name = a/b: must match"},
		{"a named key without one", "tenants: [{name: a, key: x, keys: [{name: c}]}]", "tenants[0].keys[0].key: is missing"},
		{"a key that is not set", "tenants: [{name: a, key: x, keys: [{name: c, key: env:NOT_SET}]}]", "tenants[0].keys[0].key: the variable NOT_SET is not set"},
		{"a key's tpm", "tenants: [{name: a, key: x, keys: [{name: c, key: y, limits: {tpm: -1}}]}]", "tenants[0].keys[0].limits.tpm = -1: must be from 0"},
		{"a hint for a key", "tenants: [{name: a, key: x, keys: [{name: c, key: y, limts: {}}]}]", "did you mean limits?"},
		{"scope of no key", "tenants: [{name: a, key: x, keys: [{name: c, key: y}]}]\nbudgets: [{scope: 'key:a/d', limit_jobs: 1}]", "names no configured key: there are a, a/c"},
		{"scope of two tenants", "tenants: [{name: a, key: x}, {name: b, key: y}]\nbudgets: [{scope: 'key:a,tenant:b', limit_jobs: 1}]", "no job fulfils both"},
		{"zero weights of derived routes", "pools: [{name: p, weight: 0, models: {m: {}}}]", "at least one weight above 0"},
		{"control character in a model", "pools: [{name: p, models: {\"a\\e[1m\": {}}}]", "pools[0].models.a·[1m = \"a\\x1b[1m\": must be"},
		{"weight", "pools: [{name: p, weight: 1000001, models: {m: {}}}]", "must be from 0 to 1000000"},
		{"timeout", "pools: [{name: p, timeout: 0s, models: {m: {}}}]", "must be from 1ms to 24h"},
		{"seed", "pools: [{name: p, adapter: simulated, models: {m: {}}, simulated: {seed: -1}}]", "not negative"},
		{"speed", "pools: [{name: p, adapter: simulated, models: {m: {}}, simulated: {tokens_per_second: .inf}}]", "must be a number"},
		{"no model named", "pools: [{name: p, models: {a: {}, b: {}}}]\nroutes: [{model: r, candidates: [{pool: p}]}]", "is needed: pool p offers a, b"},
		{"unknown pool", onePool + "routes: [{model: r, candidates: [{pool: x}]}]", "is no pool: there are p"},
		{"only zero weights", onePool + "routes: [{model: r, candidates: [{pool: p, weight: 0}]}]", "at least one weight above 0"},
		{"strategy", onePool + "routes: [{model: r, strategy: best, candidates: [{pool: p}]}]", "must be one of round_robin, least_connections"},
		{"candidate without a pool", onePool + "routes: [{model: r, candidates: [{model: m}]}]", "candidates[0].pool: is no pool"},
		{"budget", "budgets: [{scope: global, limit_usd: 1e3}]", "must be dollars"},
		{"no limit", "budgets: [{scope: global}]", "exactly one of limit_usd, limit_tokens and limit_jobs"},
		{"two limits", "budgets: [{scope: global, limit_usd: 1, limit_jobs: 1}]", "exactly one of limit_usd, limit_tokens and limit_jobs"},
		{"no tokens", "budgets: [{scope: global, limit_tokens: 0}]", "limit_tokens = 0: must be above 0"},
		{"scope", "budgets: [{scope: 'team:x', limit_usd: 1}]", "must be global, or terms"},
		{"scope of nothing", onePool + "budgets: [{scope: 'tenant:any,model:x', limit_usd: 1}]", "names no configured model: there are m"},
		{"zone", "budgets: [{scope: global, limit_usd: 1, zone: Mars/Base}]", "budgets[0].zone = Mars/Base: must be a time zone"},
		{"rolling total", "budgets: [{scope: global, limit_usd: 1, window: total, rolling: true}]", "a total does not roll"},
		{"unknown price", "budgets: [{scope: global, limit_usd: 1, unknown_price: guess}]", "must be refuse or allow"},
		{"unknown cost", "budgets: [{scope: global, limit_usd: 1, unknown_cost: guess}]", "must be worst or estimate"},
		{"alerts", "budgets: [{scope: global, limit_usd: 1, alerts: [50, 2000]}]", "from 1 to 1000"},
		{"holds", "holds: {max_tokens: 0}", "must be from 1 to 10000000"},
		{"same budget twice", "budgets: [{scope: global, limit_usd: 1}, {scope: global, limit_usd: 2}]", "is taken by element 0"},
		{"tenant without a key", "tenants: [{name: a}]", "tenants[0].key: is missing"},
	} {
		c, err := load(t, tc.text)
		var faults Faults
		if !errors.As(err, &faults) || c != nil {
			t.Errorf("%s: got %v", tc.name, err)
			continue
		}
		if len(faults) != 1 || !strings.Contains(faults[0].String(), tc.want) {
			t.Errorf("%s: got %v\nwant one fault with %q", tc.name, err, tc.want)
		}
	}
}

// TestTooMuch: a file that expands without bound is refused, and soon.
func TestTooMuch(t *testing.T) {
	many := "pools:\n - &a {name: a, models: {x: {}}}\n" + strings.Repeat(" - *a\n", MaxPools)
	var models strings.Builder
	for i := range 300 {
		fmt.Fprintf(&models, "m%d: {upstream: y}, ", i)
	}
	bomb := "pools:\n - &a {name: a, models: &m {" + models.String() + "}}\n" + strings.Repeat(" - {<<: *a, name: b, models: *m}\n", MaxPools-1)
	for name, tc := range map[string]struct{ text, want string }{
		"pools":   {many, "pools: has 1001 elements, more than 1000"},
		"aliases": {bomb, "expands to more than"},
		"depth":   {"pools: " + strings.Repeat("[", 20_000), "depth"},
	} {
		if _, err := load(t, tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %.200s", name, err)
		}
	}
}

func TestAllowed(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                  "",
		"a comment":                "# nothing\n",
		"null everywhere":          "nats:\nhttp: {listen: }\npools:\nroutes: ~\n",
		"any address with tenants": "tenants: [{name: a, key: k}]\nhttp: {listen: ':80'}\nnats: {embedded: {listen: '0.0.0.0:1'}}",
		"ports by choice":          "http: {listen: '[::1]:0'}\nnats: {embedded: {listen: 'localhost:0'}}\nclickhouse: {embedded: {listen: '127.1.2.3:0'}}",
		"two budgets of a scope":   "budgets: [{scope: global, limit_usd: 1}, {scope: global, limit_usd: 2, window: hour}]",
		"budgets of all kinds": onePool + "budgets: [{scope: 'label:team=a b,key:k,provider:simulated,model:m', limit_tokens: 5, window: week, rolling: true, unknown_price: allow, unknown_cost: estimate, alerts: [0]}, " +
			"{scope: 'tenant:x, label:Team=y', limit_jobs: 5, window: total}, {scope: 'tenant:x,label:team=y', limit_jobs: 5, window: month, zone: Europe/Berlin}]",
		"budgets of things":            onePool + "budgets: [{scope: 'pool:p', limit_usd: 1}, {scope: 'route:m', limit_usd: 1}, {scope: 'tenant:any', limit_usd: 1}]",
		"embedded off beside a dsn":    "clickhouse: {dsn: 'https://u:p@h:8443/db', embedded: {enabled: false}}",
		"several nats servers":         "nats: {url: 'nats://a:4222, tls://b:4222'}",
		"a free price":                 "pools: [{name: p, models: {m: {price: {input: 0, output: 0}}}}]",
		"a quoted number":              "workers: {max_attempts: '3'}",
		"a zero weight beside another": onePool + "routes: [{model: r, candidates: [{pool: p, weight: 0}, {pool: p, model: m, weight: 1}]}]",
	} {
		if _, err := load(t, text); err != nil && name != "a zero weight beside another" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOverridden: a variable that names a server wins over an embedded one in
// the file, without a contradiction.
func TestOverridden(t *testing.T) {
	c := mustLoad(t, contractExample, "OPENAI_API_KEY=a", "ACME_KEY=b", "SLUICE_CLICKHOUSE_DSN=http://h:1", "SLUICE_NATS_URL=nats://h:2")
	if c.ClickHouse.Embedded.Enabled || c.NATS.URL.Reveal() != "nats://h:2" {
		t.Errorf("got %+v", c.ClickHouse)
	}
}

func TestWarnings(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"literal key", "pools: [{name: p, api_key: geheim, models: {m: {}}}]", "pools[0].api_key is written out"},
		{"key over http", "pools: [{name: p, base_url: 'http://h/v1', api_key: env:K, models: {m: {}}}]", "over plain http to h"},
		{"no clickhouse", "clickhouse: {embedded: {enabled: false}}", "no ClickHouse is configured"},
		{"tenants of an external nats", "nats: {url: 'nats://h:1'}\ntenants: [{name: a, key: env:K}]", "its own accounts"},
	} {
		c := mustLoad(t, tc.text, "K=k")
		if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], tc.want) || strings.Contains(c.Warnings[0], "geheim") {
			t.Errorf("%s: got %q", tc.name, c.Warnings)
		}
	}
	c := mustLoad(t, "pools: [{name: p, base_url: 'http://[::1]:9/v1', api_key: env:K, models: {m: {}}}]", "K=k")
	if len(c.Warnings) != 0 {
		t.Errorf("loopback needs no encryption: %q", c.Warnings)
	}
}

func TestHint(t *testing.T) {
	names := []string{"api_key", "base_url", "", "models"}
	for got, want := range map[string]string{
		"apikey": ": did you mean api_key?", "Base_URL": ": did you mean base_url?", "model": ": did you mean models?",
		"x": ": known here are api_key, base_url, models", strings.Repeat("a", 100): ": known here are api_key, base_url, models",
	} {
		if h := hint(got, names); h != want {
			t.Errorf("%s: got %q, want %q", got, h, want)
		}
	}
}

func TestKeysNameThemselves(t *testing.T) {
	keys := Keys()
	for _, want := range []string{"nats.url", "clickhouse.embedded.enabled", "workers.max_attempts", "tenants"} {
		if !slices.ContainsFunc(keys, func(k Key) bool { return k.Path == want }) {
			t.Errorf("%s is missing in %v", want, keys)
		}
	}
	k := Key{Path: "nats.embedded.listen"}
	if k.Variable() != "SLUICE_NATS_EMBEDDED_LISTEN" || k.Flag() != "nats-embedded-listen" {
		t.Errorf("got %s and %s", k.Variable(), k.Flag())
	}
	seen := map[string]bool{}
	for _, k := range keys {
		if seen[k.Flag()] || seen[k.Variable()] {
			t.Errorf("%s is not unique", k.Path)
		}
		seen[k.Flag()], seen[k.Variable()] = true, true
	}
}

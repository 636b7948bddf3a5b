package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/analytics/engine"
	"github.com/sluicehq/sluice/analytics/store/storetest"
	"github.com/sluicehq/sluice/broker/natsd"
	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/cmd/sluice/internal/app"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestMain names the engine of the repository, which lies higher above this
// package than storetest looks.
func TestMain(m *testing.M) {
	found, _ := filepath.Glob("../../../../.engine/node_modules/@chdb/*/libchdb.*") // the pattern is well formed
	if os.Getenv(engine.EnvLib) == "" && len(found) > 0 {
		if lib, err := filepath.Abs(found[0]); err == nil {
			_ = os.Setenv(engine.EnvLib, lib) // fails on a malformed name only
		}
	}
	storetest.Main(m)
}

// terminal is where a test types commands.
type terminal struct {
	t   *testing.T
	env []string
	in  string

	steering func(*config.Config) (*router.Table, *steer.Plan, error)
}

// outcome is what one command did.
type outcome struct {
	code     int
	out, err string
}

// run types one command.
func (tm *terminal) run(args ...string) outcome {
	tm.t.Helper()
	ctx, cancel := context.WithTimeout(tm.t.Context(), 30*time.Second)
	defer cancel()
	return tm.runContext(ctx, args...)
}

func (tm *terminal) runContext(ctx context.Context, args ...string) outcome {
	tm.t.Helper()
	var out, errOut bytes.Buffer
	code := Run(ctx, Deps{Steering: tm.steering, Policy: app.Policy, Simulated: app.Simulated, Environ: tm.env, In: strings.NewReader(tm.in), Out: &out, Err: &errOut}, args)
	return outcome{code, out.String(), errOut.String()}
}

// ok runs a command that must succeed and gives its output.
func (tm *terminal) ok(args ...string) string {
	tm.t.Helper()
	r := tm.run(args...)
	if r.code != 0 {
		tm.t.Fatalf("sluice %s: status %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r.out
}

// json runs a command with --json and reads its output, all of it (I2).
func (tm *terminal) json(v any, args ...string) outcome {
	tm.t.Helper()
	r := tm.run(append(args, "--json")...)
	if err := json.Unmarshal([]byte(r.out), v); err != nil {
		tm.t.Fatalf("sluice %s --json: %v in\n%s%s", strings.Join(args, " "), err, r.out, r.err)
	}
	return r
}

// wants checks that a text has every one of some parts.
func wants(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is missing in\n%s", p, text)
		}
	}
}

// freePort is an address that nobody listens on now, another one each time.
func freePort(t *testing.T) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		_ = l.Close()
		if _, given := givenPorts.LoadOrStore(addr, true); !given {
			return addr
		}
	}
}

var givenPorts sync.Map

// brokerConfig has a pool for each thing that can happen to a job.
const brokerConfig = `
pools:
  - {name: good, adapter: simulated, models: {m: {price: {input: 1, output: 2}}}, simulated: {output_tokens: {min: 8, max: 8}}}
  - {name: free, adapter: simulated, models: {x: {}}, region: eu}
  - {name: slow, adapter: simulated, models: {s: {price: {input: 1, output: 2}}}, simulated: {ttft: 1h}}
  - {name: bad, adapter: simulated, models: {b: {price: {input: 1, output: 2}}}, simulated: {error_share: 1, errors: [server_error]}}
  - {name: worse, adapter: simulated, models: {w: {price: {input: 1, output: 2}}}, simulated: {error_share: 1, errors: [server_error]}}
routes:
  - {model: chat, candidates: [{pool: good}]}
  - {model: unknown-cost, candidates: [{pool: free}]}
  - {model: slow, candidates: [{pool: slow}]}
  - {model: bad, strategy: round_robin, candidates: [{pool: bad}]}
  - {model: worse, candidates: [{pool: worse}]}
  - {model: soft, candidates: [{pool: slow, weight: 0}, {pool: free, context: 10}], fallback: [{wait: 1ms}, {route: chat, max_tokens: 5}]}
  - {model: split, candidates: [{pool: good}]}
experiments:
  - {name: ab, route: split, variants: [{name: control}, {name: slower, candidates: [{pool: free}]}, {name: none, weight: 0, route: bad}]}
rollouts:
  - {name: v2, route: chat, key: job, to: {candidates: [{pool: good}, {pool: free, weight: 0}]}, steps: [0, 100], every: 1h, min_samples: 1}
rules:
  - {name: vip, when: 'labels[?"vip"].orValue("") == "yes"', then: {class: interactive, prefer: {fast: "yes"}, max_attempts: 9}, continue: true}
  - {name: eu, when: 'region == "eu" || tenant == "europe"', then: {route: unknown-cost, deadline: 1h}}
  - {name: broken, when: 'labels.must == "be there"', then: {route: slow}}
workers: {max_attempts: 2, retry_backoff: 1ms, drain: 1ms}
`

// startBroker runs a whole Sluice in this process, with ClickHouse at dsn if
// there is one, and gives a terminal beside it. More is added to its
// configuration.
func startBroker(t *testing.T, dsn string, more ...string) *terminal {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "sluice.yaml")
	if err := os.WriteFile(path, []byte(brokerConfig+strings.Join(more, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"SLUICE_CONFIG=" + path, "SLUICE_DATA_DIR=" + filepath.Join(dir, "data"), "SLUICE_NATS_EMBEDDED_LISTEN=" + freePort(t),
		"SLUICE_HTTP_LISTEN=" + freePort(t), "SLUICE_CLICKHOUSE_EMBEDDED_ENABLED=false", "SLUICE_ANALYTICS_FLUSH_INTERVAL=10ms", "SLUICE_RECORDS_CAPTURES=1"}
	if dsn != "" {
		env = append(env, "SLUICE_CLICKHOUSE_DSN="+dsn)
	}
	runBroker(t, env, app.Roles()...)
	return &terminal{t: t, env: env}
}

// variable is what the terminal's environment says.
func (tm *terminal) variable(name string) string {
	for _, v := range tm.env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	tm.t.Fatalf("%s is not set", name)
	return ""
}

// runBroker runs roles of Sluice until the test ends, or stop is called.
func runBroker(t *testing.T, env []string, roles ...app.Role) (stop func()) {
	t.Helper()
	cfg, err := config.Load(config.Sources{Environ: env})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- app.Run(ctx, cfg, app.Options{Roles: roles, Sources: config.Sources{Environ: env},
			Logger: slog.New(slog.DiscardHandler), Ready: func(*app.App) { close(ready) }})
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the broker ended with: %v", err)
		}
	})
	t.Cleanup(stop)
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		t.Fatalf("the broker does not start: %v", err)
	}
	if slices.Contains(roles, app.Router) { // it begins to answer a moment later
		tm := &terminal{t: t, env: env}
		eventually(t, "a router answers", func() bool { return tm.run("pool", "list").code == 0 })
	}
	return stop
}

// fakeAdmin runs a nats-server on which operations have set answers.
func fakeAdmin(t *testing.T, answers map[string]string) *terminal {
	t.Helper()
	dir := t.TempDir()
	s, err := natsd.Start(natsd.Config{DataDir: dir, Listen: freePort(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	nc, err := s.Connect("fake")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	for op, answer := range answers {
		if _, err := nc.Subscribe(wire.Subjects{}.Admin(op), func(m *nats.Msg) { _ = m.Respond([]byte(answer)) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return &terminal{t: t, env: []string{"SLUICE_NATS_EMBEDDED_LISTEN=" + s.Addr(), "SLUICE_DATA_DIR=" + dir, "SLUICE_HTTP_LISTEN=127.0.0.1:0",
		"SLUICE_CLICKHOUSE_EMBEDDED_ENABLED=false"}}
}

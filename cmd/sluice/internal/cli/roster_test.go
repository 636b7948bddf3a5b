package cli

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/cmd/sluice/internal/app"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/simulated"
)

// pool writes a pool's file.
func poolFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pool.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// refuses runs a command that must fail, and say why.
func (tm *terminal) refuses(why string, args ...string) {
	tm.t.Helper()
	if r := tm.run(args...); r.code == 0 || !strings.Contains(r.err, why) {
		tm.t.Errorf("sluice %s: status %d, %s, want %q", strings.Join(args, " "), r.code, r.err, why)
	}
}

// eventually waits for something to be so.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what + ": not within 20 s")
		}
	}
}

func (tm *terminal) pool(name string) (found *poolAnswer) {
	var pools poolsAnswer
	tm.json(&pools, "pool", "list")
	for i := range pools.Pools {
		if pools.Pools[i].Name == name {
			found = &pools.Pools[i]
		}
	}
	return found
}

// TestPoolAddRemove: a pool that is added while running takes jobs at once, is
// there after a change of another, and goes when its attempts have ended. No
// attempt of any pool is cut by that.
func TestPoolAddRemove(t *testing.T) {
	tm := startBroker(t, "")
	const extra = "{name: extra, adapter: simulated, models: {m: {price: {input: 1, output: 2}}}, routes: [chat, new], simulated: {ttft: 2s, output_tokens: {min: 2, max: 2}}}"
	out := tm.ok("pool", "add", poolFile(t, extra))
	wants(t, out, "pool extra takes jobs of chat, new")
	if p := tm.pool("extra"); p == nil || !p.Added {
		t.Fatalf("%+v", p)
	}
	slow := strings.TrimSpace(tm.ok("submit", "--no-wait", "--model", "new", "hello"))
	eventually(t, "the job runs", func() bool { return strings.Contains(tm.ok("job", "get", slow), "running") })
	// A second pool, and a change of it: the first one's attempt goes on.
	tm.ok("pool", "add", poolFile(t, "{name: other, adapter: simulated, models: {m: {}}}"))
	wants(t, tm.ok("pool", "add", poolFile(t, "{name: other, adapter: simulated, region: mars, models: {m: {}}, concurrency: 3}")), "pool other is there, but no route has it")
	if p := tm.pool("other"); p == nil || p.Region != "mars" || p.Concurrency != 3 {
		t.Errorf("%+v", p)
	}
	r := tm.run("pool", "remove", "extra")
	if r.code != 0 || tm.pool("extra") != nil {
		t.Errorf("%+v", r)
	}
	wants(t, r.out, "pool extra is removed")
	var a wire.Answer
	tm.json(&a, "job", "get", slow)
	if a.Status != wire.Succeeded || a.Attempts != 1 {
		t.Errorf("the attempt that ran: %s after %d attempts", a.Status, a.Attempts)
	}
	tm.refuses("no route is called", "submit", "--model", "new", "hello")
	tm.refuses("is in the configuration", "pool", "remove", "good")
	tm.refuses("no pool is called", "pool", "remove", "nobody")
	tm.refuses("is in the configuration already", "pool", "add", poolFile(t, "{name: good, adapter: simulated, models: {m: {}}}"))
	tm.refuses("must be env:NAME or file:PATH", "pool", "add", poolFile(t, "{name: x, api_key: sk-secret, models: {m: {}}}"))
	tm.refuses("is not set", "pool", "add", poolFile(t, "{name: x, api_key: env:NOBODY_SET_THIS, models: {m: {}}}"))
	tm.refuses("unknown key", "pool", "add", poolFile(t, "{name: x, adapter: simulated, models: {m: {}}, wieght: 3}"))
	tm.refuses("must be a mapping", "pool", "add", poolFile(t, "just text"))
	if r := tm.run("pool", "add", poolFile(t, "{name: x, api_key: sk-secret, models: {m: {}}}")); strings.Contains(r.err+r.out, "sk-secret") {
		t.Error("the key is shown")
	}
}

// TestDiscoverModels: a pool's models are those of its provider, and follow it.
func TestDiscoverModels(t *testing.T) {
	p, err := simulated.New(simulated.Config{Models: []string{"alpha", "beta"}, MinTokens: 2, MaxTokens: 2})
	if err != nil {
		t.Fatal(err)
	}
	provider := httptest.NewServer(http.StripPrefix("/v1", p))
	defer provider.Close()
	tm := startBroker(t, "")
	tm.ok("pool", "add", poolFile(t, "{name: found, base_url: "+provider.URL+"/v1, discover_models: true, routes: [beta]}"))
	eventually(t, "models found", func() bool { p := tm.pool("found"); return p != nil && len(p.Models) == 2 })
	wants(t, tm.ok("pool", "list"), "alpha?, beta?")
	eventually(t, "the job runs", func() bool { return tm.run("submit", "--model", "beta", "hello").code == 0 })
	tm.ok("pool", "remove", "found")
}

// TestAddedPoolsStay: a pool that is added at a router is served by a worker in
// another process, and is there after a new start of both.
func TestAddedPoolsStay(t *testing.T) {
	dir, nats := t.TempDir(), freePort(t)
	path := filepath.Join(dir, "sluice.yaml")
	if err := os.WriteFile(path, []byte("pools: [{name: good, adapter: simulated, models: {m: {}}}]\nroutes: [{model: chat, candidates: [{pool: good}]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"SLUICE_CONFIG=" + path, "SLUICE_DATA_DIR=" + filepath.Join(dir, "data"), "SLUICE_NATS_EMBEDDED_LISTEN=" + nats,
		"SLUICE_HTTP_LISTEN=" + freePort(t), "SLUICE_CLICKHOUSE_EMBEDDED_ENABLED=false"}
	remote := append(slices.Clone(env), "SLUICE_NATS_URL=nats://"+nats, "SLUICE_DATA_DIR="+filepath.Join(dir, "worker"))
	tm := &terminal{t: t, env: env}
	for round := range 2 {
		stopRouter := runBroker(t, env, app.Router)
		stopWorker := runBroker(t, remote, app.Worker)
		if round == 0 {
			tm.ok("pool", "add", poolFile(t, "{name: extra, adapter: simulated, models: {m: {}}, routes: [new]}"))
		}
		if out := tm.ok("submit", "--model", "new", "--timeout", "20s", "hello"); out == "" {
			t.Error("no answer")
		}
		if p := tm.pool("extra"); p == nil || p.Workers != 1 || !p.Added {
			t.Errorf("round %d: %+v", round, p)
		}
		stopWorker()
		stopRouter()
	}
}

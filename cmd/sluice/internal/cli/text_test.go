package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
	"github.com/sluicehq/sluice/cmd/sluice/internal/app"
)

// What a tenant keeps is shown, found and deleted on the command line, on a
// whole broker and the real engine; wrong usage says what would be right.
func TestTextCommands(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sluice.yaml")
	const text = `
pools: [{name: sim, adapter: simulated, models: {m: {price: {input: 1, output: 2}}}}]
routes: [{model: chat, candidates: [{pool: sim}]}]
tenants: [{name: acme, key: "env:KEY", text: {keep: 1h}}]
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"SLUICE_CONFIG=" + path, "SLUICE_DATA_DIR=" + filepath.Join(dir, "data"), "SLUICE_NATS_EMBEDDED_LISTEN=" + freePort(t),
		"SLUICE_HTTP_LISTEN=" + freePort(t), "SLUICE_ANALYTICS_FLUSH_INTERVAL=10ms", "SLUICE_CLICKHOUSE_DSN=" + storetest.DSN(t), "KEY=acme-key"}
	runBroker(t, env, app.Roles()...)
	tm := &terminal{t: t, env: env}
	for _, id := range []string{"one", "two"} {
		tm.ok("submit", "--id", id, "--model", "chat", "zanzibar "+id+", says jo@ex.org")
	}
	var found struct{ Texts []store.TextJSON }
	eventually(t, "both are kept", func() bool {
		r := tm.run("text", "search", "Zanzibar", "--json")
		return r.code == 0 && strings.Count(r.out, `"job_id"`) == 2
	})
	wants(t, tm.ok("job", "text", "one"), "acme/one", "attempt 1 at sim/m", "succeeded", "left out: 1 email", "user: zanzibar one, says [email]", "── answer")
	tm.json(&found, "text", "search", "one", "zanzibar", "--since", "1h", "--tenant", "acme")
	if len(found.Texts) != 1 || found.Texts[0].Job != "one" || found.Texts[0].Redactions["email"] != 1 || found.Texts[0].Answer == "" {
		t.Errorf("found %+v", found)
	}
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{1, "nothing is kept of job none of tenant acme", []string{"job", "text", "none"}},
		{1, "no text that is kept has these words", []string{"text", "search", "nowhere"}},
		{2, "words of letters and digits", []string{"text", "search", "?!"}},
		{2, "", []string{"text", "search"}},
		{2, "--limit", []string{"text", "search", "x", "--limit", "0"}},
		{2, "--since", []string{"text", "search", "x", "--since", "soon"}},
		{2, "--tenant", []string{"text", "delete", "--all"}},
		{2, "--all", []string{"text", "delete", "--tenant", "acme"}},
		{2, "--all", []string{"text", "delete", "--tenant", "acme", "--all", "--job", "x"}},
		{2, "A-Za-z0-9_-", []string{"text", "delete", "--tenant", "acme", "--job", "a b"}},
		{2, "A-Za-z0-9_-", []string{"job", "text", "a b"}},
	} {
		if r := tm.run(c.args...); r.code != c.code || !strings.Contains(r.err, c.want) {
			t.Errorf("%v: status %d, %s%s; want %d and %q", c.args, r.code, r.out, r.err, c.code, c.want)
		}
	}
	tm.ok("text", "delete", "--tenant", "acme", "--job", "one")
	eventually(t, "one is left", func() bool { return tm.run("job", "text", "one").code == 1 })
	wants(t, tm.ok("job", "text", "two"), "zanzibar two")
	tm.ok("text", "delete", "--tenant", "acme", "--all", "--json")
	eventually(t, "none is left", func() bool { return tm.run("job", "text", "two").code == 1 })
}

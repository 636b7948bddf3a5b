package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// TestWrongUsage: every one is status 2, with a sentence on standard error and
// nothing on standard output (I1). None of them looks for a server.
func TestWrongUsage(t *testing.T) {
	tm := &terminal{t: t, env: []string{"SLUICE_NATS_EMBEDDED_LISTEN=" + freePort(t), "SLUICE_CLICKHOUSE_EMBEDDED_PASSWORD=x"}}
	dir := t.TempDir()
	notJSON := filepath.Join(dir, "r.json")
	if err := os.WriteFile(notJSON, []byte("[1]"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("color: red"), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"bogus":                               `no command "bogus"`,
		"submitt":                             "did you mean submit?",
		"job":                                 "sluice job needs a command",
		"job bogus":                           `sluice job has no command "bogus"`,
		"submit --bogus":                      "unknown flag",
		"submit":                              "there is no prompt",
		"submit a b":                          "put the prompt in quotes",
		"submit a --class urgent":             "--class",
		"submit a --endpoint /v2":             "--endpoint",
		"submit a --label x":                  "name=value",
		"submit a --label =x":                 "name=value",
		"submit a --max-cost 1e3":             "--max-cost",
		"submit a --deadline soon":            "--deadline",
		"submit a --deadline -5s":             "--deadline",
		"submit a --not-before 2026-13-01":    "--not-before",
		"submit a --no-wait --stream":         "exclude each other",
		"submit a --file " + notJSON:          "exclude each other",
		"submit --file " + notJSON:            "not a JSON object",
		"submit --file /no/such/file":         "cannot be read",
		"job get":                             "takes one job ID",
		"job get a.b":                         "does not match",
		"job list --limit 0":                  "--limit",
		"job list --status queued":            "--status",
		"job list --status x":                 "--status",
		"cost --by colour":                    `no dimension "colour"`,
		"cost --where pool":                   "name=value",
		"cost --where colour=red":             `no dimension "colour"`,
		"cost --since yesterday":              "--since",
		"cost --until -1h":                    "--until",
		"cost --limit 0":                      "--limit",
		"cost x":                              "takes no arguments",
		"sql":                                 "takes one statement",
		"sql x --csv --json":                  "exclude each other",
		"sql -":                               "the statement is empty",
		"route explain a b":                   "one model",
		"route explain --file /no/such/file":  "cannot be read",
		"dead requeue":                        "name one job, or --all",
		"dead requeue a --all":                "name one job, or --all",
		"config validate --config " + bad:     "bad.yaml:1: color = red: unknown key",
		"config show --config " + bad:         "unknown key",
		"submit a --config " + bad:            "unknown key",
		"submit a --config /no/such/file":     "no such file",
		"submit a --tenant a.*":               `tenant "a.*" must match`,
		"pool list --set nothing":             "is not key=value",
		"pool list --set a.b=1":               "unknown key",
		"pool list --nats http://h":           "--nats-url: nats.url = http://h: must be nats://",
		"config validate --http-listen :8080": "must be a loopback address",
	} {
		r := tm.run(strings.Fields(line)...)
		if r.code != 2 || r.out != "" || !strings.Contains(r.err, want) || !strings.HasPrefix(r.err, "error: ") {
			t.Errorf("sluice %s: status %d, want 2 and %q\n%s%s", line, r.code, want, r.out, r.err)
		}
	}
}

// TestNobodyThere: every client fails with status 1 and says what to do.
func TestNobodyThere(t *testing.T) {
	tm := &terminal{t: t, env: []string{"SLUICE_NATS_EMBEDDED_LISTEN=" + freePort(t), "SLUICE_CLICKHOUSE_DSN=http://default:geheim@" + freePort(t)}}
	for _, line := range []string{"submit hello", "job get a", "job list", "job cancel a", "job watch a", "job trace a", "pool list",
		"route list", "route explain", "dead list", "dead show a", "dead requeue a", "cost", "sql SELECT/**/1", "job list --json"} {
		r := tm.run(strings.Fields(line)...)
		if r.code != 1 || r.out != "" || !strings.Contains(r.err, "\nhint:  ") || strings.Contains(r.err, "geheim") {
			t.Errorf("sluice %s: status %d\n%s%s", line, r.code, r.out, r.err)
		}
	}
}

func TestAdminEdge(t *testing.T) {
	tm := fakeAdmin(t, map[string]string{
		"pools":       `{"pools":[{"name":"p\u001b[31m","draining":true,"models":[{"name":"m"}]}]}`,
		"routes":      `not json`,
		"jobs":        `{"error":{"code":"internal_error","message":"the disk\u0007 is full"}}`,
		"dead.list":   `{}`,
		"dead.show":   `{"dead":{"job_id":"a","history":null}}`,
		"explain":     `{"decisions":[{"decision":{"r":"chat","sg":"s","c":[{"p":"a","m":"b","x":"draining"}]}}],"decision":{"r":"chat"},"waits":true}`,
		"health":      `{"error":{"code":"unavailable","message":"no quorum"}}`,
		"dead.requeu": `{}`,
	})
	wants(t, tm.ok("pool", "list"), "p·[31m (draining)", "m?")
	wants(t, tm.ok("dead", "list"), "JOB")
	wants(t, tm.ok("dead", "show", "a"), "job         a")
	wants(t, tm.ok("route", "explain"), "route chat, s: none", "draining", "the job would wait")
	for line, want := range map[string]string{
		"route list":     "is not understood",
		"job list":       "internal_error: the disk· is full",
		"dead requeue a": "no Sluice router answers on sluice.admin.dead.requeue",
	} {
		if r := tm.run(strings.Fields(line)...); r.code != 1 || r.out != "" || !strings.Contains(r.err, want) {
			t.Errorf("sluice %s: %+v", line, r)
		}
	}
	wants(t, tm.run("doctor").out, "fail  router        unavailable: no quorum")
}

func TestConfigCommands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	text := "pools: [{name: p, api_key: geheim, models: {m: {price: {input: 1, output: 2.5}}}}]\nhttp: {listen: 127.0.0.1:1}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tm := &terminal{t: t, env: []string{"SLUICE_CONFIG=" + path, "SLUICE_DATA_DIR=from-variable"}}
	r := tm.run("config", "validate")
	if r.code != 0 || r.out != path+" is valid: 1 pool, 1 route, 0 tenants\n" || !strings.Contains(r.err, "warning: c.yaml: pools[0].api_key is written out") {
		t.Errorf("got %+v", r)
	}
	var report struct {
		Valid    bool
		Faults   []config.Fault
		Warnings []string
	}
	if tm.json(&report, "config", "validate"); !report.Valid || len(report.Warnings) != 1 {
		t.Errorf("got %+v", report)
	}
	r = tm.json(&report, "config", "validate", "--workers-max-attempts", "0", "--set", "pools.p.weight=-1")
	if r.code != 2 || report.Valid || len(report.Faults) != 2 || report.Faults[0].Key != "workers.max_attempts" && report.Faults[1].Key != "workers.max_attempts" {
		t.Errorf("got %+v", r)
	}
	r = tm.run("config", "show", "--http-listen", "127.0.0.1:2", "--data-dir", "from-flag", "--set", "pools.p.weight=7")
	wants(t, r.out, "listen: 127.0.0.1:2", "data_dir: from-flag", "api_key: '***'", "weight: 7", "price: {input: 1, cache_read: 1, cache_write: 1, output: 2.5, reasoning: 2.5}")
	if r.code != 0 || strings.Contains(r.out+r.err, "geheim") {
		t.Errorf("got %+v", r)
	}
	var tree map[string]any
	if tm.json(&tree, "config", "show"); tree["data_dir"] != "from-variable" {
		t.Errorf("got %v", tree)
	}
}

// TestServerCommands: what main adds sees the same flags, and its errors get
// the same statuses.
func TestServerCommands(t *testing.T) {
	for _, tc := range []struct {
		args string
		err  error
		want int
	}{
		{"up --http-listen 127.0.0.1:9", nil, 0},
		{"up --http-listen 127.0.0.1:9", errors.New("it broke"), 1},
		{"up --http-listen 127.0.0.1:9", fmt.Errorf("wrapped: %w", context.Canceled), 1},
		{"up --http-listen 9", nil, 2},
		{"up --config /no/such/file", nil, 2},
		{"up --bogus", nil, 2},
	} {
		var got *config.Config
		up := &cobra.Command{Use: "up", RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if got, err = LoadConfig(cmd); err != nil {
				return err
			}
			return tc.err
		}}
		ConfigFlags(up)
		var errOut strings.Builder
		code := Run(t.Context(), Deps{Commands: []*cobra.Command{up}, Out: &errOut, Err: &errOut}, strings.Fields(tc.args))
		if code != tc.want || tc.want < 2 && got.HTTP.Listen != "127.0.0.1:9" {
			t.Errorf("%s with %v: status %d\n%s", tc.args, tc.err, code, errOut.String())
		}
	}
	if _, err := LoadConfig(&cobra.Command{}); err == nil {
		t.Error("a command outside")
	}
}

func TestEveryCommandIsDescribed(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || c.RunE == nil && c.Run == nil {
			t.Errorf("%s has no description, or does nothing", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(New(Deps{}))
	var out strings.Builder
	if code := Run(t.Context(), Deps{Version: "9.9", Out: &out}, []string{"--version"}); code != 0 || !strings.Contains(out.String(), "9.9") {
		t.Errorf("status %d: %s", code, out.String())
	}
}

func TestExplainErrors(t *testing.T) {
	for _, tc := range []struct {
		err       error
		code      int
		msg, hint string
	}{
		{usage("do", "wrong %d", 1), 2, "wrong 1", "do"},
		{fmt.Errorf("outer: %w", failed(errors.New("x"), "do", "inner")), 1, "inner", "do"},
		{config.Faults{{Where: "f", Line: 3, Key: "k", Bound: "b"}}, 2, "f:3: k: b", "nothing was started"},
		{&sdk.Error{Code: wire.CodeUnavailable, Message: "m"}, 1, "unavailable", "sluice up"},
		{&sdk.Error{Code: wire.CodePermission, Message: "m"}, 1, "m", "--key"},
		{&sdk.Error{Code: wire.CodeBacklogFull, Message: "m"}, 1, "m", "too many jobs"},
		{&sdk.Error{Code: wire.CodeIDConflict, Message: "m"}, 1, "m", "one job"},
		{&sdk.Error{Code: wire.CodeInternal, Message: "m"}, 1, "m", ""},
		{context.DeadlineExceeded, 1, "no answer in time", "doctor"},
		{context.Canceled, 1, "interrupted", ""},
		{errors.New("plain"), 0, "plain", ""},
	} {
		f := explain(tc.err)
		if f.code != tc.code || !strings.Contains(f.msg, tc.msg) || !strings.Contains(f.hint, tc.hint) || tc.hint == "" && f.hint != "" {
			t.Errorf("%v: got %+v", tc.err, f)
		}
	}
	if silent(2).Error() == "" || !errors.Is(failed(context.Canceled, "", ""), context.Canceled) {
		t.Error("the cause is kept")
	}
}

func TestIdentity(t *testing.T) {
	one := &config.Config{Tenants: []config.Tenant{{Name: "acme", Key: config.NewSecret("k")}}}
	two := &config.Config{Tenants: append(one.Tenants, config.Tenant{Name: "other", Key: config.NewSecret("o")})}
	for _, tc := range []struct {
		c                      *config.Config
		env                    []string
		tenant, key, who, key2 string
	}{
		{&config.Config{}, nil, "", "", "default", ""},
		{&config.Config{}, []string{"SLUICE_TENANT=env", "SLUICE_KEY=ek"}, "", "", "env", "ek"},
		{&config.Config{}, []string{"SLUICE_TENANT=env"}, "flag", "fk", "flag", "fk"},
		{one, nil, "", "", "acme", "k"},
		{two, nil, "", "", "default", ""},
		{two, nil, "other", "", "other", "o"},
		{two, nil, "other", "given", "other", "given"},
	} {
		g := &globals{tenant: tc.tenant, key: tc.key, deps: Deps{Environ: tc.env}}
		if who, key := g.identity(tc.c); who != tc.who || key != tc.key2 {
			t.Errorf("%+v: got %s, %s", tc, who, key)
		}
	}
}

func TestWhereThingsAre(t *testing.T) {
	for listen, want := range map[string]string{"127.0.0.1:1": "127.0.0.1:1", ":2": "127.0.0.1:2", "0.0.0.0:3": "127.0.0.1:3", "[::]:4": "[::1]:4", "x": "x"} {
		if got := dialable(listen); got != want {
			t.Errorf("%s: got %s", listen, got)
		}
	}
	c := &config.Config{DataDir: t.TempDir()}
	c.ClickHouse.Embedded.Listen = "0.0.0.0:8123"
	if _, err := clickhouseDSN(c); explain(err).code != 2 {
		t.Errorf("no ClickHouse: %v", err)
	}
	c.ClickHouse.Embedded.Enabled = true
	if _, err := clickhouseDSN(c); explain(err).code != 1 || !strings.Contains(explain(err).hint, "--data-dir") {
		t.Errorf("no password: %v", err)
	}
	if err := os.WriteFile(filepath.Join(c.DataDir, clickhousePasswordFile), []byte("p/w@\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if dsn, err := clickhouseDSN(c); err != nil || dsn != "http://default:p%2Fw%40@127.0.0.1:8123/sluice" {
		t.Errorf("got %s, %v", dsn, err)
	}
	c.ClickHouse.Embedded.Password = config.NewSecret("given")
	if dsn, _ := clickhouseDSN(c); !strings.Contains(dsn, ":given@") {
		t.Errorf("got %s", dsn)
	}
	c.ClickHouse.DSN = config.NewURL("clickhouse://h:9000")
	if dsn, _ := clickhouseDSN(c); dsn != "clickhouse://h:9000" {
		t.Errorf("got %s", dsn)
	}
}

func TestTimes(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{"": {}, "90m": now.Add(-90 * time.Minute), "7d": now.Add(-7 * 24 * time.Hour),
		"2026-01-01T00:00:00Z": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if got, err := ago("since", s, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v", s, got, err)
		}
	}
	at, d, err := moment("deadline", "2026-01-31T12:00:00+01:00")
	if err != nil || d != 0 || !at.Equal(now.Add(-time.Hour)) {
		t.Errorf("got %v, %v, %v", at, d, err)
	}
	if at, d, err = moment("deadline", "2h"); err != nil || d != 2*time.Hour || !at.IsZero() {
		t.Errorf("got %v, %v, %v", at, d, err)
	}
	if got := localTime("nonsense"); got != "nonsense" {
		t.Errorf("got %s", got)
	}
}

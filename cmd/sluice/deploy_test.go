package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/cmd/sluice/internal/app"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

const deploy = "../../deploy/"

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func loadConfig(t *testing.T, path string, environ ...string) *config.Config {
	t.Helper()
	src := config.Sources{Path: path, Environ: environ, Adapters: app.Adapters()}
	for _, s := range router.Strategies() {
		src.Strategies = append(src.Strategies, s.Name)
	}
	c, err := config.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The example is valid, its defaults are the real ones, and no key is missing.
func TestDeployConfig(t *testing.T) {
	const path = deploy + "sluice.yaml"
	c := loadConfig(t, path, "OPENAI_API_KEY=k")
	empty := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := loadConfig(t, empty)
	for _, pair := range [][2]any{{c.NATS, d.NATS}, {c.ClickHouse, d.ClickHouse}, {c.HTTP, d.HTTP}, {c.Records, d.Records}, {c.Workers, d.Workers},
		{c.Analytics, d.Analytics}, {c.Alerts, d.Alerts}, {c.SubjectPrefix, d.SubjectPrefix}, {c.DataDir, d.DataDir}} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("said to be the default: %+v, but that is %+v", pair[0], pair[1])
		}
	}
	text := readFile(t, path)
	for _, k := range config.Keys() {
		leaf := k.Path[strings.LastIndexByte(k.Path, '.')+1:]
		if !regexp.MustCompile(`(?m)^[ #]*` + leaf + `:`).MatchString(text) {
			t.Errorf("the key %s is not in %s", k.Path, path)
		}
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %q", c.Warnings)
	}
}

// The external NATS is what the embedded one is: same bounds, and a tenant who
// can submit its own jobs and hear nobody else.
func TestDeployNATS(t *testing.T) {
	t.Setenv("SLUICE_NATS_PASSWORD", "inner")
	t.Setenv("ACME_KEY", "outer")
	o, err := server.ProcessConfigFile(deploy + "nats/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	if o.MaxPayload != wire.MaxPayload || o.SyncInterval != time.Second || o.SyncAlways || o.MaxPending != 256<<20 ||
		o.JetStreamLimits.MaxBatchSize != 100_000 || o.JetStreamLimits.MaxBatchInflightPerStream != 1000 {
		t.Errorf("not as the embedded server: %d %s %v %d %+v", o.MaxPayload, o.SyncInterval, o.SyncAlways, o.MaxPending, o.JetStreamLimits)
	}
	o.StoreDir, o.Host, o.Port, o.HTTPPort, o.NoSigs, o.NoLog = t.TempDir(), "127.0.0.1", server.RANDOM_PORT, 0, true, true
	srv, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("not ready")
	}
	nc, err := nats.Connect(srv.ClientURL(), nats.UserInfo("sluice", "inner"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := topology.Ensure(t.Context(), js, topology.Config{}); err != nil {
		t.Fatal(err)
	}
	acme, err := sdk.Dial(t.Context(), srv.ClientURL(), sdk.WithTenant("acme"), sdk.WithKey("outer"))
	if err != nil {
		t.Fatal(err)
	}
	defer acme.Close()
	if _, err := acme.Submit(t.Context(), sdk.Job{Request: sdk.Prompt("chat", "hello")}); err != nil {
		t.Errorf("a tenant's own job: %v", err)
	}
	if err := acme.Conn().PublishMsg(&nats.Msg{Subject: wire.Subjects{}.Jobs("globex", wire.Batch), Reply: "_INBOX.x"}); err != nil {
		t.Fatal(err)
	}
	if err := acme.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	if err := acme.Conn().LastError(); err == nil || !strings.Contains(err.Error(), "Permissions Violation") {
		t.Errorf("another tenant's job: %v", err)
	}
}

// compose is what the tests look at in compose.yaml.
type compose struct {
	Services map[string]struct {
		Image       string
		Command     []string
		Environment map[string]string
		Volumes     []string
	}
	Volumes map[string]any
}

func TestDeployCompose(t *testing.T) {
	const dir = deploy + "compose/"
	text := readFile(t, dir+"compose.yaml")
	var c compose
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	environ := []string{"SLUICE_NATS_URL=nats://sluice:x@nats:4222", "SLUICE_CLICKHOUSE_DSN=clickhouse://default:x@clickhouse:9000", "SLUICE_HTTP_LISTEN=0.0.0.0:8080", "ACME_KEY=k"}
	loadConfig(t, dir+"sluice.yaml", environ...)
	var roles []string
	for name, s := range c.Services {
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, named := c.Volumes[from]; !named {
				readFile(t, dir+from)
			}
		}
		if s.Image != "sluice" {
			continue
		}
		if s.Environment["SLUICE_NATS_URL"] == "" || s.Environment["SLUICE_CLICKHOUSE_DSN"] == "" {
			t.Errorf("%s does not know where NATS and ClickHouse are", name)
		}
		flags := parseCommand(t, serveCommand(), s.Command)
		if _, err := parseRoles(flags["role"]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		roles = append(roles, flags["role"]...)
	}
	slices.Sort(roles)
	if strings.Join(roles, " ") != "gateway ingest router worker" {
		t.Errorf("roles: %v", roles)
	}
	example := readFile(t, dir+".env.example")
	for _, m := range regexp.MustCompile(`\$\{([A-Z_]+)`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(example, m[1]+"=") {
			t.Errorf(".env.example lacks %s", m[1])
		}
	}
	docker := readFile(t, dir+"Dockerfile")
	version := regexp.MustCompile(`(?m)^go (1\.\d+)`).FindStringSubmatch(readFile(t, "../../go.mod"))[1]
	if !strings.Contains(docker, "FROM golang:"+version+" ") || !strings.Contains(docker, "CGO_ENABLED=0 go build") {
		t.Errorf("Dockerfile does not build with Go %s and without cgo", version)
	}
	for _, m := range regexp.MustCompile(`(?m)^COPY (?:--from=\S+ )?(cmd/\S+)(?: (cmd/\S+))?`).FindAllStringSubmatch(docker, -1) { // the dashboard
		for _, folder := range m[1:] {
			if info, err := os.Stat("../../" + folder); folder != "" && (err != nil || !info.IsDir()) {
				t.Errorf("Dockerfile copies %s, which is no folder", folder)
			}
		}
	}
	if !strings.Contains(docker, "COPY --from=web") {
		t.Error("the image has no dashboard")
	}
}

// parseCommand gives the flags of a command line of sluice, which must exist.
func parseCommand(t *testing.T, cmd *cobra.Command, words []string) map[string][]string {
	t.Helper()
	if len(words) == 0 || words[0] != cmd.Name() {
		t.Fatalf("command %v is not sluice %s", words, cmd.Name())
	}
	out := map[string][]string{}
	for i := 1; i+1 < len(words); i += 2 {
		name, ok := strings.CutPrefix(words[i], "--")
		global := slices.Contains([]string{"config", "data-dir"}, name)
		if !ok || cmd.Flags().Lookup(name) == nil && !global {
			t.Fatalf("sluice %s has no flag %s", cmd.Name(), words[i])
		}
		out[name] = strings.Split(words[i+1], ",")
	}
	return out
}

func TestDeploySystemd(t *testing.T) {
	text := readFile(t, deploy+"systemd/sluice.service")
	get := func(key string) string {
		m := regexp.MustCompile(`(?m)^` + key + `=(.*)$`).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("no %s", key)
		}
		return m[1]
	}
	words := strings.Fields(get("ExecStart"))
	flags := parseCommand(t, upCommand(), words[1:])
	if flags["data-dir"][0] != "/var/lib/"+get("StateDirectory") {
		t.Errorf("the data folder %v is not the unit's state directory", flags["data-dir"])
	}
	stop, err := time.ParseDuration(get("TimeoutStopSec"))
	if drain := loadConfig(t, deploy+"sluice.yaml", "OPENAI_API_KEY=k").Workers.Drain; err != nil || stop < 2*drain {
		t.Errorf("TimeoutStopSec %s (%v) leaves no time to drain for %s", stop, err, drain)
	}
}

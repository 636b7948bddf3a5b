package app_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/cmd/sluice/internal/app"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk"
)

// running runs a whole Sluice, without ClickHouse, while f uses it, and stops
// it. http is more of that section.
func running(t *testing.T, upstream, http string, f func(*app.App, *sdk.Client)) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "sluice.yaml")
	text := fmt.Sprintf(`
nats: {embedded: {listen: "127.0.0.1:0"}}
clickhouse: {embedded: {enabled: false}}
http: {listen: "127.0.0.1:0"%s}
data_dir: %s
workers: {retry_backoff: 10ms}
pools:
  - {name: up, adapter: openai, base_url: "%s/v1", api_key: "env:TRACED_KEY", models: {m: {price: {input: 1, output: 2}}}}
routes:
  - {model: chat, strategy: round_robin, candidates: [{pool: up, model: m}]}
`, http, filepath.Join(dir, "data"), upstream)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	src := config.Sources{Path: path, Adapters: app.Adapters(), Environ: []string{"TRACED_KEY=secret-key"}}
	for _, s := range router.Strategies() {
		src.Strategies = append(src.Strategies, s.Name)
	}
	cfg, err := config.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	ready, ended := make(chan *app.App, 1), make(chan error, 1)
	go func() { // ends with ctx, and is waited for below
		ended <- app.Run(ctx, cfg, app.Options{Roles: []app.Role{app.Gateway, app.Router, app.Worker}, Sources: src,
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Ready: func(a *app.App) { ready <- a }})
	}()
	select {
	case a := <-ready:
		nc, err := a.Connect("test")
		if err != nil {
			t.Fatal(err)
		}
		client, err := sdk.Dial(ctx, "", sdk.WithConn(nc), sdk.WithTenant("acme"))
		if err != nil {
			t.Fatal(err)
		}
		f(a, client)
		client.Close()
		nc.Close()
		stop()
		err = <-ended
		if err != nil {
			t.Fatal(err)
		}
	case err := <-ended:
		t.Fatalf("it does not start: %v", err)
	}
}

// A call to a pool that is down ends by http.timeout, and so does its job.
func TestHTTPTimeoutOfADeadPool(t *testing.T) {
	for _, stream := range []string{"", `"stream":true,`} {
		running(t, "http://127.0.0.1:1", ", timeout: 1s", func(a *app.App, client *sdk.Client) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+a.HTTPAddr()+"/v1/chat/completions",
				strings.NewReader(`{"model":"chat",`+stream+`"messages":[{"role":"user","content":"hi"}]}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Sluice-Tenant", "acme")
			begin := time.Now()
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil || res.StatusCode != http.StatusGatewayTimeout || !strings.Contains(string(answer), "deadline_exceeded") {
				t.Errorf("%d %s, %v", res.StatusCode, answer, err)
			}
			if took := time.Since(begin); took < time.Second/2 { // it may end when nothing can come of it any more
				t.Errorf("after %v", took)
			}
			r, err := client.Attach(res.Header.Get("Sluice-Job")).Wait(t.Context())
			if err != nil || r.Status != sdk.Expired {
				t.Errorf("the job is %+v, %v", r, err)
			}
		})
	}
}

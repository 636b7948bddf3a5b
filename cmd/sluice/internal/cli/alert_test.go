package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluicehq/sluice/analytics/alert"
	"github.com/sluicehq/sluice/analytics/store/storetest"
	"github.com/sluicehq/sluice/cmd/sluice/internal/app"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestAlerts runs jobs that fail, and one without a price, through a whole
// broker into the real ClickHouse: alerts are raised, listed everywhere, and
// sent to a webhook.
func TestAlerts(t *testing.T) {
	var mu sync.Mutex
	var sent []alert.Event
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var e alert.Event
		if err := json.Unmarshal(body, &e); err != nil || !strings.HasPrefix(r.Header.Get("Webhook-Signature"), "v1,") {
			t.Errorf("%s: %v", body, err)
		}
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, e)
	}))
	t.Cleanup(hook.Close)
	dir := t.TempDir()
	path := filepath.Join(dir, "sluice.yaml")
	text := fmt.Sprintf(`
pools: # too few failures to open a circuit, and more than are allowed
  - {name: flaky, adapter: simulated, models: {m: {price: {input: 1, output: 2}}}, simulated: {error_share: 0.3, errors: [server_error]}}
  - {name: free, adapter: simulated, models: {x: {}}}
routes: [{model: flaky, candidates: [{pool: flaky}]}, {model: unknown-cost, candidates: [{pool: free}]}]
workers: {max_attempts: 3, retry_backoff: 1ms, drain: 1ms}
webhooks: {secret: 'env:HOOK'}
alerts: {every: 1s, samples: 5, raise_after: 1, error_rate: 0.02, webhooks: [%s]}
`, hook.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freePort(t)
	env := []string{"SLUICE_CONFIG=" + path, "SLUICE_DATA_DIR=" + filepath.Join(dir, "data"), "SLUICE_NATS_EMBEDDED_LISTEN=" + freePort(t),
		"SLUICE_HTTP_LISTEN=" + address, "SLUICE_ANALYTICS_FLUSH_INTERVAL=10ms", "SLUICE_CLICKHOUSE_DSN=" + storetest.DSN(t), "HOOK=a secret of some length"}
	runBroker(t, env, app.Roles()...)
	tm := &terminal{t: t, env: env}
	wants(t, tm.ok("alert", "list"), "no alerts")
	for range 40 {
		tm.ok("submit", "--model", "flaky", "--no-wait", "hello")
	}
	tm.ok("submit", "--model", "unknown-cost", "hello")
	var list alertsAnswer
	eventually(t, "both are raised", func() bool { tm.json(&list, "alert", "list"); return len(list.Alerts) == 2 })
	for _, a := range list.Alerts {
		switch {
		case a.Kind == wire.AlertErrorRate && a.Subject["pool"] == "flaky" && a.Raised && a.Value > 0.05 && a.Samples >= 5:
		case a.Kind == wire.AlertUnpriced && a.Subject["model"] == "x" && a.Subject["pool"] == "free":
		default:
			t.Errorf("got %+v", a)
		}
	}
	wants(t, tm.ok("alert", "list", "--all"), "KIND", "error_rate  pool=flaky", "raised", "% of ", "attempts at pool flaky failed")
	wants(t, tm.ok("top", "--once", "--wait", "0s"), "ALERT error_rate: ", "ALERT unpriced: ")
	if out := tm.ok("alert", "list", "--tenant", "acme"); !strings.Contains(out, "no alerts") {
		t.Errorf("of a tenant: %s", out)
	}
	for url, part := range map[string]string{"/admin/v1/alerts?all=true": `"kind":"unpriced"`, "/metrics": `sluice_alert_raised{kind="error_rate",subject="pool=flaky"} 1`} {
		r, err := http.Get("http://" + address + url)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if !strings.Contains(string(body), part) {
			t.Errorf("%s: %s", url, body)
		}
	}
	eventually(t, "both are sent", func() bool { mu.Lock(); defer mu.Unlock(); return len(sent) == 2 })
	tm.ok("budget", "set", "pool:flaky", "--limit-usd", "0.00001", "--window", "hour") // while running
	eventually(t, "the budget burns", func() bool {
		tm.json(&list, "alert", "list")
		return slices.ContainsFunc(list.Alerts, func(a wire.Alert) bool {
			return a.Kind == wire.AlertBudgetBurn && strings.Contains(a.Subject["budget"], "pool:flaky") && a.Value > a.Threshold
		})
	})
	mu.Lock()
	defer mu.Unlock()
	if sent[0].Type != "alert.raised" || sent[0].Data.Summary == "" {
		t.Errorf("got %+v", sent)
	}
}

func TestAlertLines(t *testing.T) {
	if lines := alertLines(nil); len(lines) != 0 {
		t.Errorf("got %q", lines)
	}
	list := make([]wire.Alert, 5)
	for i := range list {
		list[i] = wire.Alert{Kind: wire.AlertUnpriced, Summary: fmt.Sprint("a\x1b", i)}
	}
	if got := strings.Join(alertLines(list), "|"); got != "ALERT unpriced: a·0|ALERT unpriced: a·1|ALERT unpriced: a·2|and 2 alerts more: sluice alert list" {
		t.Errorf("got %q", got)
	}
}

package gateway

import (
	"strings"
	"sync/atomic"
	"testing"
)

// TestStateMetrics: a scrape shows what a router says at that moment, and
// whether one said anything.
func TestStateMetrics(t *testing.T) {
	b := newBroker(t, t.TempDir(), nil)
	var away atomic.Bool
	b.admin = func(op string, _ []byte) any {
		if away.Load() {
			return map[string]any{"error": map[string]string{"code": "unavailable", "message": "no quorum"}}
		}
		if op == "health" {
			return map[string]any{"streams": []map[string]any{{"name": "SLUICE_JOBS", "messages": 7, "bytes": 900}}}
		}
		closed := map[string]any{"circuit": "closed"}
		return map[string]any{"pools": []map[string]any{
			{"name": "good", "concurrency": 8, "running": 3, "queued": 2, "workers": 1, "health": closed},
			{"name": "probing", "concurrency": 8, "workers": 1, "health": map[string]any{"circuit": "half_open"}},
			{"name": "broken", "workers": 1, "health": map[string]any{"circuit": "open"}},
			{"name": "drained", "workers": 1, "draining": true, "health": closed},
			{"name": "alone", "workers": 0, "health": closed},
			{"name": "sick", "workers": 1, "health": map[string]any{"circuit": "closed", "unhealthy": true}},
			{"name": "outlier", "workers": 1, "health": map[string]any{"circuit": "closed", "ejected": true}},
		}}
	}
	f := b.newFront()
	text := "\n" + f.get("/metrics").body
	for _, want := range []string{
		"sluice_router_up 1", `sluice_pool_concurrency{pool="good"} 8`, `sluice_pool_running{pool="good"} 3`, `sluice_pool_queued{pool="good"} 2`,
		`sluice_pool_workers{pool="alone"} 0`, `sluice_pool_open{pool="good"} 1`, `sluice_pool_open{pool="probing"} 1`, `sluice_pool_open{pool="broken"} 0`,
		`sluice_pool_open{pool="drained"} 0`, `sluice_pool_open{pool="alone"} 0`, `sluice_pool_open{pool="sick"} 0`, `sluice_pool_open{pool="outlier"} 0`,
		`sluice_stream_messages{stream="SLUICE_JOBS"} 7`, `sluice_stream_bytes{stream="SLUICE_JOBS"} 900`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
	away.Store(true)
	if text = f.get("/metrics").body; !strings.Contains(text, "sluice_router_up 0") || strings.Contains(text, "sluice_pool_running{") || !strings.Contains(text, "go_goroutines") {
		t.Errorf("without a router:\n%.2000s", text)
	}
}

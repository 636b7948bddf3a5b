package cli

import (
	"strings"
	"testing"
	"time"
)

// TestDrainAndResume takes a pool out of use and back, and reads how it did.
func TestDrainAndResume(t *testing.T) {
	tm := startBroker(t, "")
	if r := tm.run("pool", "drain", "nope"); r.code != 1 || !strings.Contains(r.err, "no pool is called \"nope\"") {
		t.Errorf("got %+v", r)
	}
	wants(t, tm.ok("pool", "drain", "free"), "pool free takes no new jobs")
	tm.until("free (draining)")
	wants(t, tm.ok("pool", "resume", "free"), "pool free takes jobs again")
	tm.ok("submit", "hello")
	tm.until("100.0%")
	var pools struct {
		Pools []struct {
			Name   string
			Health struct {
				Circuit string
				Samples float64
				Latency struct{ P50 float64 } `json:"latency_ms"`
			}
		}
	}
	if tm.json(&pools, "pool", "list"); pools.Pools[0].Health.Circuit != "closed" {
		t.Errorf("got %+v", pools)
	}
	wants(t, tm.ok("route", "list", "--help"), "least_connections", "power_of_two", "weight:")
}

// until waits for what the router has yet to hear.
func (tm *terminal) until(text string) {
	tm.t.Helper()
	for end := time.Now().Add(10 * time.Second); !strings.Contains(tm.ok("pool", "list"), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			tm.t.Fatalf("no %q in\n%s", text, tm.ok("pool", "list"))
		}
	}
}

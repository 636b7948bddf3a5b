package config

import (
	"strings"
	"testing"
)

func TestParseWindow(t *testing.T) {
	for text, want := range map[string]Window{
		"Mon-Fri 08:00-18:00": {Days: 0b0111110, From: 480, To: 1080}, "Sat,Sun": {Days: 0b1000001},
		"22:00-06:00": {From: 1320, To: 360}, "fri-mon 00:00-24:00": {Days: 0b1100011, To: 1440}, "wed": {Days: 0b0001000},
	} {
		if got, err := ParseWindow(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", " ", "Mo", "Mon-", "08:00", "8-18", "24:00-01:00", "Mon Tue", "08:00-18:00 Mon", "25:00-26:00", "Mon 08:00-18:00 19:00-20:00"} {
		if got, err := ParseWindow(text); err == nil {
			t.Errorf("%q: %+v, want an error", text, got)
		}
	}
}

const routing = `
pools:
  - {name: a, adapter: simulated, models: {m: {}}, capabilities: [tools, vision], tenants: [acme], tenant_tiers: [gold]}
routes:
  - model: chat
    strategy: least_connections
    require: {gdpr: "yes"}
    params: {percentile: 95, tolerance: 0.2, explore: 50, bound: 1.5, output_tokens: 300, nearness: {eu: "eu-west, us"}, scorers: {cost: 2, load: 0.5}}
    candidates:
      - {pool: a, model: m, priority: 1, quality: 0.9, context: 8192, max_output: 1024, capabilities: [json_schema],
         schedule: {zone: Europe/Berlin, windows: [Mon-Fri 08:00-18:00]}}
`

func TestRouting(t *testing.T) {
	c, err := loadText(t, routing)
	if err != nil {
		t.Fatal(err)
	}
	r := c.Routes[0]
	if r.Params.Percentile != 95 || r.Params.Scorers["cost"] != "2" || r.Params.Nearness["eu"] != "eu-west, us" || r.Require["gdpr"] != "yes" ||
		r.Candidates[0].Quality != 0.9 || r.Candidates[0].Schedule.Windows[0] != "Mon-Fri 08:00-18:00" || len(c.Pools[0].Capabilities) != 2 {
		t.Errorf("got %+v", r)
	}
	bad := strings.NewReplacer("95", "96", "0.2", "200", "1.5", "0.5", "cost: 2", "costs: x", "0.9", "9", "json_schema", "magic",
		"Europe/Berlin", "Europe/Bonn", "Mon-Fri", "Mo-Fr", "vision", "sight").Replace(routing)
	_, err = loadText(t, bad)
	if err == nil {
		t.Fatal("no error")
	}
	for _, key := range []string{"params.percentile", "params.tolerance", "params.bound", "params.scorers.costs", "quality", "capabilities[0]",
		"schedule.zone", "schedule.windows[0]", "pools[0].capabilities[1]"} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not in\n%v", key, err)
		}
	}
}

func loadText(t *testing.T, text string) (*Config, error) {
	return Load(Sources{Path: write(t, text), Strategies: []string{"least_connections"}, Scorers: []string{"cost", "load"}})
}

package cli

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store/storetest"
)

// policyFile writes a configuration beside a test.
func policyFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// simulates runs sluice simulate and reads its answer.
func (tm *terminal) simulates(args ...string) (r simulateReport) {
	tm.t.Helper()
	tm.json(&r, append([]string{"simulate"}, args...)...)
	return r
}

// TestSimulate plays what a real broker has recorded under other prices, other
// pools, and policies that it must refuse.
func TestSimulate(t *testing.T) {
	tm := startBroker(t, storetest.DSN(t))
	const jobs = 20
	for i := range jobs {
		tm.ok("submit", "hello there", "--model", "chat", "--id", fmt.Sprint("job-", i))
	}
	same := tm.env[0][len("SLUICE_CONFIG="):]
	var r simulateReport
	for end := time.Now().Add(20 * time.Second); r.Recorded.Jobs < jobs; time.Sleep(50 * time.Millisecond) {
		if o := tm.run("simulate", "--policy", same, "--json"); o.code == 0 {
			r = tm.simulates("--policy", same, "--since", "1h")
		}
		if time.Now().After(end) {
			t.Fatalf("not all jobs are in %+v", r)
		}
	}
	if r.Recorded.Succeeded != jobs || r.Recorded.Cost == 0 || r.Old.Cost != r.Recorded.Cost || r.Error.Cost != 0 || r.Change != (differences{}) || r.New.Attempts != jobs {
		t.Errorf("%+v", r)
	}
	again := tm.ok("simulate", "--policy", same, "--json")
	if again != tm.ok("simulate", "--policy", same, "--json") {
		t.Error("the same seed gives another answer")
	}

	// Prices of the new policy count, and a pool that was never used answers as
	// configured, or like another.
	dear := policyFile(t, "dear.yaml", `
pools:
  - {name: good, adapter: simulated, models: {m: {price: {input: 3, output: 6}}}}
  - {name: fresh, adapter: simulated, models: {m: {price: {input: 3, output: 6}}}, simulated: {ttft: 2s, tokens_per_second: 8}}
routes:
  - {model: chat, strategy: weighted_round_robin, candidates: [{pool: good}, {pool: fresh}]}
budgets:
  - {scope: global, limit_usd: 5}
`)
	r = tm.simulates("--policy", dear)
	if math.Abs(r.New.Cost-3*r.Recorded.Cost) > 1 || r.New.Latency.P95 < 2875 || len(r.Models) != 2 || r.Models[0].Attempts != jobs || !r.Models[1].Configured {
		t.Errorf("%+v", r)
	}
	for _, s := range r.New.Targets {
		if math.Abs(s.Share-0.5) > 0.03 {
			t.Errorf("%+v", s)
		}
	}
	r = tm.simulates("--policy", dear, "--like", "fresh=good")
	if r.New.Latency.P95 > 2000 || r.Models[1].Like != "good/m" || r.Models[1].Configured {
		t.Errorf("%+v", r)
	}
	o := tm.run("simulate", "--policy", dear)
	wants(t, o.out, "RECORDED", "cost per success, USD", "latency p99, ms", "+200.0%", "fresh", "as configured", "from 20 attempts", "means of 5 plays with seed 1")
	wants(t, o.err, "budgets are not played", "only 20 attempts of good/m recorded")

	// A real pool without a record is refused until it is said whose counts.
	unknown := policyFile(t, "unknown.yaml", `
pools:
  - {name: good, adapter: simulated, models: {m: {price: {input: 1, output: 2}}}}
  - {name: brand, adapter: openai, base_url: "http://127.0.0.1:1", models: {new: {price: {input: 9, output: 9}}}}
routes:
  - {model: chat, candidates: [{pool: brand}]}
`)
	o = tm.run("simulate", "--policy", unknown)
	if o.code != exitUsage {
		t.Errorf("%+v", o)
	}
	wants(t, o.err, "nothing was recorded of brand/new", "--like brand/new=POOL/MODEL", "good/m")
	r = tm.simulates("--policy", unknown, "--like", "brand/new=good/m")
	if len(r.New.Targets) != 1 || r.New.Targets[0].Pool != "brand" || r.New.Succeeded != jobs {
		t.Errorf("%+v", r.New)
	}
	for args, want := range map[string]string{
		"":                                      "--policy is missing",
		"--policy nowhere.yaml":                 "nowhere.yaml",
		"--policy " + same + " --runs 0":        "--runs is 0",
		"--policy " + same + " --limit 0":       "--limit must be at least 1",
		"--policy " + same + " --like x":        `--like "x" is not NEW=OLD`,
		"--policy " + same + " --like a/b=c":    "is not NEW=OLD",
		"--policy " + same + " --like good=bad": "nothing was recorded of bad",
		"--policy " + same + " --since soon":    "--since",
	} {
		if o := tm.run(append([]string{"simulate"}, strings.Fields(args)...)...); o.code != exitUsage || !strings.Contains(o.err, want) {
			t.Errorf("simulate %s: %+v, want %q", args, o, want)
		}
	}
	if o := tm.run("simulate", "--policy", same, "--until", "2h"); o.code != exitFailed || !strings.Contains(o.err, "no job was recorded") {
		t.Errorf("%+v", o)
	}
	gone := policyFile(t, "gone.yaml", "pools: [{name: good, adapter: simulated, models: {m: {}}}]\nroutes: [{model: other, candidates: [{pool: good}]}]\n")
	r = tm.simulates("--policy", gone, "--limit", "7")
	if r.New.Failed != 7 || r.Recorded.Jobs != 7 || len(r.Notes) < 2 {
		t.Errorf("%+v", r)
	}
	wants(t, strings.Join(r.Notes, "\n"), `no route "chat": 7 jobs fail`, "more than 7 jobs were recorded")
}

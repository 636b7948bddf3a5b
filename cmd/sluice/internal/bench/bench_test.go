package bench

import (
	"context"
	"math"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/engine"
	"github.com/sluicehq/sluice/analytics/store/storetest"
)

// TestMain is also the engine's child process, which a system in this process
// starts as `<this binary> engine`.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "engine" {
		if err := engine.Main(context.Background(), os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// sluice builds the binary once for this test.
func sluice(t *testing.T) []string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "sluice")
	cmd := exec.Command("go", "build", "-o", bin, "github.com/sluicehq/sluice/cmd/sluice")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return []string{bin}
}

// TestReplayKilled kills the whole process 20 times in the middle of a replay:
// every job ends exactly once, every attempt is one row, and the costs are the
// providers' own.
func TestReplayKilled(t *testing.T) {
	storetest.Need(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	rep, err := Replay(ctx, TraceOptions{Arrivals: SyntheticTrace(6000, seed), Speed: 25, Kills: 20, Seed: seed,
		Command: sluice(t), Log: t.Output()})
	if rep != nil {
		rep.Print(t.Output())
	}
	if err != nil {
		t.Fatal(err)
	}
	if rep.Interrupted == 0 {
		t.Error("20 kills interrupted no attempt: the test kills nothing that matters")
	}
}

// TestReplayTrace replays the start of the real trace, where it is there.
func TestReplayTrace(t *testing.T) {
	storetest.Need(t)
	const path = "../../../../../shared/data/AzureLLMInferenceTrace_conv.csv"
	arrivals, err := ReadTrace(path, 3000)
	if err != nil {
		t.Logf("using a synthetic trace: %v", err)
		arrivals = SyntheticTrace(3000, 1)
	}
	rep, err := Replay(t.Context(), TraceOptions{Arrivals: arrivals, Speed: 100, Command: sluice(t), Log: t.Output()})
	if rep != nil {
		rep.Print(t.Output())
	}
	if err != nil {
		t.Fatal(err)
	}
	if rep.Interrupted != 0 {
		t.Errorf("%d attempts were interrupted though nothing was killed", rep.Interrupted)
	}
}

// TestVerifyFinds makes sure that the check can fail.
func TestVerifyFinds(t *testing.T) {
	good := Report{Jobs: 1, Terminal: 1, Costs: new(big.Int).SetInt64(5), Books: new(big.Int).SetInt64(5), Estimated: new(big.Int).SetInt64(0), True: new(big.Int).SetInt64(0)}
	if err := good.Err(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Report){
		"lost":      func(r *Report) { r.Lost, r.Terminal = 1, 0 },
		"doubled":   func(r *Report) { r.Doubled = 1 },
		"unmatched": func(r *Report) { r.Unbooked = 1 },
		"costs":     func(r *Report) { r.Costs = new(big.Int).SetInt64(6) },
	} {
		bad := good
		spoil(&bad)
		if bad.Err() == nil {
			t.Errorf("%s: not found", name)
		}
	}
}

// TestRun runs the measurements in small and looks at what they print.
func TestRun(t *testing.T) {
	storetest.Need(t)
	var out strings.Builder
	if err := Run(t.Context(), &out, Options{Rounds: 1, Messages: 5000, Jobs: 3000, Rate: 100, Seconds: 1}); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "ratio ") || last == "ratio 0.00" {
		t.Errorf("last line %q, want a ratio", last)
	}
}

// A batch whose server is killed on the way has every result once, and no line
// that had finished runs again.
func TestBatchIsKilled(t *testing.T) {
	storetest.Need(t)
	rep, err := Batch(t.Context(), BatchOptions{Lines: 2000, Concurrency: 64, Latency: 250 * time.Millisecond, Kills: 3, Seed: 7, Command: sluice(t), Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	if err := rep.Err(); err != nil {
		t.Error(err)
	}
	if rep.Kills != 3 || rep.Calls != 2000+rep.Repeated || rep.First == 0 || rep.Took == 0 || rep.Peak <= rep.Idle {
		t.Errorf("%+v", rep)
	}
	var out strings.Builder
	rep.Print(&out)
	for _, want := range []string{"2000 lines in ", "3 kill -9", "first result after", "MiB above idle", "0 lost, 0 doubled"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, out.String())
		}
	}
}

// TestWhatIf runs a short piece of a trace under two policies, and foretells the
// second from the first. Other tests may keep the machine busy during one of the
// runs only, so latencies are held to the run that was recorded, and the other
// run to its cost, which depends little on that. make bench-whatif has the
// narrow bounds.
func TestWhatIf(t *testing.T) {
	storetest.Need(t)
	r, err := WhatIf(t.Context(), WhatIfOptions{Arrivals: SyntheticTrace(400, 3), Speed: 12, Seed: 1, Runs: 3, Command: sluice(t), Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	r.Print(t.Output())
	if err := r.Err(30, math.Inf(1)); err != nil {
		t.Error(err)
	}
	old, was := &r.Foretold.Old, &r.Foretold.Recorded
	if cost, p95 := old.Cost/was.Cost, old.Latency.P95/was.Latency.P95; !(cost > 0.9 && cost < 1.1 && p95 > 0.5 && p95 < 2) {
		t.Errorf("the old policy costs %.3f of what was recorded, its p95 is %.3f of that", cost, p95)
	}
	if r.Old.Jobs != 400 || r.New.Jobs != 400 || r.Foretold.Recorded.Cost != r.Old.Cost || r.Foretold.New.Cost == r.Foretold.Old.Cost {
		t.Errorf("%+v", r)
	}
	var out strings.Builder
	r.Print(&out)
	for _, want := range []string{"400 jobs under the old policy (least_connections)", "cost, USD", "share of spot", "its error on the old policy"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, out.String())
		}
	}
}

// TestWhatIfIsJudged: a prediction that is off fails.
func TestWhatIfIsJudged(t *testing.T) {
	good := WhatIfReport{New: Truth{Cost: 1000, P50: 10, P95: 100, P99: 200}}
	good.Foretold.New.Cost, good.Foretold.New.Latency.P95 = 1009, 86
	if err := good.Err(1, 15); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*WhatIfReport){
		"cost":                              func(r *WhatIfReport) { r.Foretold.New.Cost = 1011 },
		"p95 latency":                       func(r *WhatIfReport) { r.Foretold.New.Latency.P95 = 84 },
		"the predicted cost is off by +NaN": func(r *WhatIfReport) { r.New.Cost, r.Foretold.New.Cost = 0, 0 },
	} {
		bad := good
		spoil(&bad)
		if err := bad.Err(1, 15); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

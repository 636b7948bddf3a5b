package cli

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/stats"
	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
)

// TestExperimentReport submits jobs of many users to a running broker and
// reads back what their variants have shown.
func TestExperimentReport(t *testing.T) {
	tm := startBroker(t, storetest.DSN(t))
	const users = 24
	for i := range users {
		tm.ok("submit", "hello", "--model", "split", "--affinity", fmt.Sprintf("user-%d", i), "--id", fmt.Sprintf("job-%d", i))
	}
	if r := tm.run("submit", "hello", "--model", "split@ab/slower"); r.code == 0 || !strings.Contains(r.err, "unknown_route") {
		t.Errorf("a variant's own route can be asked for: %+v", r)
	}
	var r experimentReport
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if o := tm.run("experiment", "report", "ab", "--json"); o.code == 0 {
			tm.json(&r, "experiment", "report", "ab")
			n := uint64(0)
			for _, v := range r.Variants {
				n += v.Jobs
			}
			if n == users {
				break
			}
		}
		if time.Now().After(end) {
			t.Fatalf("not all jobs are in %+v", r)
		}
	}
	tm.ok("experiment", "score", "job-0", "0.25")
	tm.ok("experiment", "score", "job-1", "1", "--source", "judge")
	tm.json(&r, "experiment", "report", "ab")
	tm.ok("job", "rate", "job-2", "0.5")
	tm.refuses("reported already", "job", "rate", "job-2", "1")
	eventually(t, "what was reported is in the report", func() bool {
		tm.json(&r, "experiment", "report", "ab")
		return r.Variants[0].Scored+r.Variants[1].Scored == 3
	})
	wants(t, tm.ok("sql", "SELECT source, quality, seq > 0 AS placed FROM scores WHERE job_id = 'job-2'"), "report", "0.5")
	wants(t, tm.ok("experiment", "list"), "EXPERIMENT", "ab", "split", "affinity", "control", "50.0", "slower", "split@ab/slower", "none")
	if r.Baseline != "control" || len(r.Variants) != 2 || r.Confidence != 0.95 {
		t.Fatalf("%+v", r)
	}
	control, slower := r.Variants[0], r.Variants[1]
	if control.Variant != "control" || control.Success.Value != 1 || control.Unknown != 0 || !control.Cost.Known || control.Cost.Value <= 0 || control.Against != nil {
		t.Errorf("%+v", control)
	}
	if slower.Unknown != slower.Jobs || slower.Cost.Known || slower.Against == nil || slower.Against.Cost.Known || slower.Against.Success.Sure() {
		t.Errorf("a variant without prices: %+v", slower)
	}
	if control.Scored+slower.Scored != 3 {
		t.Errorf("%d and %d scored", control.Scored, slower.Scored)
	}
	wants(t, tm.ok("experiment", "report", "ab", "--since", "1h", "--baseline", "slower"), "experiment ab, intervals of 95%", "VARIANT", "AGAINST slower", "control ", "100.00 [")
	wants(t, tm.ok("job", "trace", "job-0"), "experiment ab, variant ")
	for line, want := range map[string]string{
		"experiment report nothing":                   "nothing is known of an experiment",
		"experiment report ab --since 1h --until 30m": "nothing is known",
	} {
		if r := tm.run(strings.Fields(line)...); r.code != 1 || !strings.Contains(r.err, want) {
			t.Errorf("%s: %+v", line, r)
		}
	}
	for _, line := range []string{"experiment report ab --baseline zz", "experiment report ab --confidence 1", "experiment report", "experiment score a 2", "experiment score a x", "experiment report ab --since x"} {
		if r := tm.run(strings.Fields(line)...); r.code != 2 {
			t.Errorf("%s: %+v", line, r)
		}
	}
}

// TestRollouts looks at a rollout of a running broker and moves it by hand.
func TestRollouts(t *testing.T) {
	tm := startBroker(t, "")
	var list rolloutsAnswer
	phase := func(want string, share int) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			tm.json(&list, "rollout", "list")
			if r := list.Rollouts; len(r) == 1 && string(r[0].State.Phase) == want && r[0].Share == share {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("not %s but %+v", want, list)
			}
		}
	}
	phase("shifting", 0)
	tm.ok("submit", "hello", "--id", "old")
	wants(t, tm.ok("job", "trace", "old"), "route chat, ", "experiment v2, variant blue")
	wants(t, tm.ok("rollout", "pause", "v2"), "rollout v2: paused")
	if r := tm.run("rollout", "pause", "v2"); r.code != 1 || !strings.Contains(r.err, "the rollout is paused") {
		t.Errorf("%+v", r)
	}
	tm.ok("rollout", "resume", "v2")
	wants(t, tm.ok("rollout", "switch", "v2"), "rollout v2: done")
	phase("done", 100)
	tm.ok("submit", "hello", "--id", "new")
	wants(t, tm.ok("job", "trace", "new"), "route chat@v2, ", "experiment v2, variant green")
	wants(t, tm.ok("rollout", "back", "v2")+tm.ok("rollout", "list"), "rollout v2: rolled_back", "ROLLOUT", "(0) 100", "by an operator")
	phase("rolled_back", 0)
	wants(t, tm.ok("rollout", "start", "v2"), "rollout v2: shifting")
	for _, line := range []string{"rollout back nope", "rollout switch nope"} {
		if r := tm.run(strings.Fields(line)...); r.code != 1 || !strings.Contains(r.err, "no rollout is called") {
			t.Errorf("%s: %+v", line, r)
		}
	}
}

// TestCompare: numbers are in the units that are shown, and each variant is
// compared with the baseline.
func TestCompare(t *testing.T) {
	rows := []store.VariantRow{
		{Variant: "a", Jobs: 70, Succeeded: 56, Cost: stats.Moments{N: 70, Mean: 2e9, Variance: 1e18}, Total: stats.Moments{N: 56, Mean: 100, Variance: 25}},
		{Variant: "control", Jobs: 80, Succeeded: 48, Cost: stats.Moments{N: 80, Mean: 1e9, Variance: 1e18}, Total: stats.Moments{N: 48, Mean: 100, Variance: 25}},
	}
	r, err := compare("e", rows, "", 0.95)
	if err != nil || r.Baseline != "control" {
		t.Fatalf("%+v, %v", r, err)
	}
	a := r.Variants[0]
	near := func(what string, got, want float64) {
		if math.Abs(got-want) > 5e-5 {
			t.Errorf("%s is %f, want %f", what, got, want)
		}
	}
	near("low success", a.Against.Success.Low, 0.0524)
	near("high success", a.Against.Success.High, 0.3339)
	near("cost", a.Cost.Value, 2)
	near("cost against control", a.Against.Cost.Value, 1)
	if !a.Against.Cost.Sure() || a.Against.Total.Sure() || a.Against.Quality.Known || r.Variants[1].Against != nil {
		t.Errorf("%+v", a.Against)
	}
	var b strings.Builder
	if err := r.print(&b); err != nil {
		t.Fatal(err)
	}
	wants(t, b.String(), "+20.00 [5.24, 33.39]*", "+1.000000 [0.", "+0 [-2, 2]", "80.00 [", "AGAINST control")
	if r, err = compare("e", rows, "a", 0.9); err != nil || r.Baseline != "a" || r.Variants[1].Against.Success.Value > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err = compare("e", rows, "zz", 0.9); err == nil {
		t.Error("a baseline that is not there")
	}
}

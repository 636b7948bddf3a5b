package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/live"
)

// TestTop watches a whole broker: what ran is in it, and the rest is asked of
// the router.
func TestTop(t *testing.T) {
	tm := startBroker(t, "")
	done := make(chan outcome, 1)
	go func() { done <- tm.runContext(t.Context(), "top", "--once", "--wait", "2s", "--json") }() // ends with done
	for range 5 {
		tm.ok("submit", "Why?")
	}
	r := <-done
	wants(t, r.out, `"pools"`, `"recent"`, `"name": "good"`, `"streams"`)
	wants(t, tm.ok("top", "--once", "--wait", "0s"), "in flight 0 of", "backlog ", "POOL", "good", "healthy", "░░░░")
	if r := tm.run("top", "--every", "1ms"); r.code != 2 {
		t.Errorf("%+v", r)
	}
}

func TestTopLines(t *testing.T) {
	var v topView
	v.Live = live.Snapshot{At: time.Unix(1e9, 0), Total: live.Figures{Jobs: 7.25, Attempts: 8, Success: 0.5, Unknown: 2, Spend: 1e6}}
	for range 50 {
		v.Live.Recent = append(v.Live.Recent, live.Recent{Job: "j\x1b[31m", Pool: "p", Model: "m", Candidates: 3, Excluded: 1, Status: "failed", Error: "timeout"})
	}
	v.Pools = []poolAnswer{{Name: "p", Running: 1, Concurrency: 64, Workers: 1, Health: &healthAnswer{Circuit: "half_open"}}}
	v.Streams = []streamAnswer{{"SLUICE_JOBS", 12}, {"SLUICE_DEAD", 3}}
	lines := topLines(&v, 24)
	text := strings.Join(lines, "\n")
	wants(t, text, "jobs 7.2/s", "success 50.0%", "$0.001000000/min and 2 attempts of unknown cost", "backlog 12", "dead letters 3",
		"half open", "█░░░░░░░░░", "1/64", "3−1", "failed timeout", "j·[31m")
	if len(lines) > 24 || strings.Contains(text, "\x1b") {
		t.Errorf("%d lines:\n%s", len(lines), text)
	}
	f := frame(&v, nil, 30, 10)
	if n := strings.Count(f, lineEnd); n > 9 || n < 5 {
		t.Errorf("%d lines in a frame of 10", n)
	}
	for line := range strings.SplitSeq(f, lineEnd) {
		if n := len([]rune(strings.NewReplacer(bold, "", plain, "", frameStart, "", frameEnd, "").Replace(line))); n > 30 {
			t.Errorf("a line of %d characters in 30", n)
		}
	}
}

package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/budget"
)

// TestBudgets: limits are set while running, hold, are shown with what is
// spent, and can be taken back.
func TestBudgets(t *testing.T) {
	tm := startBroker(t, "")
	if out := tm.ok("budget", "list"); strings.Count(out, "\n") != 1 {
		t.Errorf("no budgets: %s", out)
	}
	wants(t, tm.ok("budget", "set", "tenant:default", "--limit-jobs", "2", "--window", "total", "--on-exceeded", "reject"),
		"budget tenant:default jobs/total is set, at every router")
	tm.ok("budget", "set", "label:team=docs", "--limit-usd", "12.50", "--window", "hour", "--rolling", "--alerts", "0", "--unknown-price", "allow")
	tm.untilBudget("tenant:default")
	for range 2 {
		tm.ok("submit", "Why?", "--label", "team=docs")
	}
	if r := tm.run("submit", "Why?"); r.code != 1 || !strings.Contains(r.err, "budget_exceeded") || !strings.Contains(r.err, "tenant:default jobs/total") {
		t.Errorf("status %d, %s", r.code, r.err)
	}
	wants(t, tm.ok("budget", "list"), "SCOPE", "FORECAST", "tenant:default", "total", "2 jobs", "100.0%", "reject", "label:team=docs", "rolling hour", "$12.5", "set")
	var list struct{ Budgets []budget.Entry }
	tm.json(&list, "budget", "list")
	if len(list.Budgets) != 2 || list.Budgets[1].Spent != 2 || list.Budgets[1].Left != 0 || list.Budgets[0].Spent <= 0 || list.Budgets[0].Held != 0 ||
		list.Budgets[0].Forecast == nil || list.Budgets[0].UnknownPrice != "allow" || len(list.Budgets[0].Alerts) != 0 {
		t.Errorf("%+v", list.Budgets)
	}
	wants(t, tm.ok("budget", "set", "tenant:default", "--limit-jobs", "3", "--window", "total"), "is set")
	tm.untilBudget("3 jobs")
	tm.ok("submit", "Why?")
	wants(t, tm.ok("budget", "set", "tenant:default", "--limit-jobs", "0", "--window", "total", "--remove"), "is as configured again")
	eventually(t, "the limit is gone", func() bool { return !strings.Contains(tm.ok("budget", "list"), "3 jobs") })
	tm.ok("submit", "Why?")
	if r := tm.run("budget", "set", "tenant:default", "--limit-jobs", "1", "--window", "total", "--remove"); r.code != 1 || !strings.Contains(r.err, "was set while running") {
		t.Errorf("status %d, %s", r.code, r.err)
	}
	for _, args := range [][]string{{"team:x", "--limit-jobs", "1"}, {"global"}, {"global", "--limit-usd", "x"}, {"global", "--limit-usd", "0"}, {"global", "--limit-jobs", "1", "--window", "year"},
		{"global", "--limit-jobs", "1", "--limit-tokens", "1"}} {
		if r := tm.run(append([]string{"budget", "set"}, args...)...); r.code != 2 {
			t.Errorf("%v: status %d, %s", args, r.code, r.err)
		}
	}
}

// untilBudget waits for the list of budgets to show a text.
func (tm *terminal) untilBudget(text string) {
	tm.t.Helper()
	for end := time.Now().Add(10 * time.Second); !strings.Contains(tm.ok("budget", "list"), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			tm.t.Fatalf("no %q in\n%s", text, tm.ok("budget", "list"))
		}
	}
}

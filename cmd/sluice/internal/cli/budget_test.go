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
	eventually(t, "what was spent before is known", func() bool {
		return strings.Contains(tm.ok("route", "explain", "chat", "--label", "team=docs"), "good/m fits")
	})
	wants(t, tm.ok("route", "explain", "chat", "--label", "team=docs"), "budgets: good/m fits, would hold ", " tokens and $0.00", "chosen: good/m of route chat\n")
	for range 2 {
		tm.ok("submit", "Why?", "--label", "team=docs")
	}
	var e explained
	eventually(t, "the budget is used up", func() bool {
		tm.json(&e, "route", "explain", "chat")
		return e.Budget != nil
	})
	if b := e.Budget; b.Says != "exceeded" || b.Budget != "tenant:default jobs/total" || b.Then != "reject" || b.Until != "" || b.USD == nil || len(e.Decisions[0].Budgets) != 1 {
		t.Errorf("%+v", e.Budget)
	}
	wants(t, tm.ok("route", "explain", "chat"), "good/m exceeded, would hold", "in the way: tenant:default jobs/total",
		"chosen: good/m of route chat, but the budget tenant:default jobs/total has no room (exceeded): the job would be refused")
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
	tm.ok("budget", "set", "pool:good", "--limit-tokens", "7")
	tm.untilBudget("7 tokens")
	wants(t, tm.ok("route", "explain", "chat"), "good/m never, would hold", "in the way: pool:good tokens/day", "beyond_budget", "no candidate can ever take it")
	tm.ok("budget", "set", "pool:good", "--limit-tokens", "0", "--remove")
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

package path

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/budget"
	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/broker/dispatch"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Costs at testPrice of an answer of the script, and of a job's worst case.
const (
	trueCost  = 10*1000 + 3*2000
	shortChat = `{"model":"chat","max_tokens":3,"messages":[1]}`
	worstCost = len(shortChat)*1000 + 3*2000
)

func dollars(n int) *wire.NanoUSD { v := wire.NanoUSD(n); return &v }
func whole(n int) *int64          { v := int64(n); return &v }

func budgets(t *testing.T, defs ...account.Definition) budget.Setup {
	t.Helper()
	var s budget.Setup
	for i := range defs {
		b, faults := defs[i].Parse()
		if len(faults) > 0 {
			t.Fatal(account.Error(faults))
		}
		s.Budgets = append(s.Budgets, b)
	}
	return s
}

// payer adds a router with budgets.
func (r *rig) payer(name string, defs ...account.Definition) *proc {
	r.t.Helper()
	p := r.proc(name)
	js := p.jetstream(r.t)
	log := r.log.With("proc", name)
	p.book = budget.New(budget.Config{JS: js, Subjects: r.subj, Ledger: ledger.New(js, r.subj), Logger: log, Instance: name}, budgets(r.t, defs...))
	p.dispatcher = dispatch.New(dispatch.Config{JS: js, Subjects: r.subj, Ledger: ledger.New(js, r.subj), Logger: log, Held: r.setup.held,
		Captures: r.setup.captures, Budgets: p.book}, r.table)
	p.dispatcher.SetPlan(r.setup.plan)
	p.goRun(r, p.book.Run)
	p.goRun(r, p.dispatcher.Run)
	return p
}

// standing is how a budget stands at a router that was not there before.
func (r *rig) standing(defs ...account.Definition) []account.Standing {
	r.t.Helper()
	p := r.proc(fmt.Sprint("auditor", len(r.procs)))
	js := p.jetstream(r.t)
	b := budget.New(budget.Config{JS: js, Subjects: r.subj, Ledger: ledger.New(js, r.subj), Logger: r.log, Instance: "auditor"}, budgets(r.t, defs...))
	p.goRun(r, b.Run)
	time.Sleep(20 * time.Second)
	out := b.Standings(time.Now())
	p.stop()
	return out
}

// settledTo checks what all routers agree on when nothing runs any more.
func (r *rig) settledTo(spent int64, defs ...account.Definition) {
	r.t.Helper()
	time.Sleep(20 * time.Second) // owners of holds that nobody ended are asked about
	for _, p := range r.procs {
		if p.book == nil || p.gate.isDead() {
			continue
		}
		for _, s := range p.book.Standings(time.Now()) {
			if s.Held != 0 || s.Behind {
				r.t.Errorf("%s: %d held when all jobs have ended", s.Budget.ID(), s.Held)
			}
		}
		if n := p.book.Holds(); n != 0 {
			r.t.Errorf("%d holds when all jobs have ended", n)
		}
	}
	for _, s := range r.standing(defs...) {
		if s.Spent != spent || s.Held != 0 || s.Behind {
			r.t.Errorf("%s: a new router sees %d spent and %d held, want %d and 0", s.Budget.ID(), s.Spent, s.Held, spent)
		}
	}
}

// till is a provider that checks a budget's limit whenever it is called: what
// has been paid, and what all running calls could cost, stay within.
type till struct {
	script
	t       *testing.T
	limit   int
	hour    time.Time
	mu      sync.Mutex
	paid    int
	running int
	calls   []int // by hour
}

func newTill(t *testing.T, limit int) *till {
	x := &till{t: t, limit: limit}
	x.script.reply = func(int, string) reply {
		x.mu.Lock()
		defer x.mu.Unlock()
		if h := time.Now().Truncate(time.Hour); h != x.hour {
			x.hour, x.paid, x.calls = h, 0, append(x.calls, 0)
		}
		x.running++
		x.calls[len(x.calls)-1]++
		if x.paid+x.running*worstCost > x.limit {
			t.Errorf("%d paid and %d calls of at most %d running: more than %d", x.paid, x.running, worstCost, x.limit)
		}
		h := x.hour
		time.AfterFunc(99*time.Millisecond, func() { // just before the answer
			x.mu.Lock()
			defer x.mu.Unlock()
			x.running--
			if h == x.hour {
				x.paid += trueCost
			}
		})
		return reply{delay: 100 * time.Millisecond}
	}
	return x
}

// TestBudgetHolds: four routers and hundreds of jobs never exceed a budget, not
// even with what is under way; what has no room waits for the next window.
func TestBudgetHolds(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		time.Sleep(59 * time.Minute) // nothing runs yet: this costs no time
		limit := 150*trueCost + 3*worstCost
		def := account.Definition{Scope: "tenant:acme", LimitUSD: dollars(limit), Window: "hour"}
		till := newTill(t, limit)
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", concurrency: 64, provider: &till.script}}})
		for i := range 4 {
			r.payer(fmt.Sprint("r", i), def)
		}
		r.worker("w1")
		ids := r.flood(wire.Standard, 300, shortChat)
		r.allSucceed(ids)
		t.Logf("calls by hour: %v", till.calls)
		for i, n := range till.calls {
			if n > limit/trueCost || i < len(till.calls)-1 && n < 150 {
				t.Errorf("%d calls in hour %d, want 150 to %d", n, i, limit/trueCost)
			}
		}
		r.settledTo(int64(till.calls[len(till.calls)-1]*trueCost), def)
		r.empty()
	})
}

// TestBudgetWaits: a job that must wait says for what and until when, and goes
// on when the window has ended; one with a deadline before that expires.
func TestBudgetWaits(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		time.Sleep(22*time.Hour + 58*time.Minute)
		def := account.Definition{Scope: "global", LimitUSD: dollars(worstCost), Window: "day", Zone: "Europe/Berlin"}
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: &script{}}}})
		r.payer("r1", def)
		r.worker("w1")
		time.Sleep(time.Second)
		first := r.publish(shortChat)
		r.allSucceed([]string{first}) // leaves less than another can cost
		second := r.publish(shortChat)
		late := r.publish(shortChat, wire.HeaderDeadline, "90s")
		s := r.reached(second, wire.Waiting)
		zone, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		y, m, d := time.Now().In(zone).Date()
		midnight := time.Date(y, m, d+1, 0, 0, 0, 0, zone)
		if s.Reason != wire.ReasonBudget || !s.Until.Equal(midnight) {
			t.Errorf("waits for %s until %s, want budget until %s", s.Reason, s.Until, midnight)
		}
		if a := r.status(second); a.Status != wire.Waiting || a.Reason != wire.ReasonBudget {
			t.Errorf("status says %s/%s", a.Status, a.Reason)
		}
		res := r.result(second)
		near(t, "answer", res.At.Sub(midnight), 0, 5*time.Second)
		if got := r.steps(second); got != "waiting/budget running succeeded" {
			t.Errorf("%s", got)
		}
		if got := r.steps(late); got != "waiting/budget expired" {
			t.Errorf("%s", got)
		}
		r.settledTo(trueCost, def)
		r.empty()
	})
}

// TestBudgetRejects: what a budget cannot take fails with a code that says so,
// and with what to do.
func TestBudgetRejects(t *testing.T) {
	for name, c := range map[string]struct {
		def      account.Definition
		unpriced bool
		code     wire.Code
		word     string
	}{
		"exceeded": {account.Definition{Scope: "tenant:acme", LimitUSD: dollars(worstCost), OnExceeded: "reject"}, false, wire.CodeBudget, "raise it"},
		"tokens":   {account.Definition{Scope: "route:chat", LimitTokens: whole(len(shortChat) + 3), OnExceeded: "reject"}, false, wire.CodeBudget, "raise it"},
		"jobs":     {account.Definition{Scope: "route:chat,tenant:acme", LimitJobs: whole(1), Window: "total", OnExceeded: "reject"}, false, wire.CodeBudget, "raise it"},
		"label":    {account.Definition{Scope: "label:team=search", LimitJobs: whole(1), OnExceeded: "reject"}, false, wire.CodeBudget, "raise it"},
		"unpriced": {account.Definition{Scope: "tenant:acme", LimitUSD: dollars(worstCost), UnknownPrice: "refuse"}, true, wire.CodeUnpriced, "unknown_price: allow"},
		"beyond":   {account.Definition{Scope: "tenant:acme", LimitUSD: dollars(worstCost - 1)}, false, wire.CodeBudget, "more than the whole budget"},
		"allowed":  {account.Definition{Scope: "tenant:acme", LimitUSD: dollars(1), UnknownPrice: "allow"}, true, "", ""},
		"another":  {account.Definition{Scope: "tenant:other", LimitUSD: dollars(1), OnExceeded: "reject"}, false, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				p := &script{}
				r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", unpriced: c.unpriced, provider: p}}})
				r.payer("r1", c.def)
				r.worker("w1")
				time.Sleep(time.Second)
				ids := []string{r.publish(shortChat, wire.HeaderLabel+"Team", "search")}
				if c.word == "raise it" || c.code == "" {
					r.allSucceed(ids)
				}
				res := r.result(r.publish(shortChat, wire.HeaderLabel+"Team", "search"))
				if res.Entry.Error != c.code || !strings.Contains(string(res.Body), c.word) {
					t.Errorf("%s/%s: %s", res.Status, res.Entry.Error, res.Body)
				}
				r.result(ids[0])
				time.Sleep(20 * time.Second)
				for _, s := range r.standing(c.def) {
					if s.Held != 0 {
						t.Errorf("%d held", s.Held)
					}
				}
				r.empty()
			})
		})
	}
}

// TestBudgetBoundsOutput: a job that does not bound its output is bounded, so
// that what is held is the most it can cost; and one that names a bound which
// the endpoint does not know.
func TestBudgetBoundsOutput(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := &script{}
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: p}}})
		pr := r.payer("r1", account.Definition{Scope: "tenant:acme", LimitUSD: dollars(1e9)})
		s := budgets(t, account.Definition{Scope: "tenant:acme", LimitUSD: dollars(1e9)})
		s.Bounds.Output = 77
		pr.book.Set(s)
		r.worker("w1")
		time.Sleep(time.Second)
		for body, want := range map[string]string{
			`{"model":"chat","messages":[1]}`:                           `"max_tokens":77`,
			`{"model":"chat","max_tokens":5,"messages":[1]}`:            `"max_tokens":5`,
			`{"model":"chat","max_output_tokens":9,"messages":[1]}`:     `"max_tokens":9`,
			`{"model":"chat","max_completion_tokens":6,"messages":[1]}`: `"max_completion_tokens":6`,
		} {
			n := p.count()
			r.allSucceed([]string{r.publish(body)})
			if got := p.seen()[n].Body; !strings.Contains(got, want) || strings.Count(got, "max_") != 1 {
				t.Errorf("%s went out as %s, want %s", body, got, want)
			}
		}
	})
}

// TestBudgetCut: of a call that breaks off nobody but the provider knows what it
// has cost. Its row has the estimate, the budget its worst case; so what the
// provider charges stays within the limit in any case. Where the budget says so,
// the estimate is enough.
func TestBudgetCut(t *testing.T) {
	for name, c := range map[string]struct {
		unknown string
		second  bool // a second job has room
	}{"worst": {"", false}, "estimate": {"estimate", true}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				def := account.Definition{Scope: "tenant:acme", LimitUSD: dollars(2*worstCost - 1), Window: "total", OnExceeded: "reject", UnknownCost: c.unknown}
				p := &script{reply: func(n int, _ string) reply {
					if n == 1 {
						return reply{events: words("one ", "two ", "three"), every: time.Second}
					}
					return reply{}
				}}
				r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: p}}})
				r.payer("r1", def)
				r.worker("w1")
				time.Sleep(time.Second)
				first := r.publish(shortChat, wire.HeaderStream, "true")
				r.reached(first, wire.Running)
				time.Sleep(1500 * time.Millisecond)
				r.cancelJob(first)
				cut := r.result(first).Entry.Attempt
				if cut.Source != wire.UsageEstimated || cut.Cost == nil || *cut.Cost <= 0 || int(*cut.Cost) >= worstCost || int(cut.Hold.USD) != worstCost {
					t.Fatalf("cut attempt: %+v, hold %+v", cut, cut.Hold)
				}
				second := r.result(r.publish(shortChat))
				if ran := second.Status == wire.Succeeded; ran != c.second {
					t.Errorf("the second job is %s: %s", second.Status, second.Body)
				}
				want := int64(worstCost)
				if c.second {
					want = int64(*cut.Cost) + trueCost
				}
				r.settledTo(want, def)
				r.empty()
			})
		})
	}
}

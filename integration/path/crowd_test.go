package path

import (
	"flag"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/sdk/wire"
)

var everyPoint = flag.Bool("points", false, "die on every crash point of the budgets' path")

// spentPool is a budget with room for one job at pool a.
func spentPool() account.Definition {
	return account.Definition{Scope: "pool:a", LimitUSD: dollars(worstCost), Window: "total", OnExceeded: "cheaper"}
}

// TestBudgetSpentAndPoolsFull: where one pool's budget is used up and the others
// are full, jobs go on as soon as those have room, and not when another job
// brings a look at the pools: with one router there may be none. They also do
// when that router dies, and another one has only what the first gave up.
func TestBudgetSpentAndPoolsFull(t *testing.T) {
	for name, dies := range map[string]bool{"one router": false, "a router that dies": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				a, b := &script{}, always(reply{delay: time.Second})
				r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: a}, {name: "b", concurrency: 2, provider: b}}})
				p := r.payer("r1", spentPool())
				r.worker("w1")
				time.Sleep(time.Second)
				ids := r.flood(wire.Standard, 200, shortChat)
				began, most := time.Now(), 110*time.Second
				if dies {
					most += 40 * time.Second // what it had comes again after the ack wait
					time.Sleep(20 * time.Second)
					p.gate.kill()
					r.payer("r2", spentPool())
				}
				r.allSucceed(ids)
				if took := time.Since(began); took > most {
					t.Errorf("200 jobs of a second at a pool of two took %s", took)
				}
				if a.count() != 1 {
					t.Errorf("%d calls where the budget has room for one", a.count())
				}
				r.settledTo(trueCost, spentPool())
				r.empty()
			})
		})
	}
}

// TestBudgetCrowdExpires: a job that waits for a budget or a full pool ends when
// its deadline passes.
func TestBudgetCrowdExpires(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: &script{}},
			{name: "b", concurrency: 1, provider: always(reply{delay: time.Minute})}}})
		r.payer("r1", spentPool())
		r.worker("w1")
		time.Sleep(time.Second)
		r.allSucceed([]string{r.publish(shortChat)})
		ids := r.flood(wire.Standard, 6, shortChat)
		time.Sleep(time.Second)
		late := r.publishAs(wire.Standard, shortChat, wire.HeaderDeadline, "10s")
		at := time.Now().Add(10 * time.Second)
		r.expireBy([]string{late}, at, time.Second)
		r.allSucceed(ids)
		r.empty()
	})
}

// budgetStory is a way through the budgets that a router may die on.
type budgetStory struct {
	def    account.Definition
	pools  []pool
	before int // jobs that have ended before
	jobs   int // that come then, at once
	spent  int // jobs that count in the budget at the end
	points int // messages that it takes, at least
	most   int // messages after which nothing new happens, 0: the end
}

// budgetStories are: a hold is taken and settled; jobs wait for what others
// hold; for the next window; for full pools beside one whose budget is spent.
func budgetStories() map[string]budgetStory {
	slow := func(d time.Duration) *script { return always(reply{delay: d}) }
	tenant := func(limit int, window string) account.Definition {
		return account.Definition{Scope: "tenant:acme", LimitUSD: dollars(limit), Window: window}
	}
	return map[string]budgetStory{
		// Room for one worst case and two true costs: a hold that leaked would
		// keep the last job from running.
		"hold": {def: tenant(worstCost+trueCost, "total"), pools: []pool{{name: "a", provider: &script{}}}, jobs: 1, spent: 2, points: 4},
		"others' holds": {def: tenant(worstCost+5*trueCost, "total"), pools: []pool{{name: "a", provider: slow(2 * time.Second)}},
			before: 1, jobs: 4, spent: 6, points: 20},
		"window": {def: tenant(worstCost+trueCost, "hour"), pools: []pool{{name: "a", provider: &script{}}}, before: 2, jobs: 1, spent: 2, points: 5, most: 25},
		"full pools": {def: spentPool(), pools: []pool{{name: "a", provider: &script{}}, {name: "b", concurrency: 1, provider: slow(time.Second)}},
			before: 1, jobs: 4, spent: 1, points: 20},
	}
}

// TestBudgetCrashPoints: a router dies after each message that it publishes on
// its way through a story, so also between hold and work message, waiting record
// and schedule. The next router carries on, nothing stays held, every cost
// counts once, and no job waits for what nobody will tell it. With -points after
// -args it dies on each of them, otherwise on fewer the later they are.
func TestBudgetCrashPoints(t *testing.T) {
	skip := 2
	if *everyPoint {
		skip = 1 << 20
	}
	for name, s := range budgetStories() {
		t.Run(name, func(t *testing.T) {
			points := 0
			for at := 1; ; at += 1 + at/skip {
				more := false
				bubble(t, func(t *testing.T, dir string) { more = budgetCrashAt(t, dir, budgetStories()[name], at) })
				if t.Failed() {
					t.Fatalf("died after message %d", at)
				}
				if !more || s.most > 0 && at >= s.most {
					t.Logf("%d messages, %d crash points", at-1, points)
					if at-1 < s.points {
						t.Errorf("only %d messages, want %d", at-1, s.points)
					}
					return
				}
				points++
			}
		})
	}
}

func budgetCrashAt(t *testing.T, dir string, s budgetStory, at int) bool {
	if s.def.Window == "hour" {
		time.Sleep(58 * time.Minute) // nothing runs yet: this costs no time
	}
	r := start(t, setup{dir: dir, bare: true, pools: s.pools})
	victim := r.payer("victim", s.def)
	r.worker("w1")
	time.Sleep(3 * time.Second)
	for range s.before {
		r.allSucceed([]string{r.publish(shortChat)})
	}
	victim.gate.set(func() { victim.gate.limit = victim.gate.sent + at })
	ids := r.flood(wire.Standard, s.jobs, shortChat)
	time.Sleep(50 * time.Millisecond)
	r.payer("heir", s.def)
	began := time.Now()
	r.allSucceed(ids)
	ended := time.Now()
	if took := ended.Sub(began); s.def.Window == "total" && took > 2*time.Minute {
		t.Errorf("the jobs took %s", took)
	}
	died := victim.gate.diedBefore(ended)
	if res := r.result(r.publish(shortChat)); res.Status != wire.Succeeded {
		t.Errorf("the next job: %s", res.Body)
	}
	time.Sleep(70 * time.Second) // copies in the queues go, and what they held
	calls := 0
	for _, p := range s.pools {
		calls += p.provider.(*script).count()
	}
	if want := s.before + s.jobs + 1; calls != want {
		t.Errorf("%d calls for %d jobs", calls, want)
	}
	r.settledTo(int64(s.spent*trueCost), s.def)
	r.empty()
	return died
}

package path

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/broker/budget"
	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestBudgetCheaper: where the chosen candidate has no room the job goes to
// one that has; where none has, it waits as class batch.
func TestBudgetCheaper(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		time.Sleep(58 * time.Minute)
		dear, cheap := &script{}, &script{}
		r := start(t, setup{dir: dir, bare: true, strategy: "priority_tiers", pools: []pool{{name: "a", provider: dear}, {name: "b", provider: cheap, price: &wire.Price{}}}})
		def := account.Definition{Scope: "tenant:acme", LimitUSD: dollars(worstCost), Window: "hour", OnExceeded: "cheaper"}
		jobs := account.Definition{Scope: "tenant:acme", LimitJobs: whole(4), Window: "hour", OnExceeded: "cheaper"}
		r.payer("r1", def, jobs)
		r.worker("w1")
		time.Sleep(time.Second)
		for i := range 4 {
			r.allSucceed([]string{r.publish(shortChat)})
			if dear.count() != 1 || cheap.count() != i {
				t.Fatalf("after %d jobs: %d dear and %d cheap calls", i+1, dear.count(), cheap.count())
			}
		}
		id := r.publish(shortChat)
		if s := r.reached(id, wire.Waiting); s.Reason != wire.ReasonBudget || s.Entry.Meta.Class != wire.Batch {
			t.Errorf("waits for %s as %s", s.Reason, s.Entry.Meta.Class)
		}
		if res := r.result(id); res.Status != wire.Succeeded || res.Entry.Meta.Class != wire.Batch || dear.count() != 2 {
			t.Errorf("%s as %s, %d dear calls", res.Status, res.Entry.Meta.Class, dear.count())
		}
		r.empty()
	})
}

// TestBudgetOfPool: a pool's budget closes the pool, and the job waits only
// where no other is left.
func TestBudgetOfPool(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		time.Sleep(58 * time.Minute)
		a, b := &script{}, &script{}
		r := start(t, setup{dir: dir, bare: true, strategy: "priority_tiers", pools: []pool{{name: "a", provider: a}, {name: "b", provider: b}}})
		defs := []account.Definition{{Scope: "pool:a", LimitJobs: whole(2), Window: "hour"}, {Scope: "model:m-b,provider:test", LimitTokens: whole(len(shortChat) + 3 + 13), Window: "hour"}}
		r.payer("r1", defs...)
		r.worker("w1")
		time.Sleep(time.Second)
		for range 4 {
			r.allSucceed([]string{r.publish(shortChat)})
		}
		if a.count() != 2 || b.count() != 2 {
			t.Errorf("%d and %d calls, want 2 and 2", a.count(), b.count())
		}
		id := r.publish(shortChat)
		if s := r.reached(id, wire.Waiting); s.Reason != wire.ReasonBudget {
			t.Errorf("waits for %s", s.Reason)
		}
		if res := r.result(id); res.Status != wire.Succeeded || res.At.Minute() != 0 {
			t.Errorf("%s at %s", res.Status, res.At)
		}
		r.empty()
	})
}

// TestLimitsChange: a limit that is raised while running lets waiting jobs go,
// at every router; it lasts over a restart, goes before the configuration, and
// can be taken back.
func TestLimitsChange(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := &script{}
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: p}}})
		def := account.Definition{Scope: "tenant:acme", LimitJobs: whole(1), OnExceeded: "reject"}
		r1, r2 := r.payer("r1", def), r.payer("r2", def)
		r.worker("w1")
		time.Sleep(time.Second)
		r.allSucceed([]string{r.publish(shortChat)})
		if res := r.result(r.publish(shortChat)); res.Entry.Error != wire.CodeBudget {
			t.Fatalf("%s: %s", res.Status, res.Body)
		}
		set := func(x *proc, n int, policy string) {
			t.Helper()
			id, err := x.book.SetLimit(t.Context(), account.Definition{Scope: "tenant:acme", LimitJobs: whole(n), OnExceeded: policy})
			if err != nil || id != "tenant:acme jobs/day" {
				t.Fatal(id, err)
			}
			time.Sleep(time.Second)
		}
		set(r1, 2, "")
		r.allSucceed([]string{r.publish(shortChat)})
		if res := r.result(r.publish(shortChat)); res.Entry.Error != wire.CodeBudget {
			t.Errorf("the policy is not as it was: %s", res.Status)
		}
		set(r2, 2, "wait")
		waiting := r.publish(shortChat)
		r.reached(waiting, wire.Waiting)
		time.Sleep(2 * time.Minute)
		r1.book.Set(budgets(t, account.Definition{Scope: "tenant:acme", LimitJobs: whole(100)}))
		if list := r1.book.List("acme", time.Now()); len(list) != 1 || list[0].Limit != 2 || list[0].Source != "set" {
			t.Errorf("%+v", list)
		}
		raised := time.Now()
		set(r1, 3, "")
		near(t, "released", r.result(waiting).At.Sub(raised), 0, 70*time.Second)
		r1.stop()
		r2.stop()
		r3 := r.payer("r3", def)
		time.Sleep(2 * time.Second)
		if list := r3.book.List("", time.Now()); len(list) != 1 || list[0].Limit != 3 || list[0].Spent != 3 || list[0].OnExceeded != "wait" {
			t.Errorf("after a restart: %+v", list)
		}
		if err := r3.book.RemoveLimit(t.Context(), "tenant:acme jobs/day"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if list := r3.book.List("", time.Now()); len(list) != 1 || list[0].Limit != 1 || list[0].Source != "config" {
			t.Errorf("taken back: %+v", list)
		}
		if err := r3.book.RemoveLimit(t.Context(), "tenant:acme jobs/day"); err == nil {
			t.Error("taken back twice")
		}
		if len(r3.book.List("globex", time.Now())) != 0 {
			t.Error("a tenant sees another's budget")
		}
		if res := r.result(r.publish(shortChat)); res.Entry.Error != wire.CodeBudget {
			t.Errorf("%s: %s", res.Status, res.Body)
		}
		r.empty()
	})
}

// TestBudgetFromNothing: a budget that is new counts what the ledger holds of
// its window, also where the log of holds is lost.
func TestBudgetFromNothing(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		slow := newMoody(takes(0))
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: &slow.script}}})
		x := r.payer("r1")
		r.worker("w1")
		time.Sleep(time.Second)
		r.allSucceed(r.flood(wire.Standard, 50, shortChat))
		s, err := r.js.Stream(t.Context(), r.subj.Stream(wire.StreamHolds))
		if err != nil || s.CachedInfo().State.LastSeq != 0 {
			t.Errorf("without budgets %d messages are in the stream of holds, %v", s.CachedInfo().State.LastSeq, err)
		}
		def := account.Definition{Scope: "route:chat", LimitUSD: dollars(60*trueCost + worstCost)}
		x.book.Set(budgets(t, def))
		time.Sleep(time.Second)
		r.allSucceed(r.flood(wire.Standard, 10, shortChat))
		r.settledTo(60*trueCost, def)
		slow.set(func(int) reply { return reply{delay: 10 * time.Second} })
		id := r.publish(shortChat)
		r.reached(id, wire.Running)
		x.stop()
		if err := s.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		y := r.payer("r2", def)
		time.Sleep(2 * time.Second)
		if list := y.book.List("", time.Now()); list[0].Spent != 60*trueCost || list[0].Held != int64(worstCost) {
			t.Errorf("while an attempt runs: %+v", list)
		}
		r.allSucceed([]string{id})
		time.Sleep(15 * time.Second)
		if list := y.book.List("", time.Now()); list[0].Spent != 61*trueCost || list[0].Held != 0 {
			t.Errorf("%+v", list)
		}
		r.empty()
	})
}

// TestLogIsCut: the log of holds does not grow, and a router that has missed
// some of it finds its way.
func TestLogIsCut(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", concurrency: 16, provider: always(reply{delay: 50 * time.Millisecond})}}})
		def := account.Definition{Scope: "global", LimitUSD: dollars(1e9)}
		r.payer("r1", def)
		slow := r.payer("r2", def)
		r.worker("w1")
		time.Sleep(time.Second)
		slow.gate.freeze()
		var ids []string
		for range 12 {
			ids = append(ids, r.flood(wire.Standard, 20, shortChat)...)
			time.Sleep(2 * time.Second)
		}
		s, err := r.js.Stream(t.Context(), r.subj.Stream(wire.StreamHolds))
		if err != nil {
			t.Fatal(err)
		}
		if st := s.CachedInfo().State; st.FirstSeq < 5 || st.Msgs > 200 {
			t.Errorf("the log holds %d messages from %d on", st.Msgs, st.FirstSeq)
		}
		slow.gate.thaw()
		time.Sleep(40 * time.Second) // what the slow one had comes again
		r.allSucceed(ids)
		r.settledTo(int64(len(ids)*trueCost), def)
		r.empty()
	})
}

// TestBudgetEvents: each alert is raised once in a window, by one of the
// routers, and the pace before the budget is used up.
func TestBudgetEvents(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		time.Sleep(30 * time.Minute)
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: &script{}}}})
		var mu sync.Mutex
		var events []string
		if _, err := r.nc.Subscribe(r.subj.BudgetEvents("*"), func(m *nats.Msg) {
			var e budget.Event
			if err := json.Unmarshal(m.Data, &e); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			events = append(events, fmt.Sprint(e.Kind, " ", e.Percent))
			if e.Budget.ID != "global jobs/hour" || e.Budget.Limit != 10 || !strings.HasSuffix(m.Subject, e.Kind) {
				t.Errorf("%s: %s", m.Subject, m.Data)
			}
		}); err != nil {
			t.Fatal(err)
		}
		def := account.Definition{Scope: "global", LimitJobs: whole(10), Window: "hour"}
		for i := range 3 {
			r.payer(fmt.Sprint("r", i), def)
		}
		r.worker("w1")
		for range 10 {
			time.Sleep(5 * time.Second)
			r.allSucceed([]string{r.publish(shortChat)})
		}
		time.Sleep(5 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		got := strings.Join(events, ", ")
		if got != "pace 0, spent 50, spent 80, spent 100" {
			t.Errorf("events %s", got)
		}
		sum := uint64(0)
		for _, p := range r.procs {
			if p.book != nil {
				for _, n := range p.book.Raised() {
					sum += n
				}
			}
		}
		if sum != 4 {
			t.Errorf("%d events counted, want 4", sum)
		}
	})
}

// TestHoldsOfCopies: a job that is published again under its ID holds nothing
// for long.
func TestHoldsOfCopies(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: time.Second})
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: p}}})
		def := account.Definition{Scope: "tenant:acme", LimitUSD: dollars(10 * worstCost)}
		x := r.payer("r1", def)
		r.worker("w1")
		time.Sleep(time.Second)
		for range 3 {
			r.publish(shortChat, wire.HeaderJobID, "order-7")
		}
		r.publish(`{"model":"chat","max_tokens":2,"messages":[1]}`, wire.HeaderJobID, "order-7") // another job under the same ID
		r.result("order-7")
		r.publish(shortChat, wire.HeaderJobID, "order-7") // when it has ended
		time.Sleep(100 * time.Millisecond)
		if x.book.Holds() == 0 {
			t.Log("the copy took no hold, or lost it already")
		}
		time.Sleep(time.Minute) // copies in the queues go
		r.settledTo(trueCost, def)
		if p.count() != 1 {
			t.Errorf("%d calls", p.count())
		}
		r.empty()
	})
}

// TestBudgetUnderKills: routers are killed and replaced while four of them
// spend two budgets; providers fail, so attempts are repeated. Neither budget
// is exceeded, every job ends, nothing stays held, and all routers, new ones
// too, agree on what was spent.
func TestBudgetUnderKills(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		till := newTill(t, 3*worstCost+150*trueCost)
		answer := till.script.reply
		till.script.reply = func(n int, body string) reply {
			if n%7 == 0 {
				return reply{status: 500, delay: 30 * time.Millisecond}
			}
			return answer(n, body)
		}
		r := start(t, setup{dir: dir, bare: true, attempts: 20, pools: []pool{{name: "a", concurrency: 8, provider: &till.script}, {name: "b", concurrency: 8, provider: &till.script}}})
		defs := []account.Definition{{Scope: "tenant:acme", LimitUSD: dollars(till.limit), Window: "total"},
			{Scope: "route:chat", LimitTokens: whole(10*(len(shortChat)+3) + 300*13), Window: "total"}}
		var routers []*proc
		for i := range 4 {
			routers = append(routers, r.payer(fmt.Sprint("r", i), defs...))
		}
		r.worker("w1")
		time.Sleep(time.Second)
		ids := r.flood(wire.Standard, 150, shortChat)
		for i := range 6 {
			time.Sleep(200 * time.Millisecond)
			routers[i%4].gate.kill()
			routers[i%4] = r.payer(fmt.Sprint("heir", i), defs...)
		}
		r.allSucceed(ids)
		time.Sleep(70 * time.Second)
		spent := int64(0)
		for _, id := range ids {
			spent += int64(r.result(id).Entry.Progress.Spent)
		}
		if spent != int64(150*trueCost) {
			t.Errorf("%d spent by the records", spent)
		}
		r.settledTo(spent, defs[0])
		r.empty()
	})
}

package account

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// model is a deliberately simple world: a log of holds with compare-and-set, a
// ledger, routers that see both late, workers that end attempts, crashes.
type model struct {
	t       *testing.T
	rnd     *rand.Rand
	now     int64
	budgets []Budget
	log     [][]Hold
	ledger  []wire.Record
	stored  []int64
	bills   []bill // of each record of the ledger
	routers []*State
	jobs    []*modelJob
}

// bill is what an ended attempt has cost by the provider's books, by its own
// record, and at most.
type bill struct{ real, told, most Draw }

// modelJob is a job with the copies of it that are in pools' queues.
type modelJob struct {
	id     int
	tenant string
	n      int // attempts ended
	last   uint64
	queued bool
	done   bool
	copies []Hold // of attempt n+1, published to a pool, with their log sequences
	seqs   []uint64
	holds  []Hold // taken for attempt n+1, published or not
}

func (m *model) job(x *modelJob) Job {
	return Job{x.tenant, "j" + strconv.Itoa(x.id), uint64(x.id + 1)}
}

func mustBudget(t *testing.T, d Definition) Budget {
	t.Helper()
	b, faults := d.Parse()
	if len(faults) > 0 {
		t.Fatalf("%+v: %s", d, Error(faults))
	}
	return b
}

func usd(n int64) *wire.NanoUSD { v := wire.NanoUSD(n); return &v }
func num(n int64) *int64        { return &n }

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), now: time.Date(2026, 3, 29, 0, 30, 0, 0, time.UTC).UnixNano()}
	for _, d := range []Definition{
		{Scope: "global", LimitUSD: usd(100), Window: "hour"},
		{Scope: "tenant:a", LimitUSD: usd(60), Window: "day", Zone: "Europe/Berlin"},
		{Scope: "tenant:b,pool:p1", LimitTokens: num(50), Window: "hour", Rolling: true},
		{Scope: "pool:p2", LimitUSD: usd(300), Window: "total"},
		{Scope: "pool:p3", LimitUSD: usd(200), Window: "day", UnknownCost: "estimate"},
		{Scope: "label:team=x", LimitJobs: num(7), Window: "day"},
		{Scope: "provider:q,tenant:a", LimitUSD: usd(40), Window: "hour", Rolling: true},
	} {
		m.budgets = append(m.budgets, mustBudget(t, d))
	}
	for range 3 {
		m.routers = append(m.routers, m.fresh())
	}
	return m
}

// fresh is a router that starts from nothing, or from another's snapshot.
func (m *model) fresh() *State {
	s := New()
	if len(m.routers) > 0 && m.rnd.IntN(3) > 0 {
		b, err := m.routers[m.rnd.IntN(len(m.routers))].Encode()
		if err != nil {
			m.t.Fatal(err)
		}
		if s, err = Decode(b); err != nil {
			m.t.Fatal(err)
		}
	}
	s.Define(m.budgets, m.now)
	for s.Log() < uint64(len(m.log)) {
		s.Take(s.Log()+1, m.log[s.Log()])
	}
	m.settle(s, len(m.ledger))
	s.Reached(uint64(len(m.ledger)))
	return s
}

func (m *model) settle(s *State, n int) {
	for ; n > 0 && s.Pos() < uint64(len(m.ledger)); n-- {
		i := s.Pos()
		s.Settle(i+1, m.stored[i], &m.ledger[i])
	}
}

func (m *model) step() {
	s := m.routers[m.rnd.IntN(len(m.routers))]
	switch m.rnd.IntN(12) {
	case 0, 1:
		if len(m.jobs) < 400 {
			m.jobs = append(m.jobs, &modelJob{id: len(m.jobs), tenant: []string{"a", "b"}[m.rnd.IntN(2)], queued: true})
		}
	case 2, 3, 4:
		m.dispatch(s)
	case 5, 6, 7:
		m.work()
	case 8:
		m.settle(s, m.rnd.IntN(5))
	case 9:
		if s.Log() < uint64(len(m.log)) {
			s.Take(s.Log()+1, m.log[s.Log()])
		}
	case 10:
		m.now += int64(m.rnd.IntN(int(10 * time.Minute)))
		s.Prune(m.now)
	case 11:
		switch m.rnd.IntN(8) {
		case 3, 4:
			m.sweep(s)
		case 0:
			m.routers[m.rnd.IntN(len(m.routers))] = m.fresh()
		case 1: // a definition that comes and goes changes nothing for the others
			s.Define(m.budgets[:3], m.now)
			s.Define(m.budgets, m.now)
			m.settle(s, len(m.ledger))
			s.Reached(s.Pos())
		case 2:
			m.cancel()
		}
	}
}

// draw is a random worst case for the job.
func (m *model) draw(x *modelJob) Draw {
	c := Draw{At: m.now, USD: 1 + m.rnd.Int64N(30), Tokens: 1 + m.rnd.Int64N(20), First: x.n == 0}
	c.Facts = Facts{Tenant: x.tenant, Route: "chat", Pool: "p" + strconv.Itoa(1+m.rnd.IntN(3)), Provider: []string{"q", "r"}[m.rnd.IntN(2)], Model: "m"}
	if x.id%3 == 0 {
		c.Facts.Labels = map[string]string{"team": "x"}
	}
	return c
}

// dispatch takes holds for a few queued jobs as a router would: the append is
// refused unless the router has seen the whole log.
func (m *model) dispatch(s *State) {
	var asks []Hold
	var of []*modelJob
	for _, x := range m.jobs {
		if x.queued && len(asks) < 4 && m.rnd.IntN(3) == 0 {
			asks = append(asks, Hold{Job: m.job(x), N: x.n + 1, Draw: m.draw(x)})
			of = append(of, x)
		}
	}
	verdicts := s.Plan(asks)
	if s.Log() != uint64(len(m.log)) {
		return // compare-and-set
	}
	var taken []Hold
	for i, v := range verdicts {
		if v.Kind != Fits {
			continue
		}
		if v.Bound {
			taken = append(taken, asks[i])
			of[i].holds = append(of[i].holds, asks[i])
		}
		if m.rnd.IntN(6) == 0 {
			continue // the router dies before it publishes: the job stays queued
		}
		of[i].copies = append(of[i].copies, asks[i])
		of[i].seqs = append(of[i].seqs, uint64(len(m.log)+1))
		of[i].queued = m.rnd.IntN(8) == 0 // or before it acknowledges: a copy
	}
	if len(taken) > 0 {
		m.log = append(m.log, taken)
		if m.rnd.IntN(5) > 0 { // or it dies before it hears that it was stored
			s.Take(uint64(len(m.log)), taken)
		}
	}
	m.check()
}

// work ends an attempt of some job that is in a queue.
func (m *model) work() {
	for range 10 {
		if len(m.jobs) == 0 {
			return
		}
		x := m.jobs[m.rnd.IntN(len(m.jobs))]
		if x.done || len(x.copies) == 0 {
			continue
		}
		i := m.rnd.IntN(len(x.copies))
		m.end(x, &x.copies[i], x.seqs[i])
		return
	}
}

func (m *model) end(x *modelJob, h *Hold, seq uint64) {
	b := bill{h.Draw, h.Draw, h.Draw}
	b.told.USD, b.told.Tokens = m.rnd.Int64N(h.Draw.USD+1), m.rnd.Int64N(h.Draw.Tokens+1)
	b.real.USD, b.real.Tokens = b.told.USD, b.told.Tokens
	cost := wire.NanoUSD(b.told.USD)
	a := &wire.Attempt{N: h.N, Pool: h.Draw.Facts.Pool, Provider: h.Draw.Facts.Provider, Model: "m", Status: wire.Succeeded, Source: wire.UsageFromProvider,
		Cost: &cost, Usage: wire.Usage{Output: b.told.Tokens}, Hold: &wire.Hold{Seq: seq, At: h.Draw.At, USD: wire.NanoUSD(h.Draw.USD), Tokens: h.Draw.Tokens}}
	r := wire.Record{Status: wire.Succeeded, Entry: wire.Entry{Attempt: a}}
	if m.rnd.IntN(4) == 0 {
		a.Status, r.Status = wire.Failed, wire.Waiting
		if m.rnd.IntN(2) == 0 && b.told.Tokens > 0 { // cut: the estimate is any, and so is the truth
			a.Status, a.Source = wire.Interrupted, wire.UsageEstimated
			b.real.USD, b.real.Tokens = m.rnd.Int64N(h.Draw.USD+1), m.rnd.Int64N(h.Draw.Tokens+1)
		}
	}
	if a.Source == wire.UsageFromProvider {
		b.most = b.told
	}
	x.n, x.copies, x.seqs, x.holds = x.n+1, nil, nil, nil
	x.done = r.Status.Terminal()
	x.queued = !x.done
	m.record(x, r)
	m.bills[len(m.bills)-1] = b
}

func (m *model) record(x *modelJob, r wire.Record) {
	j := m.job(x)
	r.Entry.Meta = wire.Meta{Tenant: j.Tenant, ID: j.ID, Seq: j.Seq, Route: "chat"}
	if x.id%3 == 0 {
		r.Entry.Meta.Labels = map[string]string{"team": "x"}
	}
	m.ledger, m.stored, m.bills = append(m.ledger, r), append(m.stored, m.now), append(m.bills, bill{})
	x.last = uint64(len(m.ledger))
}

// cancel ends a job that has no attempt under way; copies in queues die.
func (m *model) cancel() {
	for _, x := range m.jobs {
		if !x.done && m.rnd.IntN(10) == 0 {
			x.done, x.queued, x.copies, x.seqs, x.holds = true, false, nil, nil, nil
			m.record(x, wire.Record{Status: wire.Cancelled})
			return
		}
	}
}

// sweep asks the ledger about the owners of holds, as routers do from time to
// time: a hold that a copy took after its job had ended dies this way only.
func (m *model) sweep(s *State) {
	for _, o := range s.Owners(m.now + 1) {
		x := m.jobs[o.Job.Seq-1]
		s.Void(o.Job, x.n, x.done, x.last)
	}
}

// truth is what a budget has really cost, what counts as spent, and what is held
// at most, by windows.
func (m *model) truth(b *Budget, at int64) (real, spent, held int64) {
	start := b.Window.Start(at)
	for i := range m.ledger {
		c := &m.bills[i]
		if m.ledger[i].EndsAttempt() && b.Scope.Matches(&c.real.Facts) && b.Window.Slot(c.real.At) >= start {
			real += b.Amount(&c.real)
			if b.Estimate {
				spent += b.Amount(&c.told)
			} else {
				spent += b.Amount(&c.most)
			}
		}
	}
	for _, x := range m.jobs {
		most := int64(0)
		for i := range x.holds {
			c := &x.holds[i].Draw
			if b.Scope.Matches(&c.Facts) && b.Window.Slot(c.At) >= start {
				most = max(most, b.Amount(c))
			}
		}
		held += most
	}
	return real, spent, held
}

// check: no budget is above its limit, by what counts and, unless it is one for
// estimates, by the truth (I1).
func (m *model) check() {
	for i := range m.budgets {
		b := &m.budgets[i]
		real, spent, held := m.truth(b, m.now)
		if spent+held > b.Limit || !b.Estimate && real+held > b.Limit {
			m.t.Fatalf("%s: %d paid, %d spent and %d held of %d", b.ID(), real, spent, held, b.Limit)
		}
	}
}

// finish ends all jobs and compares every router with the truth.
func (m *model) finish() {
	for _, x := range m.jobs {
		if !x.done && len(x.copies) > 0 {
			m.end(x, &x.copies[0], x.seqs[0])
		}
		if !x.done {
			x.done, x.holds = true, nil
			m.record(x, wire.Record{Status: wire.Failed})
		}
	}
	m.routers = append(m.routers, m.fresh(), m.fresh(), m.fresh())
	for n, s := range m.routers {
		for s.Log() < uint64(len(m.log)) {
			s.Take(s.Log()+1, m.log[s.Log()])
		}
		m.settle(s, len(m.ledger))
		m.sweep(s)
		if s.Holds() != 0 {
			m.t.Errorf("router %d has %d holds when all jobs have ended", n, s.Holds())
		}
		for _, x := range s.Standings(m.now) {
			_, spent, held := m.truth(&x.Budget, m.now)
			if x.Spent != spent || x.Held != 0 || held != 0 || x.Behind {
				m.t.Errorf("router %d: %s has %d spent and %d held, want %d and 0", n, x.Budget.ID(), x.Spent, x.Held, spent)
			}
		}
	}
}

// TestModel: in a random world of routers that lag, crash and start again,
// copies of jobs and lost acknowledgements, no budget is ever above its limit,
// and when all jobs have ended nothing is held and all routers know what was
// spent. SEED=n repeats a run.
func TestModel(t *testing.T) {
	runs, first := uint64(150), uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		runs, first = 1, n
	}
	refused, taken := 0, 0
	for i := range runs {
		seed := first + i
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, seed)
			for range 1500 {
				m.step()
			}
			for _, msg := range m.log {
				taken += len(msg)
			}
			for _, x := range m.jobs {
				if x.queued && len(x.holds) == 0 {
					refused++
				}
			}
			m.finish()
		}) {
			t.Fatalf("repeat with SEED=%d", seed)
		}
	}
	t.Logf("%d holds taken, %d jobs still queued", taken, refused)
	if taken < int(runs)*20 || refused < int(runs) {
		t.Errorf("%d holds taken and %d jobs waiting in %d runs: the limits did not bind", taken, refused, runs)
	}
}

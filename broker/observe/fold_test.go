package observe

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

const second = int64(time.Second)

// newTestFold has pools a, b and c on one route, and d on another.
func newTestFold(t *testing.T, limits map[string]Limits) *fold {
	t.Helper()
	var pools []router.Pool
	route := router.RouteSpec{Name: "chat", Strategy: "least_connections"}
	for _, name := range []string{"a", "b", "c", "d"} {
		pools = append(pools, router.Pool{Name: name, Concurrency: 4})
		if name != "d" {
			route.Candidates = append(route.Candidates, router.CandidateSpec{Pool: name, Model: "m", Weight: 1})
		}
	}
	other := router.RouteSpec{Name: "other", Strategy: "least_connections", Candidates: []router.CandidateSpec{{Pool: "d", Model: "m", Weight: 1}}}
	table, err := router.NewTable(pools, []router.RouteSpec{route, other})
	if err != nil {
		t.Fatal(err)
	}
	f := newFold("r1")
	f.set(Setup{Table: table, Limits: limits})
	return f
}

// records are a claim and an end as the ledger has them.
func claim(pool, job string, work uint64) *ledger.Seen {
	r := wire.Record{Status: wire.Running, Entry: wire.Entry{Meta: wire.Meta{ID: job, Tenant: "acme", BodyBytes: 400}, Owner: "w", WorkSeq: work,
		Attempt: &wire.Attempt{N: 1, Pool: pool, Model: "m"}}}
	return &ledger.Seen{Header: r.Encode()}
}

func end(pool, job string, change func(*wire.Attempt)) *ledger.Seen {
	a := &wire.Attempt{N: 1, Pool: pool, Model: "m", Status: wire.Succeeded, LatencyMS: 100, Usage: wire.Usage{Input: 10, Output: 20}}
	if change != nil {
		change(a)
	}
	r := wire.Record{Status: a.Status, Entry: wire.Entry{Meta: wire.Meta{ID: job, Tenant: "acme", BodyBytes: 400}, Attempt: a}}
	return &ledger.Seen{Header: r.Encode()}
}

func failed(code wire.Code) func(*wire.Attempt) {
	return func(a *wire.Attempt) { a.Status, a.ErrorCode = wire.Failed, code }
}

func (f *fold) load(pool string, now int64, depth int32, last uint64) router.Load {
	s := f.snapshot(now, nil)
	l := router.Load{Depth: depth}
	s.Fill(f.setup.Table.PoolIndex(pool), now, last, &l)
	return l
}

func TestCircuitOpensAndProbes(t *testing.T) {
	f := newTestFold(t, nil)
	now := 1000 * second
	for range 5 {
		f.record(end("a", "x", failed(wire.CodeProviderError)), now)
	}
	if l := f.load("a", now, 0, 0); l.Circuit != router.Open || l.OpenUntil != now+2*second {
		t.Fatalf("%+v", l)
	}
	if l := f.load("b", now, 0, 0); l.Circuit != router.Closed {
		t.Errorf("another pool: %+v", l)
	}
	now += 3 * second
	if l := f.load("a", now, 0, 0); l.Circuit != router.HalfOpen || l.Probes != probes {
		t.Errorf("%+v", l)
	}
	f.record(claim("a", "p1", 1), now)
	if l := f.load("a", now, 1, 1); l.Probes != probes-1 {
		t.Errorf("with a probe under way: %+v", l)
	}
	for _, job := range []string{"p1", "p2", "p3"} {
		f.record(end("a", job, nil), now+second)
	}
	if l := f.load("a", now+second, 0, 0); l.Circuit != router.Closed {
		t.Errorf("after three successes: %+v", l)
	}
	for range 100 {
		f.record(end("a", "x", failed(wire.CodeProviderRefused)), now+2*second)
	}
	if l := f.load("a", now+2*second, 0, 0); l.Circuit != router.Closed {
		t.Errorf("a request's own fault opened the circuit: %+v", l)
	}
}

func TestRateLimitedByItsWord(t *testing.T) {
	f := newTestFold(t, nil)
	now := 1000 * second
	f.record(end("a", "x", func(a *wire.Attempt) {
		a.Status, a.ErrorCode, a.RetryAfterMS = wire.Failed, wire.CodeRateLimited, 7000
	}), now)
	if l := f.load("a", now, 0, 0); l.LimitedUntil != now+7*second || l.Circuit == router.Open {
		t.Errorf("%+v", l)
	}
	if l := f.load("a", now+8*second, 0, 0); l.Circuit != router.HalfOpen || l.Probes != 1 {
		t.Errorf("it opens with one: %+v", l)
	}
	f.record(end("a", "x", nil), now+9*second)
	if l := f.load("a", now+9*second, 0, 0); l.Circuit != router.Closed {
		t.Errorf("%+v", l)
	}
}

// TestI4Shares: whatever is free and however many routers there are, their
// shares are together all of it, at any time.
func TestI4Shares(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		n, free, now := 1+rng.IntN(9), rng.Int64N(50)-10, rng.Int64N(1e12)
		sum := int64(0)
		for rank := range n {
			s := Snapshot{Routers: n, Rank: rank}
			sum += s.share(free, now)
		}
		if sum != max(free, 0) {
			t.Fatalf("%d routers share %d of %d", n, sum, free)
		}
	}
}

func TestLimits(t *testing.T) {
	f := newTestFold(t, map[string]Limits{"a": {Requests: 10, Tokens: 100_000}})
	now := 1000 * second
	for i := range uint64(4) {
		f.record(claim("a", string('p'+rune(i)), 10+i), now)
	}
	f.record(claim("a", "p", 10), now) // again: counts once
	// Seven in the queue, of which three are known to have started by then.
	if l := f.load("a", now, 7, 12); l.Requests.Used != 8 || l.Requests.Limit != 10 {
		t.Errorf("%+v, want 4 started and 4 waiting", l.Requests)
	}
	f.record(end("a", "p", nil), now+second)
	l := f.load("a", now+second, 3, 13)
	if l.Requests.Used != 4 {
		t.Errorf("%+v, want 4 started", l.Requests)
	}
	if want := 30 + 3*(wire.EstimateTokens(400)+expectedOutput); l.Tokens.Used != want {
		t.Errorf("%+v, want %d tokens", l.Tokens, want)
	}
	f.nodes["r0"] = node{router: true, seen: now}
	if l := f.load("a", now+second, 3, 13); l.Requests.Limit-l.Requests.Used != 3 {
		t.Errorf("%+v, want half of 6", l.Requests)
	}
	if l := f.load("a", now+62*second, 0, 13); l.Requests.Used != 0 {
		t.Errorf("a minute later: %+v", l.Requests)
	}
}

func TestProvidersOwnLimits(t *testing.T) {
	f := newTestFold(t, nil)
	now := 1000 * second
	tells := func(a *wire.Attempt) {
		a.Limits = &wire.Limits{Requests: wire.Limit{Limit: 100, Left: 40, ResetMS: 30_000}}
	}
	f.record(end("a", "x", tells), now)
	f.record(claim("a", "y", 1), now+second)
	if l := f.load("a", now+second, 1, 1); l.Requests.Limit != 100 || l.Requests.Used != 61 {
		t.Errorf("%+v, want 61 of 100", l.Requests)
	}
	if l := f.load("a", now+40*second, 0, 1); l.Requests.Limit != 100 || l.Requests.Used != 1 {
		t.Errorf("after its end %+v, want our own count", l.Requests)
	}
}

func TestI5Down(t *testing.T) {
	f := newTestFold(t, nil)
	now := 1000 * second
	if l := f.load("a", now, 0, 0); l.Down {
		t.Error("down before anything is known")
	}
	f.known = true
	f.nodes["w1"] = node{pools: []string{"a"}, seen: now}
	if f.load("a", now, 0, 0).Down || !f.load("b", now, 0, 0).Down {
		t.Error("a is served, b is not")
	}
	if !f.load("a", now+16*second, 0, 0).Down {
		t.Error("its worker was silent for 16 s")
	}
}

// TestOutlier: of three peers the one that fails is out, and pools of other
// routes are not compared with them.
func TestOutlier(t *testing.T) {
	f := newTestFold(t, nil)
	now := 1000 * second
	for i := range int64(20) {
		at := now + i*second/10
		f.record(end("b", "x", nil), at)
		f.record(end("c", "x", nil), at)
		for _, p := range []string{"a", "d"} {
			change := failed(wire.CodeProviderError)
			if i%2 == 0 {
				change = nil
			}
			f.record(end(p, "x", change), at)
		}
	}
	now += 2 * second
	f.judge(now)
	for name, want := range map[string]bool{"a": true, "b": false, "c": false, "d": false} {
		if l := f.load(name, now, 0, 0); l.Ejected != want && l.Circuit == router.Closed {
			t.Errorf("pool %s ejected: %v", name, l.Ejected)
		}
	}
}

// TestI3Garbage: no header makes the fold fail.
func TestI3Garbage(t *testing.T) {
	f := newTestFold(t, map[string]Limits{"a": {Requests: 1}})
	for _, h := range []map[string][]string{
		nil, {}, {wire.HeaderStatus: {"running"}}, {wire.HeaderPool: {"a"}}, {wire.HeaderPool: {"a"}, wire.HeaderStatus: {"running"}, wire.HeaderEntry: {"{"}},
		{wire.HeaderPool: {"a"}, wire.HeaderStatus: {"succeeded"}, wire.HeaderEntry: {"{}"}}, {wire.HeaderPool: {}, wire.HeaderStatus: {}},
	} {
		f.record(&ledger.Seen{Header: h}, 1)
	}
	if l := f.load("a", second, 0, 0); l.Requests.Used != 0 {
		t.Errorf("%+v", l)
	}
}

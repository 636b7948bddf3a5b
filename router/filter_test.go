package router

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Each case spoils p0; p1 is always fine. want is p0's reason.
func TestFilters(t *testing.T) {
	usd := func(n wire.NanoUSD) *wire.NanoUSD { return &n }
	price := &wire.Price{Input: 1_000_000, Output: 4_000_000} // 1 and 4 dollars per million
	night := &Schedule{Windows: []Hours{{From: 22 * 60, To: 6 * 60}}}
	for _, c := range []struct {
		name  string
		pool  func(p *Pool)
		cand  func(c *CandidateSpec)
		load  func(l *Load)
		input func(in *Input)
		want  Reason
		until int64 // when p0 is the only candidate
	}{
		{name: "nothing"},
		{name: "zero weight", cand: func(c *CandidateSpec) { c.Weight = 0 }, want: ZeroWeight},
		{name: "tenant", pool: func(p *Pool) { p.Tenants = []string{"other"} }, want: WrongTenant},
		{name: "tenant listed", pool: func(p *Pool) { p.Tenants = []string{"other", "acme"} }},
		{name: "tier", pool: func(p *Pool) { p.TenantTiers = []string{"gold"} }, want: WrongTier},
		{name: "tier listed", pool: func(p *Pool) { p.TenantTiers = []string{"gold"} }, input: func(in *Input) { in.Tier = "gold" }},
		{name: "label", input: func(in *Input) { in.Require = []Label{{"gdpr", "yes"}} }, want: WrongLabels,
			pool: func(p *Pool) { p.Labels = map[string]string{"gdpr": "no"} }},
		{name: "preferred label", input: func(in *Input) { in.Prefer = []Label{{"gdpr", "yes"}} }, want: NotPreferred},
		{name: "endpoint", pool: func(p *Pool) { p.Endpoints = []wire.Endpoint{wire.Embeddings} }, want: NoEndpoint},
		{name: "streaming", cand: func(c *CandidateSpec) { c.Capabilities = Tools },
			input: func(in *Input) { in.Meta.Stream = true }, want: NoCapability},
		{name: "tools of the pool", pool: func(p *Pool) { p.Capabilities = Streaming },
			input: func(in *Input) { in.Needs = Tools }, want: NoCapability},
		{name: "candidate before pool", pool: func(p *Pool) { p.Capabilities = Streaming },
			cand:  func(c *CandidateSpec) { c.Capabilities = Tools },
			input: func(in *Input) { in.Needs = Tools }},
		{name: "context", cand: func(c *CandidateSpec) { c.Context = 1000 },
			input: func(in *Input) { in.Meta.MaxTokens = 901 }, want: TooLong},
		{name: "context just fits", cand: func(c *CandidateSpec) { c.Context = 1000 },
			input: func(in *Input) { in.Meta.MaxTokens = 900 }},
		{name: "unknown price", input: func(in *Input) { in.Meta.MaxCost = usd(1e9) }, want: PriceUnknown,
			cand: func(c *CandidateSpec) { c.Price = nil }},
		// 100 in, 10 out: 100 × 1,000 + 10 × 4,000 nano-dollars.
		{name: "max cost", cand: func(c *CandidateSpec) { c.Price = price }, want: OverMaxCost,
			input: func(in *Input) { in.Meta.MaxCost, in.Meta.MaxTokens = usd(139_999), 10 }},
		{name: "max cost just fits", cand: func(c *CandidateSpec) { c.Price = price },
			input: func(in *Input) { in.Meta.MaxCost, in.Meta.MaxTokens = usd(140_000), 10 }},
		{name: "max cost, part spent", cand: func(c *CandidateSpec) { c.Price = price }, want: OverMaxCost,
			input: func(in *Input) {
				in.Meta.MaxCost, in.Meta.MaxTokens = usd(150_000), 10
				in.Progress = &wire.Progress{Spent: 10_001}
			}},
		{name: "draining", pool: func(p *Pool) { p.Draining = true }, want: Draining},
		{name: "down", pool: func(p *Pool) { p.Down = true }, want: Down},
		{name: "down now", load: func(l *Load) { l.Down = true }, want: Down},
		{name: "off schedule", cand: func(c *CandidateSpec) { c.Schedule = night }, want: OffSchedule,
			until: int64(22 * time.Hour)},
		{name: "unhealthy", load: func(l *Load) { l.Unhealthy = true }, want: Unhealthy},
		{name: "open", load: func(l *Load) { l.Circuit, l.OpenUntil = Open, int64(13*time.Hour) }, want: CircuitOpen,
			until: int64(13 * time.Hour)},
		{name: "open no longer", load: func(l *Load) { l.Circuit, l.OpenUntil = Open, int64(12*time.Hour) }},
		{name: "half open", load: func(l *Load) { l.Circuit = HalfOpen }, want: CircuitOpen},
		{name: "half open, probe", load: func(l *Load) { l.Circuit, l.Probes = HalfOpen, 1 }},
		{name: "limited", load: func(l *Load) { l.LimitedUntil = int64(13 * time.Hour) }, want: RateLimited,
			until: int64(13 * time.Hour)},
		{name: "requests", load: func(l *Load) { l.Requests = Quota{Limit: 5, Used: 5, Reset: int64(14 * time.Hour)} },
			want: RateLimited, until: int64(14 * time.Hour)},
		{name: "requests left", load: func(l *Load) { l.Requests = Quota{Limit: 5, Used: 4} }},
		{name: "tokens", load: func(l *Load) { l.Tokens = Quota{Limit: 1000, Used: 500} }, want: RateLimited},
		{name: "tokens, larger than the limit", load: func(l *Load) { l.Tokens = Quota{Limit: 10} }},
		{name: "full", load: func(l *Load) { l.Depth = 15 }, want: Full},
		{name: "full for batch", load: func(l *Load) { l.Depth = 10 }, input: func(in *Input) { in.Meta.Class = wire.Batch }, want: Full},
		{name: "not full for interactive", load: func(l *Load) { l.Depth = 19 }, input: func(in *Input) { in.Meta.Class = wire.Interactive }},
		{name: "ejected", load: func(l *Load) { l.Ejected = true }, want: Ejected},
		{name: "refused", input: func(in *Input) {
			in.Progress = &wire.Progress{Misfits: []string{"gone/m", "p1/other", "p0/m/x", "p0/m", "p"}}
		}, want: Misfit},
		{name: "refused by another model", input: func(in *Input) {
			in.Progress = &wire.Progress{Misfits: []string{"p0/other", "p0", "p/0m", "p0.m"}}
		}},
		{name: "tried", input: func(in *Input) { in.Progress = &wire.Progress{Tried: []string{"gone", "p0"}} }, want: Tried},
	} {
		t.Run(c.name, func(t *testing.T) {
			pools, spec := poolsOf(2, 10), specOf("round_robin", 1, 1)
			pools[1].Labels = map[string]string{"gdpr": "yes"}
			for i := range spec.Candidates {
				spec.Candidates[i].Price = &wire.Price{Input: 1}
			}
			if c.pool != nil {
				c.pool(&pools[0])
			}
			if c.cand != nil {
				c.cand(&spec.Candidates[0])
			}
			f := newFixture(t, pools, spec)
			f.in.Now = int64(12*time.Hour) + 1
			if c.load != nil {
				c.load(&f.load[0])
			}
			if c.input != nil {
				c.input(&f.in)
			}
			got := f.decide()
			if r := f.out.Candidates[0].Excluded; r != c.want {
				t.Fatalf("p0: got %q, want %q", r, c.want)
			}
			if want := map[bool]string{true: "p0", false: "p1"}[c.want == Eligible]; got != want {
				t.Errorf("chose %s, want %s", got, want)
			}
			if r := f.out.Candidates[1].Excluded; r != Eligible {
				t.Errorf("p1: %q", r)
			}
			alone(t, f, pools, spec, c.want, c.until)
		})
	}
}

// alone decides again without p1.
func alone(t *testing.T, f *fixture, pools []Pool, spec RouteSpec, reason Reason, until int64) {
	t.Helper()
	spec.Candidates = spec.Candidates[:1]
	g := newFixture(t, pools, spec)
	copy(g.load, f.load)
	g.in = f.in
	got := g.decide()
	if soft := reason >= Ejected; reason == Eligible || soft {
		if got != "p0" || g.out.Candidates[0].Excluded != Eligible {
			t.Errorf("alone: chose %s, reason %q", got, g.out.Candidates[0].Excluded)
		}
		return
	}
	if got != "-" || g.out.Full != reason.Temporary() || g.out.Until != until {
		t.Errorf("alone: chose %s, full %v until %d; want full %v until %d", got, g.out.Full, g.out.Until, reason.Temporary(), until)
	}
}

// A reason that never passes hides one that does (I5).
func TestPermanentReasonFirst(t *testing.T) {
	pools := poolsOf(1, 1)
	pools[0].Tenants = []string{"other"}
	pools[0].Draining = true
	f := newFixture(t, pools, specOf("round_robin", 1))
	f.load[0].Depth = 100
	if got := f.decide(); got != "-" || f.out.Full || f.out.Candidates[0].Excluded != WrongTenant {
		t.Errorf("chose %s, full %v, reason %q", got, f.out.Full, f.out.Candidates[0].Excluded)
	}
}

func TestAllowance(t *testing.T) {
	for _, c := range []struct {
		concurrency                  int
		interactive, standard, batch int
	}{{0, 2, 1, 1}, {-5, 2, 1, 1}, {1, 2, 1, 1}, {2, 4, 3, 2}, {64, 128, 96, 64}} {
		p := Pool{Concurrency: c.concurrency}
		if i, s, b := p.Allowance(wire.Interactive), p.Allowance(wire.Standard), p.Allowance(wire.Batch); i != c.interactive || s != c.standard || b != c.batch {
			t.Errorf("concurrency %d: %d, %d, %d", c.concurrency, i, s, b)
		}
	}
}

// A job whose pools were all tried goes on with those that have room.
func TestAllTried(t *testing.T) {
	f := simple(t, "round_robin", 1, 1)
	f.in.Progress = &wire.Progress{Tried: []string{"p0", "p1"}}
	if got := f.counts(2); got["p0"] != 1 || got["p1"] != 1 {
		t.Errorf("got %v", got)
	}
	f.in.Progress.Tried = []string{"p0"}
	f.load[1].Down = true
	if got := f.counts(2); got["p0"] != 2 {
		t.Errorf("with p1 down: got %v", got)
	}
}

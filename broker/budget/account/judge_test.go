package account

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC).UnixNano()

// with is a state with budgets that has read the ledger.
func with(t *testing.T, defs ...Definition) *State {
	t.Helper()
	s := New()
	var budgets []Budget
	for _, d := range defs {
		budgets = append(budgets, mustBudget(t, d))
	}
	s.Define(budgets, noon)
	s.Reached(0)
	return s
}

func job(n uint64) Job { return Job{"acme", "j", n} }

func draw(n int64) Draw {
	return Draw{At: noon, USD: n, Tokens: 10 * n, First: true, Facts: Facts{Tenant: "acme", Pool: "p", Model: "m", Route: "chat"}}
}

// ended is the record of an attempt of a job that has cost n.
func ended(j Job, n int64, hold *wire.Hold) *wire.Record {
	cost := wire.NanoUSD(n)
	return &wire.Record{Status: wire.Succeeded, Entry: wire.Entry{Meta: wire.Meta{Tenant: j.Tenant, ID: j.ID, Seq: j.Seq, Route: "chat"},
		Attempt: &wire.Attempt{N: 1, Pool: "p", Model: "m", Status: wire.Succeeded, Cost: &cost, Usage: wire.Usage{Output: 10 * n}, Hold: hold}}}
}

func TestJudge(t *testing.T) {
	hour := Definition{Scope: "tenant:acme", LimitUSD: usd(100), Window: "hour"}
	for name, c := range map[string]struct {
		defs  []Definition
		spent int64
		held  int64
		ask   Draw
		kind  Kind
		id    string
		bar   bool
		until time.Duration // after noon
	}{
		"nothing binds":      {[]Definition{{Scope: "tenant:other", LimitUSD: usd(1)}}, 0, 0, draw(5), Fits, "", false, 0},
		"fits":               {[]Definition{hour}, 50, 30, draw(20), Fits, "", false, 0},
		"crowded":            {[]Definition{hour}, 50, 30, draw(21), Crowded, "tenant:acme usd/hour", false, 0},
		"exceeded":           {[]Definition{hour}, 80, 0, draw(21), Exceeded, "tenant:acme usd/hour", false, time.Hour},
		"exceeded and held":  {[]Definition{hour}, 80, 20, draw(21), Exceeded, "tenant:acme usd/hour", false, time.Hour},
		"never":              {[]Definition{hour}, 0, 0, draw(101), Never, "tenant:acme usd/hour", true, 0},
		"pool":               {[]Definition{{Scope: "pool:p", LimitUSD: usd(100), Window: "day"}}, 80, 0, draw(21), Exceeded, "pool:p usd/day", true, 12 * time.Hour},
		"cheaper":            {[]Definition{{Scope: "global", LimitTokens: num(1000), OnExceeded: "cheaper"}}, 80, 0, draw(21), Exceeded, "global tokens/day", true, 12 * time.Hour},
		"the strictest":      {[]Definition{hour, {Scope: "global", LimitUSD: usd(100), OnExceeded: "reject", Window: "day"}}, 80, 0, draw(21), Exceeded, "global usd/day", false, 12 * time.Hour},
		"the latest":         {[]Definition{hour, {Scope: "global", LimitUSD: usd(100), Window: "month"}}, 80, 0, draw(21), Exceeded, "", false, 29*24*time.Hour + 12*time.Hour + 0},
		"the worst kind":     {[]Definition{{Scope: "global", LimitUSD: usd(99), Window: "day"}, {Scope: "tenant:acme", LimitUSD: usd(90), Window: "hour"}}, 70, 0, draw(91), Never, "tenant:acme usd/hour", true, 0},
		"jobs":               {[]Definition{{Scope: "global", LimitJobs: num(1)}}, 5, 0, draw(1), Exceeded, "global jobs/day", false, 12 * time.Hour},
		"a later attempt":    {[]Definition{{Scope: "global", LimitJobs: num(1)}}, 5, 0, Draw{At: noon}, Fits, "", false, 0},
		"later, of a pool":   {[]Definition{{Scope: "pool:p", LimitJobs: num(1)}}, 5, 0, Draw{At: noon, Facts: Facts{Pool: "p"}}, Exceeded, "pool:p jobs/day", true, 12 * time.Hour},
		"unpriced":           {[]Definition{hour}, 0, 0, Draw{At: noon, Unknown: true, Facts: Facts{Tenant: "acme"}}, Unpriced, "tenant:acme usd/hour", true, 0},
		"unpriced in tokens": {[]Definition{{Scope: "global", LimitTokens: num(1000)}}, 0, 0, Draw{At: noon, Unknown: true, Tokens: 5}, Fits, "", false, 0},
		"unpriced, allowed":  {[]Definition{{Scope: "global", LimitUSD: usd(10), UnknownPrice: "allow"}}, 10, 0, Draw{At: noon, Unknown: true}, Fits, "", false, 0},
		"rolling":            {[]Definition{{Scope: "global", LimitUSD: usd(100), Window: "hour", Rolling: true}}, 80, 0, draw(21), Exceeded, "global usd/rolling-hour", false, time.Hour + time.Minute},
	} {
		s := with(t, c.defs...)
		if c.spent > 0 {
			s.Settle(1, noon, ended(job(1), c.spent, nil))
		}
		if c.held > 0 {
			s.Take(1, []Hold{{job(2), 1, draw(c.held)}})
		}
		v := s.Judge(job(3), 1, &c.ask)
		id := ""
		if v.Budget != nil {
			id = v.Budget.ID()
		}
		until := time.Duration(0)
		if v.Until > 0 {
			until = time.Duration(v.Until - noon)
		}
		if v.Kind != c.kind || c.id != "" && id != c.id || v.Bar != c.bar || until != c.until || v.Bound != (name != "nothing binds") {
			t.Errorf("%s: %+v of %s, until %s; want kind %d of %s, until %s", name, v, id, until, c.kind, c.id, c.until)
		}
	}
}

// TestHoldTwice: a hold taken again for the same attempt replaces the first
// where it is larger, and moves with its window; another attempt adds up.
func TestHoldTwice(t *testing.T) {
	s := with(t, Definition{Scope: "global", LimitUSD: usd(100), Window: "hour"}, Definition{Scope: "pool:q", LimitUSD: usd(100), Window: "hour"})
	held := func() (all, q int64) {
		st := s.Standings(noon)
		return st[0].Held, st[1].Held
	}
	check := func(what string, wantAll, wantQ int64) {
		t.Helper()
		if all, q := held(); all != wantAll || q != wantQ {
			t.Errorf("%s: %d and %d held, want %d and %d", what, all, q, wantAll, wantQ)
		}
	}
	s.Take(1, []Hold{{job(1), 1, draw(60)}})
	if v := s.Judge(job(1), 1, &Draw{At: noon, USD: 100}); v.Kind != Fits {
		t.Errorf("the same attempt is in its own way: %+v", v)
	}
	s.Take(2, []Hold{{job(1), 1, draw(60)}})
	check("again", 60, 0)
	other := draw(40)
	other.Facts.Pool = "q"
	s.Take(3, []Hold{{job(1), 1, other}})
	check("a copy for another pool", 60, 40)
	s.Take(4, []Hold{{job(1), 2, draw(5)}})
	check("the next attempt", 65, 40)
	s.Take(4, []Hold{{job(9), 1, draw(5)}})
	check("a message seen twice", 65, 40)
	s.Settle(1, noon, ended(job(1), 1, nil))
	check("ended", 0, 0)
	if s.Holds() != 0 {
		t.Errorf("%d holds", s.Holds())
	}
	if s.Settle(1, noon, ended(job(1), 1, nil)) {
		t.Error("a record counts twice")
	}
	if st := s.Standings(noon); st[0].Spent != 1 || st[0].Left() != 99 || st[0].Percent() != 1 {
		t.Errorf("%+v", st[0])
	}
}

// TestOwnWindow: a cost counts in the window of its hold, whenever it is
// settled, and above its hold too.
func TestOwnWindow(t *testing.T) {
	s := with(t, Definition{Scope: "global", LimitUSD: usd(100), Window: "hour"})
	c := draw(60)
	c.At = noon - 1
	s.Take(1, []Hold{{job(1), 1, c}})
	if st := s.Standings(noon); st[0].Held != 0 {
		t.Errorf("%d held in the next window", st[0].Held)
	}
	s.Settle(1, noon+5, ended(job(1), 70, &wire.Hold{Seq: 1, At: c.At}))
	if now, before := s.Standings(noon)[0], s.Standings(noon - 1)[0]; now.Spent != 0 || before.Spent != 70 || before.Held != 0 {
		t.Errorf("%d spent now and %d before, want 0 and 70", now.Spent, before.Spent)
	}
}

// TestCut: what an attempt has cost that was cut nobody knows, so it counts as
// its worst case; what is known, or was refused, does not.
func TestCut(t *testing.T) {
	def := Definition{Scope: "tenant:acme", LimitUSD: usd(100), Window: "hour"}
	lenient := def
	lenient.UnknownCost = "estimate"
	tokens := Definition{Scope: "tenant:acme", LimitTokens: num(1000), Window: "hour"}
	hold := &wire.Hold{Seq: 1, At: noon, USD: 60, Tokens: 600}
	for name, c := range map[string]struct {
		def    Definition
		status wire.Status
		source wire.UsageSource
		cost   int64
		hold   *wire.Hold
		want   int64
	}{
		"cut":                     {def, wire.Interrupted, wire.UsageEstimated, 7, hold, 60},
		"cut, tokens":             {tokens, wire.Interrupted, wire.UsageEstimated, 7, hold, 600},
		"cancelled":               {def, wire.Cancelled, wire.UsageEstimated, 7, hold, 60},
		"failed after a part":     {def, wire.Failed, wire.UsageEstimated, 7, hold, 60},
		"above the hold":          {def, wire.Interrupted, wire.UsageEstimated, 70, hold, 70},
		"heard to its end":        {def, wire.Failed, wire.UsageFromProvider, 7, hold, 7},
		"whole without usage":     {def, wire.Succeeded, wire.UsageEstimated, 7, hold, 7},
		"refused":                 {def, wire.Failed, wire.UsageEstimated, 0, hold, 0},
		"estimates are enough":    {lenient, wire.Interrupted, wire.UsageEstimated, 7, hold, 7},
		"no hold":                 {def, wire.Interrupted, wire.UsageEstimated, 7, nil, 7},
		"a hold of an old router": {def, wire.Interrupted, wire.UsageEstimated, 7, &wire.Hold{Seq: 1, At: noon}, 7},
	} {
		s := with(t, c.def)
		r := ended(job(1), c.cost, c.hold)
		r.Entry.Attempt.Status, r.Entry.Attempt.Source = c.status, c.source
		s.Settle(1, noon+5, r)
		if got := s.Standings(noon + 6)[0].Spent; got != c.want {
			t.Errorf("%s: %d spent, want %d", name, got, c.want)
		}
	}
}

// TestBehind: a budget that is new has no room before the ledger has been
// read; those that were there go on.
func TestBehind(t *testing.T) {
	old := Definition{Scope: "global", LimitUSD: usd(100)}
	s := with(t, old)
	for i := range uint64(5) {
		s.Settle(i+1, noon, ended(job(i), 10, nil))
	}
	since := s.Define([]Budget{mustBudget(t, old), mustBudget(t, Definition{Scope: "tenant:acme", LimitUSD: usd(100), Window: "hour"})}, noon)
	if s.Pos() != 0 || since != noon || s.Caught() {
		t.Errorf("position %d, since %d", s.Pos(), since)
	}
	c := draw(10)
	if v := s.Judge(job(9), 1, &c); v.Kind != Crowded || v.Budget.ID() != "tenant:acme usd/hour" {
		t.Errorf("%+v", v)
	}
	for i := range uint64(5) {
		s.Settle(i+1, noon, ended(job(i), 10, nil))
	}
	s.Reached(5)
	for _, x := range s.Standings(noon) {
		if x.Spent != 50 || x.Behind {
			t.Errorf("%s: %d spent", x.Budget.ID(), x.Spent)
		}
	}
	if v := s.Judge(job(9), 1, &c); v.Kind != Fits {
		t.Errorf("%+v", v)
	}
}

func TestWorst(t *testing.T) {
	price := &wire.Price{Input: 1e6, CacheWrite: 2e6, Output: 3e6, Reasoning: 4e6} // 1,000 nano-dollars a token and so on
	for name, c := range map[string]struct {
		meta   wire.Meta
		offer  Offer
		tokens int64
		cost   int64
		output int64
	}{
		"bytes are tokens": {wire.Meta{BodyBytes: 100, MaxTokens: 10}, Offer{Price: price}, 110, 100*2000 + 10*4000, 10},
		"no bound":         {wire.Meta{BodyBytes: 100}, Offer{Price: price}, 150, 100*2000 + 50*4000, 50},
		"several answers":  {wire.Meta{BodyBytes: 100, MaxTokens: 10, Choices: 3}, Offer{Price: price}, 130, 100*2000 + 30*4000, 10},
		"media":            {wire.Meta{BodyBytes: 100, MaxTokens: 10, Needs: wire.NeedVision}, Offer{Price: price}, 1110, 1100*2000 + 10*4000, 10},
		"context":          {wire.Meta{BodyBytes: 100, MaxTokens: 10}, Offer{Price: price, Context: 30}, 40, 30*2000 + 10*4000, 10},
		"the model's most": {wire.Meta{BodyBytes: 100, MaxTokens: 100}, Offer{Price: price, MaxOutput: 7}, 107, 100*2000 + 7*4000, 7},
		"embeddings":       {wire.Meta{BodyBytes: 100, MaxTokens: 9, Endpoint: wire.Embeddings}, Offer{Price: price}, 100, 100 * 2000, 0},
		"unknown":          {wire.Meta{BodyBytes: 100, MaxTokens: 10}, Offer{}, 110, 0, 10},
	} {
		got, output := Bounds{Output: 50, Media: 1000}.Worst(&c.meta, &c.offer)
		if got.Tokens != c.tokens || got.USD != c.cost || output != c.output || got.Unknown != (c.offer.Price == nil) {
			t.Errorf("%s: %+v, bound %d; want %d tokens, %d, bound %d", name, got, output, c.tokens, c.cost, c.output)
		}
	}
	if c, out := (Bounds{}).Worst(&wire.Meta{BodyBytes: 8 << 20, MaxTokens: wire.MaxTokens, Choices: wire.MaxChoices}, &Offer{Price: &wire.Price{Output: 1e12}}); c.USD <= 0 || c.Tokens <= 0 || out != wire.MaxTokens {
		t.Errorf("overflow: %+v", c)
	}
}

// TestForecast: the pace of late, carried on to the end of the window.
func TestForecast(t *testing.T) {
	s := with(t, Definition{Scope: "global", LimitUSD: usd(1e6), Window: "day"}, Definition{Scope: "global", LimitUSD: usd(1e6), Window: "total"})
	from := noon - 12*int64(time.Hour)
	for i := range uint64(12 * 4) { // 10 each quarter of an hour
		at := from + int64(i)*int64(15*time.Minute)
		s.Settle(i+1, at, ended(job(i), 10, nil))
	}
	s.Prune(noon)
	st := s.Standings(noon)
	if st[0].Spent != 480 || st[0].Forecast < 900 || st[0].Forecast > 980 || st[0].Quick < 900 || st[0].Quick > 980 {
		t.Errorf("day: %+v", st[0])
	}
	if st[1].Spent != 480 || st[1].Forecast != -1 || st[1].End != 0 {
		t.Errorf("total: %+v", st[1])
	}
}

// TestSnapshot: a state that is stored and read again is the same.
func TestSnapshot(t *testing.T) {
	s := with(t, Definition{Scope: "global", LimitUSD: usd(100), Window: "hour"})
	s.Take(1, []Hold{{job(1), 1, draw(60)}, {job(2), 1, draw(6)}})
	s.Settle(1, noon, ended(job(2), 3, nil))
	raw, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	d, err := Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	d.Define([]Budget{mustBudget(t, Definition{Scope: "global", LimitUSD: usd(100), Window: "hour"})}, noon)
	if d.Log() != 1 || d.Pos() != 1 || d.Holds() != 1 {
		t.Errorf("log %d, ledger %d, %d holds", d.Log(), d.Pos(), d.Holds())
	}
	d.Reached(1)
	a, b := s.Standings(noon)[0], d.Standings(noon)[0]
	if a.Spent != b.Spent || a.Held != b.Held || b.Held != 60 {
		t.Errorf("%+v, want %+v", b, a)
	}
	again, err := d.Encode()
	if err != nil || string(again) != string(raw) {
		t.Errorf("%s\n%s %v", raw, again, err)
	}
	for _, bad := range []string{"", "[]", `{"v":2}`} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%q is a state", bad)
		}
	}
	if !json.Valid(raw) {
		t.Error("no JSON")
	}
}

package steer

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/rules"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

func ruled(t testing.TB, list ...rules.Rule) *Plan {
	t.Helper()
	set, err := rules.Compile(list)
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{Rules: set})
}

func meta() *wire.Meta {
	return &wire.Meta{ID: "j1", Tenant: "acme", Class: wire.Standard, Route: "main", SubmittedAt: submitted, Labels: map[string]string{"a": "b"}}
}

func TestSteer(t *testing.T) {
	tab, now := table(t), time.Unix(0, submitted)
	eu := []router.Label{{Name: "region", Value: "eu"}}
	p := ruled(t,
		rules.Rule{Name: "bad", When: `labels.none == "x"`},
		rules.Rule{Name: "all", When: `tier == "gold" && attempt == 2`, Then: rules.Effect{Route: "small", Require: eu, Prefer: eu, Class: wire.Batch, MaxAttempts: 9, Deadline: time.Minute}},
		rules.Rule{Name: "gone", When: `affinity == "gone"`, Then: rules.Effect{Route: "nowhere", MaxAttempts: 2}},
	)
	m := meta()
	c := p.Steer(tab, m, "gold", 2, now)
	want := Course{Route: "small", Base: "small", Require: eu, Prefer: eu, MaxAttempts: 9, Rules: []string{"all"}, Failed: []string{"bad"}}
	if !reflect.DeepEqual(c, want) || m.Class != wire.Batch || m.AskedClass != wire.Standard || m.Deadline != submitted+int64(time.Minute) || m.Route != "main" {
		t.Errorf("got %+v, job %+v", c, m)
	}
	// I3: again later, by a plan that knows nothing of it, and by none.
	if again := p.Steer(tab, m, "gold", 2, now.Add(30*time.Second)); !reflect.DeepEqual(again, want) || m.Deadline != submitted+int64(time.Minute) || m.AskedClass != wire.Standard {
		t.Errorf("again %+v, job %+v", again, m)
	}
	if c := p.Steer(tab, m, "", 2, now); c.Route != "main" || m.Class != wire.Standard || m.AskedClass != "" {
		t.Errorf("when it no longer matches: %+v, job %+v", c, m)
	}
	var none *Plan
	if c := none.Steer(tab, meta(), "gold", 1, now); !reflect.DeepEqual(c, Course{Route: "main", Base: "main"}) {
		t.Errorf("without a plan: %+v", c)
	}
	// An earlier deadline of the client's stays.
	m = meta()
	m.Deadline = submitted + 5
	if p.Steer(tab, m, "gold", 2, now); m.Deadline != submitted+5 {
		t.Errorf("deadline %d", m.Deadline)
	}
	// I2.
	m = meta()
	m.Affinity = "gone"
	if c := p.Steer(tab, m, "", 1, now); c.Route != "main" || c.MaxAttempts != 2 || !slices.Equal(c.Failed, []string{"bad", "gone"}) || !slices.Equal(c.Rules, []string{"gone"}) {
		t.Errorf("a route that is gone: %+v", c)
	}
}

// TestAttempt: what is recorded is what was decided.
func TestAttempt(t *testing.T) {
	p := New(Config{Fallbacks: map[string][]Step{"main": {{Route: "small", MaxTokens: 20}, {Route: "tiny"}}}})
	tab, loads := table(t), state(t, "a:down b:open", submitted)
	c := Course{Route: "main", Base: "main", MaxAttempts: 4, Rules: []string{"r"}, Failed: []string{"f"}}
	var ch Choice
	p.Decide(tab, loads, &c, router.Input{Meta: meta(), Progress: &wire.Progress{}, Now: submitted}, func(string) uint64 { return 42 }, &ch)
	a := c.Attempt(3, tab, loads, &ch)
	d := a.Decision
	if a.N != 3 || a.Pool != "c" || a.Model != "m-c" || a.Provider != "p" || a.Region != "eu" || a.Strategy != "least_connections" || a.Price == nil || a.MaxAttempts != 4 || a.MaxTokens != 20 {
		t.Errorf("%+v", a)
	}
	if d.Route != "small" || d.Fallback != 1 || d.Left != 1 || !d.Next || d.Sequence != 42 || !slices.Equal(d.Rules, c.Rules) || !slices.Equal(d.Failed, c.Failed) || len(d.Candidates) != 1 {
		t.Errorf("%+v", d)
	}
}

func BenchmarkDecideWithoutAPlan(b *testing.B) {
	tab := table(b)
	loads := state(b, "", submitted)
	var p *Plan
	var ch Choice
	c := Course{Route: "main", Base: "main"}
	in := router.Input{Meta: meta(), Progress: &wire.Progress{}, Now: submitted}
	turn := func(string) uint64 { return 0 }
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(tab, loads, &c, in, turn, &ch)
	}
}

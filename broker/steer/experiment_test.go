package steer

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/rules"
	"github.com/sluicehq/sluice/sdk/wire"
)

func ab(name string, weights ...int) *Experiment {
	e := &Experiment{Name: name, Key: KeyAffinity}
	for i, w := range weights {
		e.Variants = append(e.Variants, Variant{Name: string(rune('a' + i)), Weight: w, Route: []string{"", "small", "tiny"}[i%3]})
	}
	return e
}

// TestAssignShares: chi-square of the shares against the weights, for keys
// that differ in their last digits only.
func TestAssignShares(t *testing.T) {
	for _, weights := range [][]int{{1, 1}, {90, 10}, {5, 0, 20, 75}, {1, 1, 1, 1, 1, 1, 1, 1}, {1000, 1}} {
		e := ab("shares", weights...)
		const n = 200_000
		got, sum := map[string]float64{}, 0
		for _, w := range weights {
			sum += w
		}
		for i := range n {
			got[e.Assign(&wire.Meta{Tenant: "acme", Affinity: fmt.Sprintf("user-%d", i)}).Name]++
		}
		chi, df := 0.0, -1
		for i, w := range weights {
			want := n * float64(w) / float64(sum)
			if w == 0 {
				if got[e.Variants[i].Name] != 0 {
					t.Errorf("%v: a variant without weight got %v", weights, got)
				}
				continue
			}
			df++
			chi += (got[e.Variants[i].Name] - want) * (got[e.Variants[i].Name] - want) / want
		}
		if most := float64(df) + 5*math.Sqrt(2*float64(df)) + 5; chi > most {
			t.Errorf("%v: chi-square %.1f with %d degrees of freedom: %v", weights, chi, df, got)
		}
	}
}

// TestAssignIsSticky: the same key stays where it is, whatever else the job
// has; other weights move only what they must; experiments are independent.
func TestAssignIsSticky(t *testing.T) {
	before, after, other := ab("x", 50, 50), ab("x", 60, 40), ab("y", 50, 50)
	const n = 20_000
	moved, wrong, both := 0, 0, 0
	for i := range n {
		m := &wire.Meta{Tenant: "acme", ID: fmt.Sprint(i), Affinity: fmt.Sprintf("u%d", i)}
		v := before.Assign(m)
		m.ID, m.Class, m.Region = "other", wire.Batch, "eu"
		if before.Assign(m) != v {
			t.Fatalf("user %d moved", i)
		}
		if w := after.Assign(m); w.Name != v.Name {
			moved++
			if w.Name != "a" {
				wrong++
			}
		}
		if v.Name == "a" && other.Assign(m).Name == "a" {
			both++
		}
	}
	if wrong > 0 || math.Abs(float64(moved)/n-0.1) > 0.01 {
		t.Errorf("%d of %d moved, %d the wrong way", moved, n, wrong)
	}
	if math.Abs(float64(both)/n-0.25) > 0.015 {
		t.Errorf("%d of %d are variant a of both", both, n)
	}
	scaled := ab("x", 5, 5)
	for i := range 1000 {
		m := &wire.Meta{Tenant: "t", Affinity: fmt.Sprint(i)}
		if before.Assign(m).Name != scaled.Assign(m).Name {
			t.Fatalf("the same shares in other numbers moved key %d", i)
		}
	}
}

func TestAssignKeys(t *testing.T) {
	m := func(tenant, id, affinity, team string) *wire.Meta {
		return &wire.Meta{Tenant: tenant, ID: id, Affinity: affinity, Labels: map[string]string{"team": team}}
	}
	same := func(key string, a, b *wire.Meta) bool { return keyOf(key, a) == keyOf(key, b) }
	for _, c := range []struct {
		key  string
		a, b *wire.Meta
		want bool
	}{
		{KeyAffinity, m("t", "1", "u", ""), m("t", "2", "u", ""), true},
		{KeyAffinity, m("t", "1", "u", ""), m("t", "1", "v", ""), false},
		{KeyAffinity, m("t", "1", "", ""), m("t", "2", "", ""), false}, // by the ID then
		{KeyAffinity, m("t", "u", "", ""), m("t", "1", "u", ""), false},
		{KeyTenant, m("t", "1", "u", "x"), m("t", "2", "v", "y"), true},
		{KeyJob, m("t", "1", "u", "x"), m("t", "1", "v", "y"), true},
		{KeyJob, m("t", "1", "u", "x"), m("t", "2", "u", "x"), false},
		{"label:team", m("t", "1", "u", "x"), m("t", "2", "v", "x"), true},
		{"label:team", m("t", "1", "u", "x"), m("t", "1", "u", "y"), false},
		{"label:none", m("t", "1", "u", "x"), m("t", "2", "u", "x"), false},
	} {
		if got := same(c.key, c.a, c.b); got != c.want {
			t.Errorf("%s: %+v and %+v: %v", c.key, c.a, c.b, got)
		}
	}
	if (&Experiment{Name: "none", Variants: []Variant{{Name: "a"}}}).Assign(m("t", "1", "", "")) != nil {
		t.Error("a variant without weight was assigned")
	}
}

// TestSteerByExperiment: a variant's route decides, its base keeps the fallback
// chain, the record says both; a rule comes first, and a variant that is gone
// is left out.
func TestSteerByExperiment(t *testing.T) {
	set, err := rules.Compile([]rules.Rule{{Name: "tiny", When: `region == "x"`, Then: rules.Effect{Route: "tiny"}}})
	if err != nil {
		t.Fatal(err)
	}
	p := New(Config{Rules: set, Experiments: map[string]*Experiment{
		"main": {Name: "exp", Key: KeyJob, Variants: []Variant{{Name: "new", Weight: 1, Route: "small"}}},
		"tiny": {Name: "odd", Key: KeyJob, Variants: []Variant{{Name: "gone", Weight: 1, Route: "nowhere"}}},
	}})
	tab, now := table(t), time.Unix(0, submitted)
	if c := p.Steer(tab, meta(), "", 1, now); c.Route != "small" || c.Base != "main" || c.Experiment != "exp" || c.Variant != "new" {
		t.Errorf("%+v", c)
	}
	m := meta()
	m.Region = "x"
	if c := p.Steer(tab, m, "", 1, now); c.Route != "tiny" || c.Base != "tiny" || c.Experiment != "" || c.Variant != "" {
		t.Errorf("%+v", c)
	}
	e, err := p.Explain(&View{Table: tab, Now: now}, meta())
	if err != nil || e.Decision.Experiment != "exp" || e.Decision.Variant != "new" || e.Decision.Route != "small" {
		t.Errorf("%+v, %v", e, err)
	}
}

package alert

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

func found(value float64) *finding {
	f := finding{Alert: wire.Alert{Kind: wire.AlertErrorRate, Subject: map[string]string{"pool": "p"}, Value: value, Threshold: 0.1}}.judged(value > 0.1)
	return &f
}

// A state changes after so many looks in a row that speak against it, and a
// value between the two thresholds speaks for whatever is (I1).
func TestHysteresis(t *testing.T) {
	r := &Rules{RaiseAfter: 2, ClearAfter: 3}
	e := &entry{Told: true}
	steps := []struct {
		value  float64 // below 0: no finding
		raised bool
	}{
		{0.2, false}, {0.05, false}, {0.2, false}, {0.11, true}, // two in a row
		{0.09, true}, {0.09, true}, {0.09, true}, {0.09, true}, // below, but not clearly
		{0.05, true}, {-1, true}, {0.2, true}, // interrupted
		{0.05, true}, {-1, true}, {0.07, false}, // no data is good
		{0.09, false}, {0.2, false}, {-1, false}, {0.2, false}, {0.2, true},
	}
	for i, s := range steps {
		f := found(s.value)
		if s.value < 0 {
			f = nil
		}
		before := e.Raised
		changed := e.step(f, r, noon.Add(time.Duration(i)*time.Minute))
		if e.Raised != s.raised || changed != (before != s.raised) {
			t.Fatalf("step %d (%v): raised %v, changed %v", i, s.value, e.Raised, changed)
		}
		if changed && (e.Told || !e.Since.Equal(noon.Add(time.Duration(i)*time.Minute))) {
			t.Errorf("step %d: told %v since %s", i, e.Told, e.Since)
		}
	}
	e = &entry{}
	f := found(0.2)
	f.facts = true
	if !e.step(f, r, noon) || !e.Raised {
		t.Error("a fact waits")
	}
}

// However values come, two changes are never closer than the rules say, and a
// raised alert was bad for so long.
func TestHysteresisProperty(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		r := &Rules{RaiseAfter: 1 + rnd.IntN(4), ClearAfter: 1 + rnd.IntN(4)}
		e, run, last := &entry{}, 0, 0
		for i := range 200 {
			f := found([]float64{0.05, 0.09, 0.2}[rnd.IntN(3)])
			was := e.Raised
			if !was && f.bad || was && f.good {
				run++
			} else {
				run = 0
			}
			if e.step(f, r, noon) {
				need := map[bool]int{false: r.RaiseAfter, true: r.ClearAfter}[was]
				if run != need || i-last < need && last > 0 {
					t.Fatalf("changed after %d of %d looks", run, need)
				}
				last, run = i, 0
			}
		}
	}
}

// Names tell subjects apart, and keys have a bound.
func TestNames(t *testing.T) {
	a := wire.Alert{Kind: wire.AlertUnpriced, Subject: map[string]string{"pool": "p", "model": "a/b c"}}
	if got := a.ID(); got != "unpriced model=a/b c pool=p" {
		t.Errorf("got %q", got)
	}
	b := a
	b.Subject = map[string]string{"pool": "p", "model": "a/b"}
	if keyName(a.ID()) == keyName(b.ID()) || len(keyName(a.ID())) > 64 {
		t.Errorf("%s and %s", keyName(a.ID()), keyName(b.ID()))
	}
}

// TestRulesWith: what was set while running takes the place of the file's budget of
// the same ID, and the rules themselves stay.
func TestRulesWith(t *testing.T) {
	r := &Rules{BudgetBurn: 4, Budgets: []Budget{{ID: "a", Limit: 1}, {ID: "b", Limit: 2}}}
	got := r.with([]Budget{{ID: "b", Limit: 3}, {ID: "c", Limit: 4}})
	want := []Budget{{ID: "a", Limit: 1}, {ID: "b", Limit: 3}, {ID: "c", Limit: 4}}
	if !reflect.DeepEqual(got.Budgets, want) || got.BudgetBurn != 4 || len(r.Budgets) != 2 || r.Budgets[1].Limit != 2 {
		t.Errorf("got %+v, left %+v", got, r)
	}
}

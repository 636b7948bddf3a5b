package router

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
)

// finite makes a case JSON can hold: no NaN, no infinity. Folds never make
// such; Decide minds them anyway.
func (c *snapshot) finite() {
	for name, s := range c.stats {
		v := reflect.ValueOf(&s).Elem()
		for i := range v.NumField() {
			fix(v.Field(i))
		}
		c.stats[name] = s
	}
}

func fix(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fix(v.Field(i))
		}
	case reflect.Float64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			v.SetFloat(0)
		}
	}
}

// A decision is repeated from its capture bit for bit, also after a trip
// through JSON.
func TestCaptureReplay(t *testing.T) {
	rng, seed := newRand(t)
	for n := range 3000 {
		c := randomCase(rng, strategyNames()[n%len(registry)])
		c.finite()
		c = c.shuffled(rng)
		table, route := c.table(t)
		var want Result
		table.Decide(route, c.load, &c.in, &want)
		decision := want.Decision(route, c.load, &c.in)
		kept := table.Capture(route, c.load, &c.in)
		clear(c.load) // the capture shares nothing that changes
		c.in.Meta.Tenant, c.in.Meta.Class = "changed", "changed"
		clear(c.in.Stats)
		clear(c.in.Require)
		clear(c.in.Prefer)
		clear(c.in.Barred)

		b, err := json.Marshal(kept)
		if err != nil {
			t.Fatal(err)
		}
		var read Capture
		if err := json.Unmarshal(b, &read); err != nil {
			t.Fatal(err)
		}
		for name, capture := range map[string]*Capture{"value": kept, "JSON": &read} {
			got, again, err := Replay(capture)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if !sameResult(&want, got) || !reflect.DeepEqual(decision, again) {
				t.Fatalf("seed %d, case %d (%s): %s\ngot  %+v %d\nwant %+v %d", seed, n, name, b, got.Candidates, got.Choice, want.Candidates, want.Choice)
			}
		}
	}
}

func TestReplayOfNonsense(t *testing.T) {
	if _, _, err := Replay(&Capture{Route: RouteSpec{Name: "x"}}); err == nil {
		t.Error("no error")
	}
	c := Capture{Pools: poolsOf(1, 1), Route: specOf("cost", 1)}
	if r, _, err := Replay(&c); err != nil || r.Choice != 0 {
		t.Errorf("an empty job: %v %v", r, err)
	}
}

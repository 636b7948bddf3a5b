package account

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestParseScope(t *testing.T) {
	for text, want := range map[string]string{
		"global":                          "global",
		" tenant:acme ":                   "tenant:acme",
		"model:gpt-4o,tenant:acme":        "tenant:acme,model:gpt-4o",
		"model:ft:gpt-4o:org::id":         "model:ft:gpt-4o:org::id",
		"label:Team=a b, label:env=prod":  "label:env=prod,label:team=a b",
		"label:team=":                     "label:team=",
		"provider:p,pool:q,route:r,key:k": "key:k,route:r,pool:q,provider:p",
		"key:acme/ci":                     "key:acme/ci",
		"tenant:acme,key:acme/ci":         "key:acme/ci,tenant:acme",
	} {
		s, err := ParseScope(text)
		if err != nil || s.String() != want {
			t.Errorf("%q: %q, %v; want %q", text, s, err, want)
		}
		if again, err := ParseScope(s.String()); err != nil || again.String() != want {
			t.Errorf("%q is read as %q, %v", s, again, err)
		}
	}
	for _, text := range []string{"", "tenant", "tenant:", "team:x", "tenant:a,tenant:b", "label:x", "label:=v", "label:a=1,label:A=2", "global,tenant:a", "tenant:a,",
		"key:acme/", "key:/ci", "key:a/b/c", "key:a=b", "tenant:a,key:b", "key:b/ci,tenant:a"} {
		if s, err := ParseScope(text); err == nil {
			t.Errorf("%q is read as %q", text, s)
		}
	}
}

func FuzzParseScope(f *testing.F) {
	f.Add("tenant:acme,label:a=b")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseScope(text)
		if err != nil {
			return
		}
		if again, err := ParseScope(s.String()); err != nil || again.String() != s.String() {
			t.Errorf("%q: %q, then %q, %v", text, s, again, err)
		}
	})
}

// FuzzDefinition: a budget that an administrator sends is refused with the
// fields at fault, or is one that its own definition gives again.
func FuzzDefinition(f *testing.F) {
	f.Add([]byte(`{"scope":"tenant:acme","limit_nano_usd":5000000000,"window":"day","zone":"Europe/Berlin","on_exceeded":"cheaper","alerts":[50,100]}`))
	f.Add([]byte(`{"scope":"global","limit_tokens":1,"window":"month","rolling":true,"unknown_price":"allow","unknown_cost":"estimate","alerts":[0]}`))
	f.Add([]byte(`{"scope":"label:a=b,pool:x","limit_jobs":-1,"window":"total","zone":"../x","alerts":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var d Definition
		if json.Unmarshal(text, &d) != nil {
			return
		}
		b, faults := d.Parse()
		if len(faults) > 0 {
			if Error(faults) == "" || faults[0].Field == "" {
				t.Fatalf("%+v", faults)
			}
			return
		}
		again := b.Define()
		if c, faults := again.Parse(); len(faults) > 0 || c.ID() != b.ID() || c.Limit != b.Limit || b.Limit <= 0 || c.Show(b.Limit) != b.Show(b.Limit) || !slices.Equal(c.Alerts, b.Alerts) {
			t.Fatalf("%s: %+v, then %+v, %v", text, b, c, faults)
		}
	})
}

// TestIndex: the index finds exactly the budgets whose scopes match.
func TestIndex(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(n int) string { return fmt.Sprint("v", rnd.IntN(n)) }
	var counters []*counter
	for i := range 200 {
		text := ""
		for _, d := range Dimensions() {
			if rnd.IntN(3) > 0 {
				continue
			}
			value := pick(3)
			switch {
			case d == Label:
				value = pick(2) + "=" + value
			case d == Key && rnd.IntN(2) == 0:
				value += "/" + pick(2)
			}
			text += "," + string(d) + ":" + value
		}
		if text == "" {
			text = ",global"
		}
		s, err := ParseScope(text[1:])
		if err != nil && strings.Contains(err.Error(), "no job fulfils both") {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		c := newCounter(fmt.Sprint(i))
		c.Budget.Scope = s
		counters = append(counters, c)
	}
	x := newIndex(counters)
	some := 0
	for range 2000 {
		f := Facts{Tenant: pick(3), Key: wire.KeyName(pick(3), []string{"", "v0", "v1"}[rnd.IntN(3)]), Route: pick(3), Pool: pick(3), Provider: pick(3), Model: pick(3), Labels: map[string]string{pick(2): pick(3)}}
		got := map[string]bool{}
		for _, c := range x.find(&f) {
			if got[c.id] {
				t.Fatalf("%s is found twice", c.Budget.Scope)
			}
			got[c.id] = true
		}
		for _, c := range counters {
			if c.Budget.Scope.Matches(&f) != got[c.id] {
				t.Fatalf("%s, %+v: found %v", c.Budget.Scope, f, got[c.id])
			}
		}
		some += len(got)
	}
	if some == 0 {
		t.Error("nothing matched")
	}
}

// TestTenantOfScope: who only reads the records of the tenants that scopes name
// misses none that binds.
func TestTenantOfScope(t *testing.T) {
	for text, want := range map[string]string{"global": "", "pool:p": "", "tenant:a,pool:p": "a", "key:a": "a", "key:a/ci,route:r": "a", "tenant:a,key:a/ci": "a"} {
		s, err := ParseScope(text)
		if got, ok := s.Tenant(); err != nil || got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v, %v", text, got, ok, err)
		}
	}
}

// TestFactsOfKeys: a job of a named key counts for it and for its tenant, not for
// the tenant's own key or for another tenant's key of that name.
func TestFactsOfKeys(t *testing.T) {
	own, ci := FactsOf(&wire.Meta{Tenant: "acme"}), FactsOf(&wire.Meta{Tenant: "acme", Key: "ci"})
	for text, want := range map[string][2]bool{"tenant:acme": {true, true}, "key:acme": {true, false}, "key:acme/ci": {false, true},
		"key:ci": {}, "key:evil/ci": {}, "key:acme/web": {}} {
		s, err := ParseScope(text)
		if got := [2]bool{s.Matches(&own), s.Matches(&ci)}; err != nil || got != want {
			t.Errorf("%s binds own and ci: %v, want %v (%v)", text, got, want, err)
		}
	}
}

func TestOfCandidate(t *testing.T) {
	for text, want := range map[string]bool{"global": false, "tenant:a,route:b,label:c=d,key:a/k": false, "pool:p": true, "tenant:a,model:m": true, "provider:x": true} {
		s, err := ParseScope(text)
		if err != nil || s.OfCandidate() != want {
			t.Errorf("%s: %v, %v", text, s.OfCandidate(), err)
		}
	}
}

func TestDefinition(t *testing.T) {
	for name, c := range map[string]struct {
		def   Definition
		id    string
		field []string
	}{
		"dollars": {Definition{Scope: "tenant:a", LimitUSD: usd(5)}, "tenant:a usd/day", nil},
		"rolling": {Definition{Scope: "global", LimitTokens: num(5), Window: "week", Rolling: true, Zone: "Asia/Tokyo", OnExceeded: "cheaper", UnknownPrice: "allow", UnknownCost: "estimate", Alerts: []int{90, 10}}, "global tokens/rolling-week", nil},
		"total":   {Definition{Scope: "global", LimitJobs: num(5), Window: "total", OnExceeded: "reject", Alerts: []int{0}}, "global jobs/total", nil},
		"all":     {Definition{Scope: "x", Window: "year", Zone: "Mars", OnExceeded: "cry", UnknownPrice: "guess", UnknownCost: "guess", Alerts: []int{-1}}, "", []string{"scope", "window", "limit_usd", "on_exceeded", "unknown_price", "unknown_cost", "alerts"}},
		"limit 0": {Definition{Scope: "global", LimitUSD: usd(0)}, "", []string{"limit_usd"}},
		"two":     {Definition{Scope: "global", LimitUSD: usd(1), LimitJobs: num(1)}, "", []string{"limit_usd"}},
		"zone":    {Definition{Scope: "global", LimitUSD: usd(1), Zone: "Mars"}, "", []string{"zone"}},
		"longest": {Definition{Scope: "tenant:" + strings.Repeat("x", MaxID-len("tenant: usd/day")), LimitUSD: usd(1)}, "tenant:" + strings.Repeat("x", MaxID-len("tenant: usd/day")) + " usd/day", nil},
		"longer":  {Definition{Scope: "tenant:" + strings.Repeat("x", MaxID-len("tenant: usd/day")+1), LimitUSD: usd(1)}, "", []string{"scope"}},
	} {
		b, faults := c.def.Parse()
		var fields []string
		for _, f := range faults {
			fields = append(fields, f.Field)
		}
		if !slices.Equal(fields, c.field) || len(faults) == 0 && b.ID() != c.id {
			t.Errorf("%s: %s, faults %v, want %s, %v", name, b.ID(), faults, c.id, c.field)
		}
		if len(faults) > 0 {
			continue
		}
		def := b.Define()
		again, faults := def.Parse()
		if len(faults) > 0 || again.ID() != b.ID() || again.Limit != b.Limit || again.OnExceeded != b.OnExceeded || again.AllowUnknown != b.AllowUnknown || again.Estimate != b.Estimate ||
			!slices.Equal(again.Alerts, b.Alerts) || again.Window.zone().String() != b.Window.zone().String() {
			t.Errorf("%s: %+v is read back as %+v, %v", name, b, again, faults)
		}
	}
}

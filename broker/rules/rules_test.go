package rules

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// job is what the tables below ask about: Monday, 23 November 2026, 21:30 UTC,
// which is 22:30 in Berlin.
func job() *Facts {
	return &Facts{
		Meta: &wire.Meta{ID: "j1", Tenant: "acme", Class: wire.Standard, Route: "chat", Endpoint: wire.ChatCompletions,
			Labels: map[string]string{"team": "search", "quote": `"'`}, Needs: wire.NeedVision | wire.NeedTools,
			BodyBytes: 40_000, MaxTokens: 300, Region: "eu-west", Affinity: "u1", Batch: "b7", Stream: true},
		Tier: "gold", Attempt: 2, Now: time.Date(2026, 11, 23, 21, 30, 0, 0, time.UTC),
	}
}

func TestExpressions(t *testing.T) {
	for when, want := range map[string]bool{
		`true`:                            true,
		`tenant == "acme"`:                true,
		`tenant != "acme"`:                false,
		`tier in ["gold", "platinum"]`:    true,
		`class == "standard"`:             true,
		`model.startsWith("ch")`:          true,
		`model.matches("^gpt-.*")`:        false,
		`endpoint == "/v1/embeddings"`:    false,
		`stream && !(batch == "")`:        true,
		`labels.team == "search"`:         true,
		`labels["quote"] == "\"'"`:        true,
		`"team" in labels`:                true,
		`has(labels.nothing)`:             false,
		`labels[?"no"].orValue("") == ""`: true,
		`"image" in content && "tools" in content && "text" in content`: true,
		`"audio" in content`:                                         false,
		`content.exists(c, c == "image")`:                            true,
		`size(content) == 3`:                                         true,
		`input_tokens > 5000 && input_tokens < 100000`:               true,
		`max_tokens <= 300`:                                          true,
		`region.endsWith("-west")`:                                   true,
		`affinity == "u1" && batch == "b7"`:                          true,
		`attempt > 1`:                                                true,
		`now.getHours() == 21`:                                       true,
		`now.getHours("Europe/Berlin") >= 22`:                        true,
		`now.getDayOfWeek() == 1`:                                    true,
		`now > timestamp("2026-11-23T00:00:00Z")`:                    true,
		`now - timestamp("2026-11-23T21:00:00Z") == duration("30m")`: true,
		// An operand that fails is not looked at where the other decides.
		`tenant == "acme" || labels.nothing == "x"`: true,
		`labels.nothing == "x" || tenant == "acme"`: true,
	} {
		s, err := Compile([]Rule{{Name: "r", When: when}})
		if err != nil {
			t.Errorf("%s: %v", when, err)
			continue
		}
		out := s.Match(job())
		if got := len(out.Rules) == 1; got != want || out.Failed != nil {
			t.Errorf("%s: %v, failed %v; want %v", when, got, out.Failed, want)
		}
	}
}

// TestFailureIsNoMatch: I2, and the rules behind the failed one still count.
func TestFailureIsNoMatch(t *testing.T) {
	long := job()
	long.Meta.Labels["long"] = strings.Repeat("x", 256)
	for name, when := range map[string]string{
		"missing label": `labels.nothing == "x"`,
		"division":      `input_tokens / (attempt - 2) > 1`,
		"conversion":    `int(tenant) > 3`,
		"overflow":      `input_tokens * 9223372036854775807 > 0`,
		"zone":          `now.getHours("Nowhere/At_all") == 1`,
		"pattern":       `tenant.matches(labels.quote + "(")`,
		"index":         `content[17] == "text"`,
		"too much (I3)": `content.all(a, content.all(b, content.all(c, content.all(d, content.all(e, content.all(f, content.all(g, content.all(h,
			content.all(i, content.all(j, a + b + c + d + e + f + g + h + i + j != "")))))))))) `,
	} {
		s, err := Compile([]Rule{{Name: "bad", When: when, Then: Effect{Route: "no"}}, {Name: "good", When: `tenant == "acme"`, Then: Effect{Route: "yes"}}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		began := time.Now()
		out := s.Match(long)
		if out.Route != "yes" || !slices.Equal(out.Rules, []string{"good"}) || !slices.Equal(out.Failed, []string{"bad"}) {
			t.Errorf("%s: %+v", name, out)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s took %s", name, took)
		}
	}
}

func TestCompileReportsEveryFault(t *testing.T) {
	_, err := Compile([]Rule{
		{Name: "fine", When: `true`},
		{Name: "typo", When: `tennant == "x"`},
		{Name: "type", When: `tenant == 3`},
		{Name: "not a bool", When: `tenant`},
		{Name: "grammar", When: `tenant == `},
		{Name: "empty", When: ``},
		{Name: "function", When: `tenant.shout() == "X"`},
		{Name: "two", When: `foo == 1 && bar == 2`},
	})
	var faults Faults
	if !errors.As(err, &faults) {
		t.Fatal(err)
	}
	var names []string
	for _, f := range faults {
		names = append(names, f.Name)
		if f.Index == 0 || f.Err == nil {
			t.Errorf("%+v", f)
		}
	}
	if want := []string{"typo", "type", "not a bool", "grammar", "empty", "function", "two"}; !slices.Equal(names, want) {
		t.Errorf("faults of %v, want %v", names, want)
	}
	for _, part := range []string{"rule typo", "undeclared reference to 'tennant'", "column 1", "is a string", "'foo'", "'bar'"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %q", part, err)
		}
	}
	if Check(`class == "batch"`) != nil || Check(`klass == "batch"`) == nil {
		t.Error("Check")
	}
}

func TestFirstMatchWins(t *testing.T) {
	eu, us, soc := router.Label{Name: "region", Value: "eu"}, router.Label{Name: "region", Value: "us"}, router.Label{Name: "soc2", Value: "yes"}
	list := []Rule{
		{Name: "never", When: `false`, Then: Effect{Route: "never", Deadline: time.Second}},
		{Name: "labels", When: `tenant == "acme"`, Then: Effect{Require: []router.Label{eu}, Class: wire.Batch}, Continue: true},
		{Name: "more", When: `tier == "gold"`, Then: Effect{Require: []router.Label{soc}, Prefer: []router.Label{us}, Class: wire.Interactive, Route: "big", MaxAttempts: 5}, Continue: true},
		{Name: "last", When: `true`, Then: Effect{Route: "small", Deadline: time.Minute, MaxAttempts: 1}},
		{Name: "unseen", When: `int(tenant) == 1`, Then: Effect{Route: "unseen"}},
	}
	s, err := Compile(list)
	if err != nil || s.Len() != 5 {
		t.Fatal(err, s.Len())
	}
	want := Outcome{Effect: Effect{Route: "big", Class: wire.Batch, Require: []router.Label{eu, soc}, Prefer: []router.Label{us},
		MaxAttempts: 5, Deadline: time.Minute}, Router: "more", Rules: []string{"labels", "more", "last"}}
	for range 3 { // matching changes nothing in the rules
		if got := s.Match(job()); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v\nwant %+v", got, want)
		}
	}
	other := job()
	other.Meta.Tenant, other.Tier = "zed", ""
	if got := s.Match(other); got.Route != "small" || len(got.Rules) != 1 || got.Class != "" || got.Require != nil {
		t.Errorf("%+v", got)
	}
	var none *Set
	if got := none.Match(job()); !reflect.DeepEqual(got, Outcome{}) || none.Len() != 0 {
		t.Errorf("%+v", got)
	}
}

// TestRetryIsJudgedAlike: I4.
func TestRetryIsJudgedAlike(t *testing.T) {
	s, err := Compile([]Rule{{Name: "up", When: `class == "standard"`, Then: Effect{Class: wire.Interactive}}})
	if err != nil {
		t.Fatal(err)
	}
	f := job()
	f.Meta.Class, f.Meta.AskedClass = wire.Interactive, wire.Standard
	if out := s.Match(f); out.Class != wire.Interactive {
		t.Errorf("%+v", out)
	}
}

func TestVariablesAreDocumented(t *testing.T) {
	for _, v := range Variables() {
		if v.Meaning == "" || Check(v.Name+" == "+v.Name) != nil {
			t.Errorf("%+v: %v", v.Name, Check(v.Name+" == "+v.Name))
		}
		typ, err := environment()
		if err != nil {
			t.Fatal(err)
		}
		ast, _ := typ.Compile(v.Name)
		if got := ast.OutputType().String(); got != v.Type && got != "google.protobuf.Timestamp" {
			t.Errorf("%s is a %s, documented as %s", v.Name, got, v.Type)
		}
	}
	var words []string
	all := wire.NeedAudio | wire.NeedJSONSchema | wire.NeedThinking | wire.NeedTools | wire.NeedVision
	words = Content(all)
	if len(words) != 6 || Content(0)[0] != "text" {
		t.Error(words)
	}
}

// TestConcurrentUse: a Set serves many goroutines.
func TestConcurrentUse(t *testing.T) {
	s, err := Compile([]Rule{{Name: "a", When: `labels.team == "search" && input_tokens > attempt`}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	for range 8 {
		go func() {
			ok := true
			for range 200 {
				ok = ok && len(s.Match(job()).Rules) == 1
			}
			done <- ok
		}()
	}
	for range 8 {
		if !<-done {
			t.Error("a match was missed")
		}
	}
}

func FuzzMatch(f *testing.F) {
	for _, when := range []string{`true`, `labels.a == "b"`, `content.map(c, c + c)`, `[1,2].all(x, x > 0)`, `now.getHours("X")`, `{}[1]`, "\x00", `""*3`} {
		f.Add(when)
	}
	f.Fuzz(func(t *testing.T, when string) {
		if s, err := Compile([]Rule{{Name: "f", When: when}}); err == nil {
			s.Match(job())
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	s, err := Compile([]Rule{
		{Name: "a", When: `tenant == "zed" && "image" in content`},
		{Name: "b", When: `labels[?"team"].orValue("") == "ads" || input_tokens > 100000`},
		{Name: "c", When: `now.getHours("Europe/Berlin") < 6`},
	})
	if err != nil {
		b.Fatal(err)
	}
	f := job()
	for b.Loop() {
		s.Match(f)
	}
}

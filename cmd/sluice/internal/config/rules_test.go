package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/rules"
)

const ruled = `
pools:
  - {name: a, adapter: simulated, models: {m: {}}}
routes:
  - {model: chat, candidates: [{pool: a}]}
  - {model: vision, candidates: [{pool: a}]}
rules:
  - name: images
    when: |
      "image" in content
      && tenant == "acme"
    then: {route: vision, require: {gdpr: "yes"}, prefer: {tier: best}, class: batch, max_attempts: 5, deadline: 2m}
    continue: true
  - {name: rest, when: "true", then: {deadline: 1d}}
`

func loadRules(t *testing.T, text string) (*Config, error) {
	t.Helper()
	return Load(Sources{Path: write(t, text), CheckRule: rules.Check})
}

func TestRules(t *testing.T) {
	c, err := loadRules(t, ruled)
	if err != nil {
		t.Fatal(err)
	}
	r := c.Rules[0]
	if len(c.Rules) != 2 || r.Name != "images" || !strings.Contains(r.When, "&&") || !r.Continue || c.Rules[1].Continue {
		t.Errorf("got %+v", c.Rules)
	}
	if d := r.Then; d.Route != "vision" || d.Require["gdpr"] != "yes" || d.Prefer["tier"] != "best" || d.Class != "batch" || d.MaxAttempts != 5 || d.Deadline != 2*time.Minute {
		t.Errorf("got %+v", d)
	}
	text, err := c.Redacted()
	if err != nil {
		t.Fatal(err)
	}
	again, err := loadRules(t, text)
	if err != nil || again.Rules[0].When != r.When || again.Rules[0].Then.Deadline != 2*time.Minute {
		t.Errorf("what is printed does not load: %v\n%s", err, text)
	}
}

const falling = `
pools:
  - {name: a, adapter: simulated, models: {m: {}}}
routes:
  - model: chat
    candidates: [{pool: a}]
    fallback:
      - {max_tokens: 256}
      - {wait: 30s}
      - {route: small, max_tokens: 100}
      - {route: tiny}
  - {model: small, candidates: [{pool: a}]}
  - {model: tiny, candidates: [{pool: a}], fallback: [{wait: 1h}]}
`

func TestFallback(t *testing.T) {
	c, err := loadRules(t, falling)
	if err != nil {
		t.Fatal(err)
	}
	want := []Fallback{{MaxTokens: 256}, {Wait: 30 * time.Second}, {Route: "small", MaxTokens: 100}, {Route: "tiny"}}
	if !slices.Equal(c.Routes[0].Fallback, want) || len(c.Routes[1].Fallback) != 0 {
		t.Errorf("got %+v", c.Routes)
	}
	_, err = loadRules(t, strings.NewReplacer("max_tokens: 256", "max_tokens: -1", "wait: 30s", "wait: 30s, route: small", "route: small, max", "route: smal, max",
		"{route: tiny}", "{route: chat}", "wait: 1h", "wait: 9000d").Replace(falling))
	if err == nil {
		t.Fatal("no error")
	}
	for _, key := range []string{"routes[0].fallback[0].max_tokens", "routes[0].fallback[1]:", "routes[0].fallback[2].route", "routes[0].fallback[3]:", "routes[2].fallback[0].wait"} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not in\n%v", key, err)
		}
	}
}

// TestRuleFaults: every fault at once (I1).
func TestRuleFaults(t *testing.T) {
	_, err := loadRules(t, strings.Split(ruled, "rules:")[0]+`
rules:
  - {name: same, when: "true", then: {class: urgent}}
  - {name: same, when: tennant == "x", then: {route: nowhere}}
  - {name: "not a name", when: tenant, then: {max_attempts: 101, deadline: 1ms}}
  - {when: "", then: {require: {"": x}}}
  - {name: idle, when: "true", then: {}}
  - {name: odd, when: "true", then: {rout: chat}}
  - {name: flag, when: "1 < 2", then: {class: batch}, continue: maybe}
`)
	var faults Faults
	if !errors.As(err, &faults) {
		t.Fatal(err)
	}
	for _, want := range []string{
		"rules[0].then.class", "rules[1].name", "undeclared reference to 'tennant'", "rules[1].then.route", "there are chat, vision",
		"rules[2].name", "is a string, where a rule needs a bool", "rules[2].then.max_attempts", "rules[2].then.deadline",
		"rules[3].name", "rules[3].when", "rules[3].then.require", "rules[4].then", "rules[5].then.rout", "did you mean", "rules[6].continue",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in\n%v", want, err)
		}
	}
	if len(faults) < 14 {
		t.Errorf("%d faults: %v", len(faults), err)
	}
}

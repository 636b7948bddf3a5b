package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const rolling = `
pools:
  - {name: a, adapter: simulated, models: {m: {}}}
routes:
  - {model: chat, candidates: [{pool: a}]}
  - {model: small, candidates: [{pool: a}]}
  - {model: new, candidates: [{pool: a}]}
rollouts:
  - {name: v2, route: chat, to: {route: new}}
  - name: v3
    route: small
    key: tenant
    to: {candidates: [{pool: a}], strategy: round_robin}
    steps: [1, 100]
    every: 1h
    min_samples: 500
    max_errors: 0
    max_slowdown: 0.1
`

func TestShadows(t *testing.T) {
	text := strings.Split(rolling, "rollouts:")[0] + `
shadows:
  - {name: next, route: chat, share: 0.25, to: {route: new}}
  - {name: own, route: small, to: {candidates: [{pool: a}]}}
`
	c, err := loadSplit(t, text)
	if err != nil {
		t.Fatal(err)
	}
	if c.Shadows[0].Share != 0.25 || c.Shadows[0].RouteOf() != "new" || c.Shadows[1].Share != 0.01 || c.Shadows[1].RouteOf() != "small@shadow/own" || len(c.Versions()) != 1 {
		t.Errorf("%+v", c.Shadows)
	}
	_, err = loadSplit(t, strings.NewReplacer("route: new", "route: chat", "0.25", "1.5", "name: own", "name: next", "route: small, to", "route: chat, to", "pool: a}]}}", "pool: zz}]}}").Replace(text))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"shadows[0].share", "shadows[0].to", "shadows[1].name", "shadows[1].route", "shadows[1].to.candidates[0].pool"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in\n%v", want, err)
		}
	}
}

func TestRollouts(t *testing.T) {
	c, err := loadSplit(t, rolling)
	if err != nil {
		t.Fatal(err)
	}
	a, b := &c.Rollouts[0], &c.Rollouts[1]
	if !slices.Equal(a.Steps, []int{5, 25, 50, 100}) || a.Key != "affinity" || a.Every != 10*time.Minute || a.MinSamples != 50 || a.MaxErrors != 0.05 || a.MaxSlowdown != 0.5 || a.RouteOf() != "new" {
		t.Errorf("%+v", a)
	}
	if !slices.Equal(b.Steps, []int{1, 100}) || b.MaxErrors != 0 || b.RouteOf() != "small@v3" || len(c.Versions()) != 1 || c.Versions()[0].Strategy != "round_robin" {
		t.Errorf("%+v", b)
	}
	_, err = loadSplit(t, strings.NewReplacer("to: {route: new}", "to: {route: chat}, key: x", "[1, 100]", "[100, 1]", "1h", "1ms", "500", "0", "max_errors: 0", "max_errors: 2",
		"max_slowdown: 0.1", "max_slowdown: -1", "name: v3", "name: v2", "route: small", "route: chat").Replace(rolling))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"rollouts[0].to: must have another route", "rollouts[0].key", "rollouts[1].steps", "rollouts[1].every", "rollouts[1].min_samples", "rollouts[1].max_errors",
		"rollouts[1].max_slowdown", "rollouts[1].name", "rollouts[1].route = chat: is split by rollout v2"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in\n%v", want, err)
		}
	}
}

package config

import (
	"slices"
	"strings"
	"testing"
)

const split = `
pools:
  - {name: a, adapter: simulated, models: {m: {}}, weight: 7}
  - {name: b, adapter: simulated, models: {m: {}, n: {}}}
routes:
  - {model: chat, strategy: round_robin, require: {gdpr: "yes"}, candidates: [{pool: a}], fallback: [{route: small}]}
  - {model: small, candidates: [{pool: b, model: n}]}
experiments:
  - name: models
    route: chat
    key: label:team
    variants:
      - {name: control, weight: 90}
      - {name: cheap, weight: 10, route: small}
      - {name: own, strategy: least_connections, candidates: [{pool: a}, {pool: b, model: n, weight: 3}]}
`

func loadSplit(t *testing.T, text string) (*Config, error) {
	t.Helper()
	return Load(Sources{Path: write(t, text), Strategies: []string{"least_connections", "round_robin"}})
}

func TestExperiments(t *testing.T) {
	c, err := loadSplit(t, split)
	if err != nil {
		t.Fatal(err)
	}
	e := &c.Experiments[0]
	var routes []string
	for i := range e.Variants {
		routes = append(routes, e.RouteOf(&e.Variants[i]))
	}
	if !slices.Equal(routes, []string{"chat", "small", "chat@models/own"}) || e.Variants[2].Weight != 1 || e.Key != "label:team" {
		t.Errorf("%q of %+v", routes, e)
	}
	list := c.Versions()
	if len(list) != 1 {
		t.Fatalf("%+v", list)
	}
	v := list[0]
	if v.Of != "chat" || v.Model != "chat@models/own" || v.Strategy != "least_connections" || v.Require["gdpr"] != "yes" || v.Fallback != nil ||
		len(v.Candidates) != 2 || v.Candidates[0].Model != "m" || v.Candidates[0].Weight != 7 || v.Candidates[1].Weight != 3 {
		t.Errorf("%+v", v)
	}
	if c.Routes[0].Fallback == nil {
		t.Error("the route itself lost its fallback")
	}
	if c, err := loadSplit(t, strings.Replace(split, "key: label:team", "", 1)); err != nil || c.Experiments[0].Key != "affinity" {
		t.Errorf("%v", err)
	}
}

func TestExperimentFaults(t *testing.T) {
	_, err := loadSplit(t, strings.Split(split, "experiments:")[0]+`
experiments:
  - {name: a b, route: nowhere, key: colour, variants: [{name: x}]}
  - {name: e, route: chat, variants: [{name: x, weight: 0}, {name: x, weight: 0, route: gone}]}
  - {name: e, route: chat, key: "label:a b", variants: [{name: x, route: small, candidates: [{pool: a}]}, {name: y, weight: -1, candidates: [{pool: zz}]}, {name: z, strategy: round_robin}]}
  - {name: f, route: small, variants: [{name: x, strategy: magic, candidates: [{pool: b}]}, {name: y, candidates: [{pool: a, weight: 0}]}]}
`)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"experiments[0].name", "experiments[0].route", "experiments[0].key", "experiments[0].variants =", "must have 2 to 32",
		"experiments[1].variants: must have at least one weight", "experiments[1].variants[1].name", "experiments[1].variants[1].route",
		"experiments[2].name", "experiments[2].route = chat: is split by experiment e", "experiments[2].key", "experiments[2].variants[0]: must have a route or candidates",
		"experiments[2].variants[1].weight", "experiments[2].variants[1].candidates[0].pool", "experiments[2].variants[2].strategy",
		"experiments[3].variants[0].strategy", "experiments[3].variants[0].candidates[0].model", "experiments[3].variants[1].candidates: must have at least one weight",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in\n%v", want, err)
		}
	}
}

package config

import (
	"slices"
	"strings"
	"testing"
)

func TestAddedPools(t *testing.T) {
	src := Sources{Path: write(t, `
pools: [{name: a, adapter: simulated, models: {m: {}}}, {name: d, base_url: "http://127.0.0.1:1/v1", discover_models: true}]
routes: [{model: chat, candidates: [{pool: a, weight: 2}, {pool: d, model: named}]}]
`)}
	added := Added{Models: map[string][]string{"d": {"x", "y"}, "a": {"not asked for"}}, Pools: []AddedPool{
		{Name: "a", Text: "{name: a, adapter: simulated, models: {m: {}}}"}, // the file's wins
		{Name: "bad", Text: "{name: bad, adapter: simulated, models: {m: {}}, routes: [chat], weight: -3}"},
		{Name: "good", Text: "{name: good, adapter: simulated, models: {m: {}, n: {}}, weight: 7, routes: [m, n, chat]}"},
		{Name: "key", Text: "{name: key, api_key: env:NOT_SET_HERE, models: {m: {}}}"},
		{Name: "leaving", Removing: true, Text: `{"name": "leaving", "adapter": "simulated", "models": {"m": {}}, "routes": ["chat", "new"]}`},
		{Name: "other-name", Text: "{name: x, adapter: simulated, models: {m: {}}}"},
		{Name: "rubbish", Text: ": : ["},
	}}
	src.Added = func() Added { return added }
	if c, err := Load(src); err == nil { // good has two models, and none is called chat
		var names []string
		for _, p := range c.Pools {
			names = append(names, p.Name)
		}
		if !slices.Equal(names, []string{"a", "d", "leaving"}) {
			t.Errorf("pools %q", names)
		}
	} else {
		t.Fatal(err)
	}
	added.Pools[2].Text = strings.Replace(added.Pools[2].Text, ", chat]", "]", 1)
	c, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	if p := c.Pool("good"); p == nil || !p.Added || p.Removing {
		t.Errorf("%+v", p)
	}
	if p := c.Pool("leaving"); p == nil || !p.Removing {
		t.Errorf("%+v", p)
	}
	if p := c.Pool("a"); p.Added || len(p.Models) != 1 {
		t.Errorf("%+v", p)
	}
	if p := c.Pool("d"); !slices.Equal(p.Models.names(), []string{"x", "y", "named"}) {
		t.Errorf("models %q", p.Models.names())
	}
	got := ""
	for _, r := range c.Routes {
		got += r.Model + ":"
		for _, x := range r.Candidates {
			got += " " + x.Pool + "/" + x.Model + "/" + strings.Repeat("i", x.Weight)
		}
		got += "\n"
	}
	if want := "chat: a/m/ii d/named/i leaving/m/i\nm: good/m/iiiiiii\nn: good/n/iiiiiii\nnew: leaving/m/i\n"; got != want {
		t.Errorf("routes\n%swant\n%s", got, want)
	}
	for _, want := range []string{"pool a is hidden", "pool bad is not used", "pool key is not used", "NOT_SET_HERE", "pool other-name is not used", "pool rubbish is not used"} {
		if !strings.Contains(strings.Join(c.Warnings, "\n"), want) {
			t.Errorf("no warning says %q: %q", want, c.Warnings)
		}
	}
}

// TestAddedToDefaults: pools can be added where nothing is configured.
func TestAddedToDefaults(t *testing.T) {
	src := Sources{Added: func() Added {
		return Added{Pools: []AddedPool{{Name: "mine", Text: "{name: mine, adapter: simulated, models: {own: {}}, routes: [chat, own]}"}}}
	}, Path: write(t, "{}")}
	c, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range c.Routes {
		if !slices.ContainsFunc(r.Candidates, func(x Candidate) bool { return x.Pool == "mine" }) {
			t.Errorf("route %s without the added pool", r.Model)
		}
	}
	if len(c.Routes) != 2 || len(c.Pools) != 4 {
		t.Errorf("%d routes, %d pools", len(c.Routes), len(c.Pools))
	}
	src.Path = write(t, "pools: [{name: d, base_url: 'http://127.0.0.1:1/v1', discover_models: true}]")
	src.Added = nil
	if c, err = Load(src); err != nil || len(c.Routes) != 0 {
		t.Errorf("before models are found: %v", err)
	}
	src.Added = func() Added { return Added{Models: map[string][]string{"d": {"x", "y"}}} }
	if c, err = Load(src); err != nil || len(c.Routes) != 2 {
		t.Errorf("when they are: %v", err)
	}
}

package config

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
)

// FuzzLoad: whatever the file, Load gives a whole configuration or faults,
// prints no secret, and reads its own output back as the same configuration.
func FuzzLoad(f *testing.F) {
	bad, err := os.ReadFile("testdata/bad.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", contractExample, string(bad), onePool, "a: &a [*a]", "&a {<<: *a}", "pools: &p [*p, *p]",
		"pools: [&a {name: x, <<: *a, models: {m: &b {price: *b}}}]", "? {a: b}\n: c", "!!binary aGk=: x", "nats: !!int x",
		"pools: [{name: p, models: {? [a] : {}}}]", "data_dir: \"\\0\"", "%YAML 1.1\n---\n{}", "\xff\xfe", "--- {}\n--- {}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "file:") { // any file of this machine
			t.Skip("names a file")
		}
		src := Sources{Environ: []string{"OPENAI_API_KEY=Geh3im", "ACME_KEY=Geh3im2", "K=Geh3im3"}, Strategies: []string{"least_connections"}}
		c, err := src.parse("sluice.yaml", []byte(text))
		var faults Faults
		if err != nil {
			if !errors.As(err, &faults) || len(faults) == 0 || c != nil {
				t.Fatalf("got %v, %v", c, err)
			}
			if strings.Contains(err.Error(), "Geh3im") && !strings.Contains(text, "Geh3im") {
				t.Fatalf("a secret is in %v", err)
			}
			return
		}
		if len(text)%4 > 0 { // to write it and read it again takes many times as long
			return
		}
		out, err := c.Redacted()
		if err != nil {
			t.Fatalf("redact: %v", err)
		}
		if strings.Contains(out+strings.Join(c.Warnings, ""), "Geh3im") && !strings.Contains(text, "Geh3im") {
			t.Fatalf("a secret is in\n%s", out)
		}
		if !strings.Contains(out, "***") {
			roundTrip(t, c, out)
		}
	})
}

// roundTrip loads a printed configuration again.
func roundTrip(t *testing.T, c *Config, out string) {
	t.Helper()
	src := Sources{Strategies: []string{"least_connections"}}
	again, err := src.parse(c.Path, []byte(out))
	if err != nil && !c.ClickHouse.DSN.IsZero() || err != nil && !c.NATS.URL.IsZero() {
		return // printed beside their embedded counterparts, which is a contradiction
	}
	if err != nil {
		t.Fatalf("load again: %v\n%s", err, out)
	}
	again.Warnings = c.Warnings
	if text, err := again.Redacted(); err != nil || text != out {
		t.Fatalf("got\n%s\nwant\n%s\nerror %v", text, out, err)
	}
}

func TestRedactedLoadsAgain(t *testing.T) {
	for _, text := range []string{"", onePool, strings.NewReplacer("env:OPENAI_API_KEY", "", "key: env:ACME_KEY", "key: env:K").Replace(contractExample)} {
		c := mustLoad(t, text, "K=geheim")
		out := redacted(t, c)
		if strings.Contains(out, "geheim") {
			t.Errorf("a secret is in\n%s", out)
		}
		src := Sources{Environ: []string{"K=geheim"}}
		again, err := src.parse("sluice.yaml", []byte(strings.ReplaceAll(out, "'***'", "env:K")))
		if err != nil {
			t.Fatalf("load again: %v\n%s", err, out)
		}
		if !reflect.DeepEqual(again.Pools, c.Pools) || !reflect.DeepEqual(again.Routes, c.Routes) || redacted(t, again) != out {
			t.Errorf("got\n%s\nwant\n%s", redacted(t, again), out)
		}
	}
}

package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
			return // names a file
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

// FuzzURL: whatever the password in an address, and whatever is beside it, no
// fault and no print of the configuration shows it, and an address that is
// taken is the one that is used.
func FuzzURL(f *testing.F) {
	f.Add("nats", "acme", "", "", "127.0.0.1:4222,nats://b:4222")
	f.Add("clickhouse", "default", "p%", "ss", "h:9000/sluice?compress=lz4")
	f.Add("https", "u", "1/", "#", "h:8123/db")
	f.Add("http", "u", "12?", "", "h:8123/db")
	f.Add("tls", "a@b", ",", " ", "[::1]:4222")
	f.Fuzz(func(t *testing.T, scheme, user, before, after, rest string) {
		raw := scheme + "://" + user + ":" + before + "Geh3im" + after + "@" + rest
		if strings.ContainsRune(raw, 0) || strings.HasPrefix(raw, "env:") || strings.HasPrefix(raw, "file:") || strings.Contains(rest, "Geh3im") {
			return // no variable's value, or no secret
		}
		for _, key := range []string{"nats.url", "clickhouse.dsn"} {
			k := Key{Path: key}
			for _, src := range []Sources{{Environ: []string{k.Variable() + "=" + raw}}, {Environ: []string{k.Variable() + "=env:K", "K=" + raw}}} {
				c, err := src.parse("", nil)
				if err != nil {
					if strings.Contains(err.Error(), "Geh3im") || !strings.Contains(err.Error(), key) {
						t.Fatalf("%q: %v", raw, err)
					}
					continue
				}
				out, err := c.Redacted()
				if shown := out + strings.Join(c.Warnings, "\n") + fmt.Sprintf("%v %+v %#v", *c, *c, *c); err != nil || strings.Contains(shown, "Geh3im") {
					t.Fatalf("%q: %v, or a secret is in\n%s", raw, err, out)
				}
				if got := map[string]string{"nats.url": c.NATS.URL.Reveal(), "clickhouse.dsn": c.ClickHouse.DSN.Reveal()}[key]; got != raw {
					t.Fatalf("%q becomes %q", raw, got)
				}
			}
		}
	})
}

// FuzzAdded: a pool that an administrator adds holds no key, only the name of
// one, and no fault shows what is where a key should be.
func FuzzAdded(f *testing.F) {
	path := filepath.Join(f.TempDir(), "sluice.yaml")
	if err := os.WriteFile(path, []byte(contractExample), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Add("name: new\nadapter: openai\nbase_url: https://x.example/v1\napi_key: env:K\nmodels: {m: {}}\nconcurrency: 4", "K")
	f.Add(`{"name": "new", "adapter": "simulated", "models": {"m": {"price": {"input": 1, "output": 2}}}, "routes": ["chat"]}`, "")
	f.Add("name: new\napi_key: Geh3im", "Geh3im")
	f.Add("- a\n- b", "name: [x]")
	f.Fuzz(func(t *testing.T, text, key string) {
		if strings.Contains(text, "file:") || strings.Contains(key, "file:") {
			return // names a file
		}
		src := Sources{Path: path, Environ: []string{"K=Geh3im3", "OPENAI_API_KEY=Geh3im1", "ACME_KEY=Geh3im2"}, Strategies: []string{"least_connections"}}
		quoted, _ := json.Marshal("Geh3im" + key)
		for _, whole := range []string{text, text + "\napi_key: " + string(quoted)} {
			c, name, err := src.CheckAdded(whole)
			if err != nil {
				if strings.Contains(err.Error(), "Geh3im") && !strings.Contains(text, "Geh3im") {
					t.Fatalf("a key is in %v", err)
				}
				continue
			}
			if p := c.Pool(name); name == "" || p == nil || !p.Added || p.APIKey.literal() {
				t.Fatalf("%q: %+v", whole, p)
			}
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

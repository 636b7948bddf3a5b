package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestKeysNameTheTenant(t *testing.T) {
	ts := newTenants([]Tenant{{Name: "acme", Key: "key-a"}, {Name: "globex", Key: "key-g"}})
	for name, c := range map[string]struct {
		header []string
		tenant string
		code   wire.Code
	}{
		"bearer":         {[]string{"Authorization", "Bearer key-a"}, "acme", ""},
		"any case":       {[]string{"Authorization", "bearer key-g"}, "globex", ""},
		"Anthropic's":    {[]string{"X-Api-Key", "key-g"}, "globex", ""},
		"header agrees":  {[]string{"Authorization", "Bearer key-a", "Sluice-Tenant", "acme"}, "acme", ""},
		"header differs": {[]string{"Authorization", "Bearer key-a", "Sluice-Tenant", "globex"}, "", wire.CodePermission},
		"no key":         {nil, "", codeInvalidKey},
		"header only":    {[]string{"Sluice-Tenant", "acme"}, "", codeInvalidKey},
		"wrong key":      {[]string{"Authorization", "Bearer key-x"}, "", codeInvalidKey},
		"prefix":         {[]string{"Authorization", "Bearer key-"}, "", codeInvalidKey},
		"empty key":      {[]string{"Authorization", "Bearer "}, "", codeInvalidKey},
		"basic":          {[]string{"Authorization", "Basic key-a"}, "", codeInvalidKey},
	} {
		r := &http.Request{Header: http.Header{}}
		for i := 0; i < len(c.header); i += 2 {
			r.Header.Set(c.header[i], c.header[i+1])
		}
		tenant, f := ts.of(r)
		if tenant != c.tenant || (f == nil) != (c.code == "") || f != nil && f.Code != c.code {
			t.Errorf("%s: %q, %v", name, tenant, f)
		}
	}
}

func TestKeysAreKeptHashed(t *testing.T) { // I6
	g := New(Config{Tenants: []Tenant{{Name: "acme", Key: "very-secret"}}})
	if s := fmt.Sprintf("%+v %+v", g.cfg, *g.tenants.Load()); strings.Contains(s, "very-secret") {
		t.Error("a key is kept")
	}
	if a, b := newTenants([]Tenant{{Name: "a", Key: "k"}}), newTenants([]Tenant{{Name: "a", Key: "k"}}); a.list[0].hash == b.list[0].hash {
		t.Error("the hash has no salt")
	}
}

func TestKeyIsAskedForEverywhere(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("x")))
	f := b.newFront(func(c *Config) {
		c.Tenants = []Tenant{{Name: "acme", Key: "key-a"}}
		c.Models = func() []string { return []string{"chat"} }
	})
	for _, path := range []string{"/v1/models", "/v1/models/chat", "/admin/v1/pools", "/admin/v1/jobs/x", "/admin/v1/jobs"} {
		if r := f.get(path); r.status != 401 || r.header.Get("Www-Authenticate") != "Bearer" {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	r := f.post("/v1/chat/completions", chatBody)
	if _, _, _, code := r.fault(t); r.status != 401 || code != "invalid_api_key" || b.count() != 0 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := f.post("/v1/chat/completions", chatBody, "Authorization", "Bearer key-a"); r.status != 200 || b.newest().Tenant != "acme" {
		t.Errorf("%d %s", r.status, r.body)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} { // hold nothing of a tenant
		if r := f.get(path); r.status != 200 {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
}

func TestClientsOfManyTenants(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("x")))
	f := b.newFront()
	for i := range 3 * maxIdle {
		if r := f.post("/v1/chat/completions", chatBody, "Sluice-Tenant", fmt.Sprintf("t%d", i)); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	c := f.gw.clients
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.tenant) != maxIdle || c.idle != maxIdle {
		t.Errorf("%d clients, %d idle, want %d", len(c.tenant), c.idle, maxIdle)
	}
	if c.tenant[fmt.Sprintf("t%d", 3*maxIdle-1)] == nil {
		t.Error("the last used is not kept")
	}
}

func TestConfigFaultsAllAtOnce(t *testing.T) {
	err := New(Config{Tenants: []Tenant{{Name: "a b", Key: "k"}, {Name: "acme", Key: ""}, {Name: "acme", Key: "k"}}}).Run(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"Conn", `"a b"`, `tenant "acme" has no key`, "once"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
}

func TestSetTenants(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("x")))
	f := b.newFront(func(c *Config) { c.Tenants = []Tenant{{Name: "acme", Key: "key-a"}, {Name: "old", Key: "key-o"}} })
	status := func(key string) int {
		return f.post("/v1/chat/completions", chatBody, "Authorization", "Bearer "+key).status
	}
	if err := f.gw.SetTenants([]Tenant{{Name: "acme", Key: "key-2"}, {Name: "new", Key: "key-n"}}); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]int{"key-a": 401, "key-o": 401, "key-2": 200, "key-n": 200} {
		if got := status(key); got != want {
			t.Errorf("%s gives %d, want %d", key, got, want)
		}
	}
	for name, list := range map[string][]Tenant{"none": nil, "no key": {{Name: "acme", Key: ""}}, "twice": {{Name: "acme", Key: "a"}, {Name: "acme", Key: "b"}}, "a bad name": {{Name: "a.b", Key: "k"}}} {
		if err := f.gw.SetTenants(list); err == nil {
			t.Errorf("%s is taken", name)
		}
		if got := status("key-2"); got != 200 {
			t.Errorf("after %s: %d", name, got)
		}
	}
	open := b.newFront()
	if err := open.gw.SetTenants([]Tenant{{Name: "acme", Key: "k"}}); err == nil {
		t.Error("an open gateway asks for keys now?")
	}
	if err := open.gw.SetTenants(nil); err != nil {
		t.Error(err)
	}
}

package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

var keyed = []Tenant{{Name: "acme", Key: "key-a", Keys: []Key{{Name: "ci", Key: "key-ci"}, {Name: "web", Key: "key-web", Limits: Limits{RPM: 3}}}},
	{Name: "globex", Key: "key-g", Limits: Limits{RPM: 5}, Keys: []Key{{Name: "ci", Key: "key-gci"}}}}

func bearer(key string, more ...string) []string {
	return append([]string{"Authorization", "Bearer " + key}, more...)
}

// A named key is its tenant's, and stamps its jobs of every kind: no header or
// field of a client can say that they are another's.
func TestNamedKeys(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("x")))
	b.runBatches()
	f := b.newFront(func(c *Config) { c.Tenants = keyed })
	forged := []string{"Sluice-Key", "web", "Sluice-Payer", "acme=web", "Sluice-Assignment", `{"j":{"k":"web"}}`, "Sluice-Label-Key", "web"}
	for key, want := range map[string]string{"key-a": "acme", "key-ci": "acme=ci", "key-web": "acme=web", "key-gci": "globex=ci"} {
		r := f.post("/v1/chat/completions", strings.Replace(chatBody, "{", `{"key":"web","sluice_key":"web",`, 1), bearer(key, forged...)...)
		if j := b.newest(); r.status != 200 || j.Payer() != want {
			t.Errorf("%s: %d, the job is of %s, want %s", key, r.status, j.Payer(), want)
		}
		r = f.post("/v1/responses", backgroundBody, bearer(key, forged...)...)
		var j wire.Job
		eventually(t, "the response's job", func() (ok bool) { // which is answered before it has come
			j, ok = b.job(r.header.Get(headerJob))
			return ok
		})
		if r.status != 200 || j.Payer() != want || j.Endpoint != wire.Responses {
			t.Errorf("%s: %d, the response is of %s, want %s", key, r.status, j.Payer(), want)
		}
	}
	for _, name := range []string{"acme=ci", "acme/ci"} { // not by the tenant's name either
		if r := f.post("/v1/chat/completions", chatBody, bearer("key-a", "Sluice-Tenant", name)...); r.status != 403 {
			t.Errorf("Sluice-Tenant: %s: %d %s", name, r.status, r.body)
		}
		open := b.newFront()
		if r := open.post("/v1/chat/completions", chatBody, "Sluice-Tenant", name); r.status != 400 {
			t.Errorf("Sluice-Tenant: %s without keys: %d %s", name, r.status, r.body)
		}
	}
	if s := fmt.Sprintf("%+v %+v", f.gw.cfg, *f.gw.tenants.Load()); strings.Contains(s, "key-ci") {
		t.Error("a key is kept") // I6
	}
}

// A batch counts for the key that made it, whichever key asks for it again, and
// all of a tenant's keys see it.
func TestBatchOfAKey(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("x")))
	b.runBatches()
	f := b.newFront(func(c *Config) { c.Tenants = keyed })
	in := f.upload(batchInput(5, "/v1/chat/completions", chatBody), bearer("key-web")...)
	make := func(key string) batchObject {
		return decode[batchObject](t, f.post("/v1/batches", fmt.Sprintf(`{"input_file_id":%q,"endpoint":"/v1/chat/completions","completion_window":"24h"}`, in.ID),
			bearer(key, "Idempotency-Key", "once", "Sluice-Key", "web")...))
	}
	o := make("key-ci")
	if again := make("key-a"); again.ID != o.ID {
		t.Errorf("the same batch by another key is %s, want %s", again.ID, o.ID)
	}
	eventually(t, "the end of the batch", func() bool {
		return decode[batchObject](t, f.get("/v1/batches/"+o.ID, bearer("key-a")...)).Status.Terminal()
	})
	if r := f.get("/v1/batches/"+o.ID, bearer("key-gci")...); r.status != 404 {
		t.Errorf("another tenant's key: %d", r.status)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.jobs) != 5 {
		t.Errorf("%d jobs", len(b.jobs))
	}
	for id, j := range b.jobs {
		if j.Payer() != "acme=ci" || j.Batch != o.ID {
			t.Errorf("job %s is of %s", id, j.Payer())
		}
	}
}

// A named key is taken away, or replaced, while the gateway serves.
func TestNamedKeysChange(t *testing.T) {
	f := newBroker(t, t.TempDir(), answer(completion("x"))).newFront(func(c *Config) { c.Tenants = keyed })
	status := func(key string) int { return f.post("/v1/chat/completions", chatBody, bearer(key)...).status }
	if err := f.gw.SetTenants([]Tenant{{Name: "acme", Key: "key-a", Keys: []Key{{Name: "ci", Key: "key-new"}}}}); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]int{"key-a": 200, "key-new": 200, "key-ci": 401, "key-web": 401, "key-gci": 401} {
		if got := status(key); got != want {
			t.Errorf("%s gives %d, want %d", key, got, want)
		}
	}
	for name, keys := range map[string][]Key{"no key": {{Name: "ci"}}, "a bad name": {{Name: "a=b", Key: "k"}}, "twice": {{Name: "ci", Key: "k"}, {Name: "ci", Key: "l"}},
		"another's": {{Name: "ci", Key: "key-a"}}} {
		if err := f.gw.SetTenants([]Tenant{{Name: "acme", Key: "key-a", Keys: keys}}); err == nil || strings.Contains(err.Error(), "key-a") {
			t.Errorf("%s: %v", name, err)
		}
		if got := status("key-new"); got != 200 {
			t.Errorf("after %s: %d", name, got)
		}
	}
	if err := New(Config{AdminKey: "root", Tenants: []Tenant{{Name: "acme", Key: "k", Keys: []Key{{Name: "ci", Key: "root"}}}}}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "administrator") {
		t.Errorf("the administrator's key: %v", err)
	}
}

// A named key sees no more than its tenant: the session is the tenant's, no
// administrator's, and ends with the key.
func TestNamedKeyLooks(t *testing.T) {
	f := newBroker(t, t.TempDir(), answer(completion("x"))).newFront(func(c *Config) { c.Tenants, c.AdminKey = keyed, "root" })
	cookie := f.login(t, "key-ci")
	v, _ := f.gw.viewer(&http.Request{Header: http.Header{"Cookie": {cookie}}})
	if v != (viewer{"acme", roleViewer}) {
		t.Errorf("%+v", v)
	}
	if r := f.post("/admin/v1/budgets", `{"scope":"key:acme/ci","limit_nano_usd":1}`, bearer("key-ci")...); r.status != 403 && r.status != 401 {
		t.Errorf("a key changes its budget: %d %s", r.status, r.body)
	}
	if err := f.gw.SetTenants([]Tenant{{Name: "acme", Key: "key-a"}}); err != nil {
		t.Fatal(err)
	}
	if _, fault := f.gw.viewer(&http.Request{Header: http.Header{"Cookie": {cookie}}}); fault == nil {
		t.Error("a session outlives its key")
	}
}

// A key's limits are within its tenant's: a request needs room in both, and takes
// nothing where the other refuses.
func TestLimitsOfKeys(t *testing.T) {
	now := time.Unix(1000, 0)
	m := &meters{}
	m.set([]Tenant{{Name: "acme", Limits: Limits{RPM: 4}, Keys: []Key{{Name: "ci", Limits: Limits{RPM: 2}}, {Name: "web"}}}}, now)
	own, ci, web := m.find(caller{"acme", ""}), m.find(caller{"acme", "ci"}), m.find(caller{"acme", "web"})
	if len(own) != 1 || len(ci) != 2 || len(web) != 1 || m.find(caller{"other", "ci"}) != nil {
		t.Fatalf("%d, %d and %d meters", len(own), len(ci), len(web))
	}
	for i, want := range []string{"", "", "key's limit of 2 requests"} {
		h := http.Header{}
		if f := ci.admit(h, now); (f == nil) != (want == "") || f != nil && !strings.Contains(f.Message, want) || h.Get("X-Ratelimit-Limit-Requests") != "2" {
			t.Errorf("request %d: %v, %v", i, f, h)
		}
	}
	for i, want := range []string{"", "", "tenant's limit of 4 requests"} { // what the key was refused has taken nothing
		h := http.Header{}
		if f := web.admit(h, now); (f == nil) != (want == "") || f != nil && !strings.Contains(f.Message, want) || h.Get("X-Ratelimit-Limit-Requests") != "4" {
			t.Errorf("request %d: %v, %v", i, f, h)
		}
	}
	now = now.Add(30 * time.Second) // two of the tenant, one of the key
	if f := own.admit(http.Header{}, now); f != nil {
		t.Error(f)
	}
	if f := ci.admit(http.Header{}, now); f != nil {
		t.Error(f)
	}
	if f := ci.admit(http.Header{}, now); f == nil {
		t.Error("over both limits")
	}
	if f := web.spend(http.Header{}, &wire.Meta{MaxTokens: 1 << 30}, now); f != nil {
		t.Errorf("tokens are not limited: %v", f)
	}
}

package gateway

import (
	"context"
	"fmt"
	"testing"
)

// hooks stands in for package webhook.
type hooks struct{}

func (hooks) Secret(tenant string) string { return "whsec_" + tenant }

func (hooks) Log(_ context.Context, tenant, job string, limit int) ([]byte, error) {
	return fmt.Appendf(nil, `{"of":%q,"job":%q,"limit":%d}`, tenant, job, limit), nil
}

func TestWebhooksOfATenant(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("x")))
	hook := []string{"Sluice-Webhook", "https://example.com/hook"}
	off := b.newFront()
	if r := off.post("/v1/chat/completions", chatBody, hook...); r.status != 400 || b.count() != 0 {
		t.Errorf("a webhook that nobody would call: %d %s", r.status, r.body)
	}
	if r := off.get("/admin/v1/webhooks"); r.status != 404 {
		t.Errorf("log: %d", r.status)
	}
	on := b.newFront(func(c *Config) {
		c.Webhooks, c.Tenants = hooks{}, []Tenant{{Name: "acme", Key: "a"}}
	})
	key := []string{"Authorization", "Bearer a"}
	if r := on.post("/v1/chat/completions", chatBody, append(hook, key...)...); r.status != 200 || b.newest().Webhook != "https://example.com/hook" {
		t.Errorf("%d %s", r.status, r.body)
	}
	for path, want := range map[string]string{
		"/admin/v1/webhooks":                      `{"of":"acme","job":"","limit":100}`,
		"/admin/v1/webhooks?job=j1&limit=7":       `{"of":"acme","job":"j1","limit":7}`,
		"/admin/v1/webhooks/secret?tenant=globex": `{"secret":"whsec_acme","tenant":"acme"}`,
	} {
		if r := on.get(path, key...); r.status != 200 || r.body != want {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	for _, path := range []string{"/admin/v1/webhooks?limit=0", "/admin/v1/webhooks?limit=1001", "/admin/v1/webhooks?limit=x", "/admin/v1/webhooks?job=%2A"} {
		if r := on.get(path, key...); r.status != 400 {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	if r := on.get("/admin/v1/webhooks/secret?of=alerts", key...); r.status != 403 {
		t.Errorf("a tenant asks for the operator's secret: %d %s", r.status, r.body)
	}
	admin := b.newFront(func(c *Config) { c.Webhooks = hooks{} })
	if r := admin.get("/admin/v1/webhooks/secret?of=alerts"); r.status != 200 || r.body != `{"secret":"whsec_alerts=","tenant":"alerts="}` {
		t.Errorf("the operator's secret: %d %s", r.status, r.body)
	}
	if r := on.get("/admin/v1/webhooks/secret"); r.status != 401 {
		t.Errorf("without a key: %d", r.status)
	}
}

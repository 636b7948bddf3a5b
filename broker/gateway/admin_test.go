package gateway

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestJobViews(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("x")))
	f := b.newFront()
	id := f.post("/v1/chat/completions", chatBody, "Sluice-Tenant", "acme").header.Get("Sluice-Job")
	for _, r := range []reply{f.get("/admin/v1/jobs/"+id, "Sluice-Tenant", "acme"), f.get("/admin/v1/jobs/" + id + "?tenant=acme")} {
		var a wire.Answer
		if err := json.Unmarshal([]byte(r.body), &a); err != nil || r.status != 200 || a.Job != id || a.Status != wire.Succeeded {
			t.Errorf("%d %s (%v)", r.status, r.body, err)
		}
	}
	r := f.get("/admin/v1/jobs/none")
	if _, _, _, code := r.fault(t); r.status != 404 || code != "job_not_found" {
		t.Errorf("%d %s", r.status, r.body)
	}
	r = f.get("/admin/v1/jobs/a.b")
	if _, _, _, code := r.fault(t); r.status != 400 || code != "invalid_job_id" {
		t.Errorf("%d %s", r.status, r.body)
	}
	r = f.post("/admin/v1/jobs/"+id+"/cancel", "", "Sluice-Tenant", "acme")
	if _, _, _, code := r.fault(t); r.status != 409 || code != "job_finished" {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestCancelByAdmin(t *testing.T) {
	b := newBroker(t, t.TempDir(), hang)
	f := b.newFront()
	waiting := make(chan reply, 1)
	go func() { waiting <- f.post("/v1/chat/completions", chatBody, "Sluice-Job-Id", "victim") }()
	eventually(t, "submitted", func() bool { return b.count() == 1 })
	if r := f.post("/admin/v1/jobs/victim/cancel", ""); r.status != 200 || !strings.Contains(r.body, `"cancelled"`) {
		t.Errorf("%d %s", r.status, r.body)
	}
	r := <-waiting
	if _, _, _, code := r.fault(t); r.status != 499 || code != "cancelled" {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestAdminQuestionsAreForwarded(t *testing.T) {
	b := newBroker(t, t.TempDir(), nil)
	b.admin = func(op string, data []byte) any {
		if op == "routes" {
			return map[string]any{"error": wire.AnswerError{Code: wire.CodeUnavailable, Message: "not now"}}
		}
		return map[string]string{"op": op, "asked": string(data)}
	}
	open := b.newFront()
	keyed := b.newFront(func(c *Config) { c.Tenants = []Tenant{{Name: "acme", Key: "k"}} })
	for _, c := range []struct {
		f      *front
		path   string
		op     string
		asked  string
		status int
	}{
		{open, "/admin/v1/pools", "pools", `{}`, 200},
		{open, "/admin/v1/dead", "dead.list", `{}`, 200},
		{open, "/admin/v1/budgets", "budgets", `{}`, 200},
		{keyed, "/admin/v1/budgets", "budgets", `{"tenant":"acme"}`, 200},
		{open, "/admin/v1/dead?tenant=globex&limit=5", "dead.list", `{"tenant":"globex","limit":5}`, 200},
		{open, "/admin/v1/jobs?status=failed", "jobs", `{"status":"failed"}`, 200},
		{open, "/admin/v1/jobs?limit=many", "", "", 400},
		{open, "/admin/v1/jobs?tenant=a.b", "", "", 400},
		{open, "/admin/v1/routes", "", "", 503},
		{keyed, "/admin/v1/dead?tenant=globex", "dead.list", `{"tenant":"acme"}`, 200},
	} {
		r := c.f.get(c.path, "Authorization", "Bearer k")
		want := fmt.Sprintf(`{"asked":%q,"op":%q}`, c.asked, c.op)
		if r.status != c.status || c.status == 200 && r.body != want {
			t.Errorf("%s: %d %s, want %d %s", c.path, r.status, r.body, c.status, want)
		}
		if c.status != 200 {
			r.fault(t)
		}
	}
}

// TestOperations change what all tenants share, so a tenant's key may not.
func TestOperations(t *testing.T) {
	b := newBroker(t, t.TempDir(), nil)
	b.admin = func(op string, data []byte) any { return map[string]string{"op": op, "asked": string(data)} }
	open := b.newFront()
	keyed := b.newFront(func(c *Config) { c.Tenants = []Tenant{{Name: "acme", Key: "k"}} })
	for _, c := range []struct {
		method, path, body string
		op, asked          string
	}{
		{"POST", "/admin/v1/pools", "name: x\n", "pool.add", `{"spec":"name: x\n"}`},
		{"POST", "/admin/v1/budgets", `{"scope":"global","limit_jobs":5}`, "budget.set", `{"budget":{"scope":"global","limit_jobs":5}}`},
		{"DELETE", "/admin/v1/budgets?id=global+jobs/day", "", "budget.remove", `{"id":"global jobs/day"}`},
		{"DELETE", "/admin/v1/pools/x", "", "pool.remove", `{"pool":"x"}`},
		{"POST", "/admin/v1/pools/x/drain", "", "pool.drain", `{"pool":"x"}`},
		{"POST", "/admin/v1/pools/x/resume", "", "pool.resume", `{"pool":"x"}`},
	} {
		r := open.do(t.Context(), c.method, c.path, c.body)
		if want := fmt.Sprintf(`{"asked":%q,"op":%q}`, c.asked, c.op); r.status != 200 || r.body != want {
			t.Errorf("%s %s: %d %s, want %s", c.method, c.path, r.status, r.body, want)
		}
		r = keyed.do(t.Context(), c.method, c.path, c.body, "Authorization", "Bearer k")
		if _, _, _, code := r.fault(t); r.status != 403 || code != "permission_denied" {
			t.Errorf("with a tenant's key: %d %s", r.status, r.body)
		}
		if r = keyed.do(t.Context(), c.method, c.path, c.body); r.status != 401 {
			t.Errorf("without a key: %d %s", r.status, r.body)
		}
	}
	for _, c := range []struct {
		f           *front
		body, asked string
		status      int
	}{
		{open, `{"job":"j1","score":0.5}`, `{"tenant":"default","job":"j1","score":0.5}`, 200},
		{open, `{"tenant":"acme","job":"j1","score":0}`, `{"tenant":"acme","job":"j1","score":0}`, 200},
		{open, `{"pool":"p","model":"m","score":1}`, `{"pool":"p","model":"m","score":1}`, 200},
		{open, `nonsense`, "", 400},
		{keyed, `{"tenant":"globex","job":"j1","score":1}`, `{"tenant":"acme","job":"j1","score":1}`, 200},
		{keyed, `{"pool":"p","model":"m","score":1}`, "", 403},
	} {
		r := c.f.do(t.Context(), "POST", "/admin/v1/quality", c.body, "Authorization", "Bearer k")
		if want := fmt.Sprintf(`{"asked":%q,"op":"quality"}`, c.asked); r.status != c.status || r.status == 200 && r.body != want {
			t.Errorf("%s: %d %s, want %d %s", c.body, r.status, r.body, c.status, want)
		}
	}
	if r := open.do(t.Context(), "POST", "/admin/v1/pools", strings.Repeat("x", maxSpec+1)); r.status != 400 {
		t.Errorf("a body too large: %d", r.status)
	}
	if r := open.do(t.Context(), "PUT", "/admin/v1/pools", ""); r.status != 405 || r.header.Get("Allow") != "GET, POST" {
		t.Errorf("%d %v", r.status, r.header)
	}
}

func TestNoRouterAnswers(t *testing.T) {
	b := newBroker(t, t.TempDir(), nil)
	f := b.newFront(func(c *Config) { c.Subjects.Prefix = "elsewhere" })
	for _, path := range []string{"/admin/v1/pools", "/admin/v1/jobs/x"} {
		r := f.get(path)
		if _, _, _, code := r.fault(t); r.status != 503 || code != "unavailable" || r.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
}

package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// dashboardFront is a gateway with a page, tenants and an administrator.
func dashboardFront(t *testing.T, b *broker) *front {
	t.Helper()
	b.admin = func(op string, data []byte) any {
		switch op {
		case "pools":
			return map[string]any{"pools": []map[string]any{{"name": "p"}}}
		case "health":
			return map[string]any{"streams": []any{}}
		}
		return map[string]string{"op": op, "asked": string(data)}
	}
	return b.newFront(func(c *Config) {
		c.Tenants, c.AdminKey = []Tenant{{Name: "acme", Key: "key-a"}, {Name: "globex", Key: "key-g"}}, "root"
		c.Web = fstest.MapFS{"index.html": {Data: []byte("<title>Sluice</title>")}, "assets/x-1.js": {Data: []byte("1")}}
		c.Analytics = func(_ context.Context, q Question) (any, error) {
			if q.Name == "none" {
				return nil, wire.Errorf(wire.CodeInvalidRequest, "question", "there is no such question")
			}
			return q, nil
		}
	})
}

// login gives the cookie of a session.
func (f *front) login(t *testing.T, key string) string {
	t.Helper()
	r := f.post("/admin/v1/session", `{"key":"`+key+`"}`)
	c := r.header.Get("Set-Cookie")
	if r.status != 200 || !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Strict") {
		t.Fatalf("log in: %d %s, cookie %q", r.status, r.body, c)
	}
	cookie, _, _ := strings.Cut(c, ";")
	return cookie
}

func TestPage(t *testing.T) {
	f := dashboardFront(t, newBroker(t, t.TempDir(), nil))
	r := f.get("/")
	if r.status != 200 || !strings.Contains(r.body, "<title>") || !strings.Contains(r.header.Get("Content-Security-Policy"), "frame-ancestors 'none'") ||
		r.header.Get("Cache-Control") != "no-cache" {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	if r = f.get("/assets/x-1.js"); r.status != 200 || !strings.Contains(r.header.Get("Cache-Control"), "immutable") {
		t.Errorf("%d %v", r.status, r.header)
	}
	for _, path := range []string{"/nothing", "/assets/none.js", "/v1/nothing", "/../x"} {
		if r := f.get(path); r.status != 404 || !strings.Contains(r.body, "unknown URL") {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	if r = f.post("/", "{}"); r.status != 404 {
		t.Errorf("POST /: %d %s", r.status, r.body)
	}
}

// A session is as good as the key that it was opened with, for the
// administrative interface only, and no longer than that key.
func TestSessions(t *testing.T) {
	f := dashboardFront(t, newBroker(t, t.TempDir(), nil))
	who := func(cookie string) (w whoami) {
		r := f.get("/admin/v1/session", "Cookie", cookie)
		if err := json.Unmarshal([]byte(r.body), &w); err != nil || r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
		return w
	}
	if w := who(""); w != (whoami{Keys: true, Admin: true}) {
		t.Errorf("nobody is %+v", w)
	}
	viewer, admin := f.login(t, "key-a"), f.login(t, "root")
	if w := who(viewer); w.Role != roleViewer || w.Tenant != "acme" {
		t.Errorf("a tenant is %+v", w)
	}
	if w := who(admin); w.Role != roleAdmin || w.Tenant != "" {
		t.Errorf("the administrator is %+v", w)
	}
	for body, want := range map[string]int{`{"key":"wrong"}`: 401, `{"key":""}`: 400, `nonsense`: 400, `{"key":"` + strings.Repeat("x", maxLogin) + `"}`: 400} {
		if r := f.post("/admin/v1/session", body); r.status != want || r.header.Get("Set-Cookie") != "" {
			t.Errorf("%.30s: %d, want %d", body, r.status, want)
		}
	}
	if r := f.get("/v1/models", "Cookie", admin); r.status != 401 {
		t.Errorf("a session opens /v1/models: %d", r.status)
	}
	if r := f.do(t.Context(), "DELETE", "/admin/v1/session", "", "Cookie", viewer); r.status != 204 {
		t.Errorf("log out: %d", r.status)
	}
	if w := who(viewer); w.Role != "" {
		t.Errorf("logged out, and still %+v", w)
	}
	again := f.login(t, "key-a")
	if err := f.gw.SetTenants([]Tenant{{Name: "acme", Key: "new"}}); err != nil {
		t.Fatal(err)
	}
	if w := who(again); w.Role != "" {
		t.Errorf("the key is gone, and its session still %+v", w)
	}
	if w := who(admin); w.Role != roleAdmin {
		t.Errorf("the administrator's session ended with a tenant's key: %+v", w)
	}
}

func TestSessionsEndAndAreBounded(t *testing.T) {
	var s sessions
	now := time.Unix(1e9, 0)
	first := s.add(hash{1}, now)
	for range maxSessions {
		s.add(hash{2}, now.Add(time.Second))
	}
	of := func(token string, at time.Time) bool {
		r := &http.Request{Header: http.Header{"Cookie": {sessionCookie + "=" + token}}}
		_, ok := s.of(r, at)
		return ok
	}
	if len(s.list) != maxSessions || of(first, now) {
		t.Errorf("%d sessions, the first is there: %v", len(s.list), of(first, now))
	}
	last := s.add(hash{3}, now)
	if !of(last, now.Add(sessionTime)) || of(last, now.Add(sessionTime+time.Second)) || of(last, now) {
		t.Error("a session does not end when its time is up")
	}
}

// What only an administrator may do, and what a tenant sees.
func TestRoles(t *testing.T) {
	f := dashboardFront(t, newBroker(t, t.TempDir(), nil))
	viewer, admin := f.login(t, "key-a"), f.login(t, "root")
	for _, c := range []struct {
		cookie, method, path, body string
		status                     int
		want                       string
	}{
		{viewer, "POST", "/admin/v1/dead/requeue", `{"job":"j"}`, 403, "administrator's key"},
		{viewer, "POST", "/admin/v1/pools/p/drain", "", 403, "administrator's key"},
		{"", "POST", "/admin/v1/pools/p/drain", "", 401, "key"},
		{admin, "GET", "/admin/v1/pools/p/drain", "", 405, "POST"},
		{admin, "POST", "/admin/v1/pools/p/drain", "", 200, `{\"pool\":\"p\"}`},
		{admin, "POST", "/admin/v1/pools/p/resume", "", 200, "pool.resume"},
		{admin, "POST", "/admin/v1/dead/requeue", `{"tenant":"globex","job":"j"}`, 200, `{\"tenant\":\"globex\",\"job\":\"j\"}`},
		{admin, "POST", "/admin/v1/dead/requeue", `{"all":true}`, 200, `{\"all\":true}`},
		{admin, "POST", "/admin/v1/dead/requeue", `{"all":true,"job":"j"}`, 400, "body"},
		{admin, "POST", "/admin/v1/dead/requeue", ``, 400, "body"},
		{viewer, "GET", "/admin/v1/dead/j", "", 200, `{\"tenant\":\"acme\",\"job\":\"j\"}`},
		{admin, "GET", "/admin/v1/dead/j?tenant=globex", "", 200, `{\"tenant\":\"globex\",\"job\":\"j\"}`},
		{viewer, "GET", "/admin/v1/jobs?tenant=globex", "", 200, `{\"tenant\":\"acme\"}`},
		{admin, "GET", "/admin/v1/jobs", "", 200, `{}`},
		{viewer, "GET", "/admin/v1/analytics/cost?by=pool,model&where=class=batch&tenant=globex&since=2026-01-02T03:04:05Z&limit=7", "", 200,
			`"Tenant":"acme","By":["pool","model"],"Where":{"class":"batch"},"Since":"2026-01-02T03:04:05Z"`},
		{admin, "GET", "/admin/v1/analytics/cost", "", 200, `"Tenant":""`},
		{admin, "GET", "/admin/v1/analytics/cost?since=yesterday", "", 400, "RFC 3339"},
		{admin, "GET", "/admin/v1/analytics/cost?where=x", "", 400, "where"},
		{admin, "GET", "/admin/v1/analytics/cost?limit=0", "", 400, "limit"},
		{admin, "GET", "/admin/v1/analytics/none", "", 400, "no such question"},
		{"", "GET", "/admin/v1/analytics/cost", "", 401, "key"},
		{"", "GET", "/admin/v1/live", "", 401, "key"},
	} {
		r := f.do(t.Context(), c.method, c.path, c.body, "Cookie", c.cookie)
		if r.status != c.status || !strings.Contains(r.body, c.want) {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.path, r.status, r.body, c.status, c.want)
		}
	}
	if r := f.do(t.Context(), "POST", "/admin/v1/pools/p/drain", "", "Cookie", admin, "Sec-Fetch-Site", "cross-site"); r.status != 403 {
		t.Errorf("another site's page drains a pool: %d %s", r.status, r.body)
	}
	if r := f.get("/admin/v1/jobs", "Authorization", "Bearer root"); r.status != 200 {
		t.Errorf("the administrator's key as a header: %d %s", r.status, r.body)
	}
}

// Without tenants, an administrator's key divides those who look from those
// who act; without that key, everyone acts.
func TestRolesWithoutTenants(t *testing.T) {
	b := newBroker(t, t.TempDir(), nil)
	b.admin = func(string, []byte) any { return map[string]any{} }
	open, keyed := b.newFront(), b.newFront(func(c *Config) { c.AdminKey = "root" })
	if r := open.post("/admin/v1/pools/p/drain", ""); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := keyed.post("/admin/v1/pools/p/drain", ""); r.status != 403 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := keyed.get("/admin/v1/jobs"); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := keyed.do(t.Context(), "POST", "/admin/v1/pools/p/drain", "", "Cookie", keyed.login(t, "root")); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := open.get("/admin/v1/analytics/cost"); r.status != 503 || !strings.Contains(r.body, "ClickHouse") {
		t.Errorf("no ClickHouse: %d %s", r.status, r.body)
	}
}

// The live view holds what ended, of the viewer's tenant only, and ends with
// its session; a feed that nobody looks at is given up.
func TestLive(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("x")))
	f := dashboardFront(t, b)
	read := func(cookie string, until func(ended float64) bool) {
		t.Helper()
		res, lines, cut := f.open("/admin/v1/live", "", "Cookie", cookie)
		defer cut()
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%d %v", res.StatusCode, res.Header)
		}
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatalf("the live view ended: %v", err)
			}
			data, ok := strings.CutPrefix(line, "data: ")
			if !ok {
				continue
			}
			var v struct {
				Live  struct{ Total struct{ Ended float64 } }
				Pools []struct{ Name string }
			}
			if err := json.Unmarshal([]byte(data), &v); err != nil || len(v.Pools) != 1 || v.Pools[0].Name != "p" {
				t.Fatalf("%s: %v", data, err)
			}
			if until(v.Live.Total.Ended) {
				return
			}
		}
	}
	sent := false
	read(f.login(t, "root"), func(ended float64) bool {
		if !sent { // the feed listens by now
			sent = true
			if r := f.post("/v1/chat/completions", chatBody, "Authorization", "Bearer key-a"); r.status != 200 {
				t.Fatalf("%d %s", r.status, r.body)
			}
		}
		return ended == 1
	})
	n := 0
	read(f.login(t, "key-g"), func(ended float64) bool {
		if ended != 0 {
			t.Errorf("another tenant sees %v attempts", ended)
		}
		n++
		return n == 2
	})
	eventually(t, "the feeds to end", func() bool {
		f.gw.live.mu.Lock()
		defer f.gw.live.mu.Unlock()
		return len(f.gw.live.list) == 0
	})
}

// A question that ClickHouse does not answer is told to the operator, with why;
// the page is told that it was not answered.
func TestQuestionThatFails(t *testing.T) {
	var log lockedBuffer
	f := newBroker(t, t.TempDir(), nil).newFront(func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		c.Analytics = func(context.Context, Question) (any, error) { return nil, errors.New("TYPE_MISMATCH") }
	})
	if r := f.get("/admin/v1/analytics/decisions"); r.status != 503 || strings.Contains(r.body, "TYPE_MISMATCH") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if !strings.Contains(log.String(), "question=decisions err=TYPE_MISMATCH") {
		t.Errorf("the log says %q", log.String())
	}
}

package gateway

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// limited is a meter with limits from a moment on.
func limited(l Limits, now time.Time) (*meters, passes) {
	m := &meters{}
	m.set([]Tenant{{Name: "acme", Limits: l}, {Name: "free"}}, now)
	return m, m.find(caller{tenant: "acme"})
}

func TestRequestsAMinute(t *testing.T) {
	now := time.Unix(1000, 0)
	all, m := limited(Limits{RPM: 3}, now)
	if all.find(caller{tenant: "free"}) != nil || all.find(caller{tenant: "nobody"}) != nil {
		t.Error("a tenant without limits has a meter")
	}
	for i := range 3 {
		h := http.Header{}
		if f := m.admit(h, now); f != nil || h.Get("X-Ratelimit-Remaining-Requests") != strconv.Itoa(2-i) {
			t.Errorf("request %d: %v, %v", i, f, h)
		}
	}
	h := http.Header{}
	f := m.admit(h, now)
	if f == nil || f.Code != wire.CodeRateLimited || h.Get("Retry-After") != "20" || h.Get("X-Ratelimit-Limit-Requests") != "3" ||
		h.Get("X-Ratelimit-Reset-Requests") != "1m0s" {
		t.Fatalf("over the limit: %v, %v", f, h)
	}
	if f := m.admit(h, now.Add(19*time.Second)); f == nil {
		t.Error("let through too early")
	}
	if f := m.admit(http.Header{}, now.Add(20*time.Second)); f != nil {
		t.Errorf("not let through when the time has come: %v", f)
	}
	if f := m.admit(http.Header{}, now.Add(20*time.Second)); f == nil {
		t.Error("let through twice")
	}
}

func TestTokensAMinute(t *testing.T) {
	now := time.Unix(1000, 0)
	_, m := limited(Limits{TPM: 600}, now)
	meta := &wire.Meta{BodyBytes: 400, MaxTokens: 200}
	need := meta.InputTokens() + 200
	for n := need; n <= 600; n += need {
		if f := m.spend(http.Header{}, meta, now); f != nil {
			t.Fatalf("after %d tokens: %v", n-need, f)
		}
	}
	h := http.Header{}
	if f := m.spend(h, meta, now); f == nil || h.Get("Retry-After") == "" || h.Get("X-Ratelimit-Limit-Tokens") != "600" {
		t.Errorf("over the limit: %v, %v", f, h)
	}
	// What never fits waits for a full bucket, and others then for it.
	huge := &wire.Meta{MaxTokens: 1200}
	if f := m.spend(h, huge, now); f == nil {
		t.Error("let through on an empty bucket")
	}
	now = now.Add(time.Minute)
	if f := m.spend(h, huge, now); f != nil {
		t.Errorf("never let through: %v", f)
	}
	if f := m.spend(h, meta, now.Add(time.Minute)); f == nil {
		t.Error("a debt is forgotten")
	}
	if f := m.spend(h, meta, now.Add(2*time.Minute)); f != nil {
		t.Errorf("after the debt is paid: %v", f)
	}
}

// What is let through in a time is never more than the limit allows, and a
// client that waits as long as it is told is let through.
func TestLimitsHold(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	for range 50 {
		rate := 1 + r.Int64N(5000)
		start := time.Unix(1000, 0)
		now := start
		_, m := limited(Limits{RPM: rate}, now)
		passed := 0
		for range 300 {
			h := http.Header{}
			if m.admit(h, now) == nil {
				passed++
			} else {
				ms, err := strconv.Atoi(h.Get("Retry-After-Ms"))
				if err != nil {
					t.Fatal(err)
				}
				now = now.Add(time.Duration(ms) * time.Millisecond)
				if m.admit(h, now) != nil {
					t.Fatalf("rate %d: refused after the wait that was asked for", rate)
				}
				passed++
			}
			now = now.Add(time.Duration(r.Int64N(int64(2 * time.Minute / time.Duration(rate)))))
			if most := float64(rate)*(1+now.Sub(start).Minutes()) + 1; float64(passed) > most {
				t.Fatalf("rate %d: %d passed in %s", rate, passed, now.Sub(start))
			}
		}
	}
}

// A changed configuration keeps what was counted.
func TestLimitsChange(t *testing.T) {
	now := time.Unix(1000, 0)
	all, m := limited(Limits{RPM: 10}, now)
	for range 9 {
		_ = m.admit(http.Header{}, now) // within the limit, as tested above
	}
	all.set([]Tenant{{Name: "acme", Limits: Limits{RPM: 5, TPM: 7}}}, now)
	if all.find(caller{tenant: "acme"})[0] != m[0] || m.admit(http.Header{}, now) != nil || m.admit(http.Header{}, now) == nil {
		t.Error("a lower limit forgets what was used, or what was left")
	}
	if f := m.spend(http.Header{}, &wire.Meta{MaxTokens: 7}, now); f != nil {
		t.Errorf("a new limit begins empty: %v", f)
	}
	all.set(nil, now)
	if all.find(caller{tenant: "acme"}) != nil {
		t.Error("a limit that is gone still holds")
	}
}

func TestLimitsOverHTTP(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("x")))
	f := b.newFront(func(c *Config) {
		c.Tenants = []Tenant{{Name: "acme", Key: "key-a", Limits: Limits{RPM: 2}}, {Name: "globex", Key: "key-g", Limits: Limits{TPM: 5}}}
	})
	key := []string{"Authorization", "Bearer key-a"}
	for i, want := range []int{200, 200, 429} {
		r := f.post("/v1/chat/completions", chatBody, key...)
		if r.status != want || r.header.Get("X-Ratelimit-Limit-Requests") != "2" {
			t.Errorf("request %d: %d %s %v", i, r.status, r.body, r.header)
		}
		if want == 429 && (r.header.Get("Retry-After") == "" || r.header.Get("X-Should-Retry") == "false") {
			t.Errorf("headers %v", r.header)
		}
	}
	r := f.post("/v1/messages", endpointBodies[wire.Messages], key...)
	if _, kind, _, _ := r.fault(t); r.status != 429 || kind != "rate_limit_error" {
		t.Errorf("messages: %d %s", r.status, r.body)
	}
	if r := f.get("/v1/models", key...); r.status != 200 {
		t.Errorf("models count as requests for an answer: %d", r.status)
	}
	key = []string{"Authorization", "Bearer key-g"}
	body := `{"model":"chat","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`
	if r := f.post("/v1/chat/completions", body, key...); r.status != 200 {
		t.Errorf("the first, from a full bucket: %d %s", r.status, r.body)
	}
	if r := f.post("/v1/chat/completions", body, key...); r.status != 429 {
		t.Errorf("tokens over the limit: %d", r.status)
	}
	if n := b.count(); n != 3 {
		t.Errorf("%d jobs were published, want 3", n)
	}
}

package gateway

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Limits are what a tenant may ask of this gateway; 0: not limited. They are a
// door's, so what comes in by NATS is not counted, and each gateway has its
// own. A minute's worth may come at once.
type Limits struct {
	RPM int64 // requests for an answer a minute
	TPM int64 // tokens a minute: the input, estimated from its bytes, and the output asked for
}

// meters are the tenants' meters. They outlive changes of the configuration.
type meters struct {
	mu sync.Mutex
	of map[string]*meter
}

// set applies the tenants' limits to what has been counted so far.
func (m *meters) set(list []Tenant, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.of
	m.of = make(map[string]*meter, len(list))
	for _, t := range list {
		if t.Limits == (Limits{}) {
			continue
		}
		x := old[t.Name]
		if x == nil {
			x = &meter{}
		}
		x.mu.Lock()
		x.requests.set(t.Limits.RPM, now)
		x.tokens.set(t.Limits.TPM, now)
		x.mu.Unlock()
		m.of[t.Name] = x
	}
}

// find is the tenant's meter, nil without limits.
func (m *meters) find(tenant string) *meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of[tenant]
}

// meter counts what one tenant asks for.
type meter struct {
	mu       sync.Mutex
	requests bucket
	tokens   bucket
}

// bucket holds what is left of a limit. It fills up evenly.
type bucket struct {
	size float64 // a minute's worth; 0: no limit
	left float64 // below 0 after a request for more than there is in a minute
	at   time.Time
}

func (b *bucket) set(size int64, now time.Time) {
	b.fill(now)
	if was := b.size; was == 0 {
		b.left = float64(size)
	} else {
		b.left = min(b.left, float64(size))
	}
	b.size, b.at = float64(size), now
}

func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.left, b.at = min(b.size, b.left+b.size*d.Minutes()), now
	}
}

// take takes n out, or says in what time it could. What is more than fits into
// the bucket needs a full one.
func (b *bucket) take(n float64, now time.Time) time.Duration {
	if b.size == 0 {
		return 0
	}
	b.fill(now)
	if need := min(n, b.size) - b.left; need > 1e-9 {
		return time.Duration(math.Ceil(need / b.size * float64(time.Minute)))
	}
	b.left -= n
	return 0
}

// admit counts a request in, or refuses it. It tells the client what is left,
// in OpenAI's headers.
func (m *meter) admit(h http.Header, now time.Time) *wire.Error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	wait := m.requests.take(1, now)
	m.requests.show(h, "Requests", now)
	if wait > 0 {
		return over(h, wait, "requests", m.requests.size)
	}
	return nil
}

// spend counts a request's tokens in, or refuses it.
func (m *meter) spend(h http.Header, meta *wire.Meta, now time.Time) *wire.Error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	wait := m.tokens.take(float64(meta.InputTokens()+meta.MaxTokens), now)
	m.tokens.show(h, "Tokens", now)
	if wait > 0 {
		return over(h, wait, "tokens", m.tokens.size)
	}
	return nil
}

// show sets the headers that OpenAI has for a limit.
func (b *bucket) show(h http.Header, what string, now time.Time) {
	if b.size == 0 {
		return
	}
	h["X-Ratelimit-Limit-"+what] = []string{strconv.FormatInt(int64(b.size), 10)}
	h["X-Ratelimit-Remaining-"+what] = []string{strconv.FormatInt(int64(max(b.left, 0)), 10)}
	full := time.Duration((b.size - b.left) / b.size * float64(time.Minute))
	h["X-Ratelimit-Reset-"+what] = []string{full.Round(time.Millisecond).String()}
}

// over refuses a request that a limit does not let through.
func over(h http.Header, wait time.Duration, what string, limit float64) *wire.Error {
	h["Retry-After"] = []string{strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10)}
	h["Retry-After-Ms"] = []string{strconv.FormatInt(wait.Milliseconds()+1, 10)}
	return wire.Errorf(wire.CodeRateLimited, "", "the tenant's limit of %d %s a minute is reached: try again in %s",
		int64(limit), what, wait.Round(time.Millisecond))
}

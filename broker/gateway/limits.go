package gateway

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Limits are what a tenant, or one of its keys, may ask of this gateway; 0: not
// limited. They are a door's, so what comes in by NATS is not counted, and each gateway has its
// own. A minute's worth may come at once.
type Limits struct {
	RPM int64 // requests for an answer a minute
	TPM int64 // tokens a minute: the input, estimated from its bytes, and the output asked for
}

// meters are the tenants' meters, and those of their keys by wire.KeyName. They outlive changes of the configuration.
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
	one := func(name, whose string, l Limits) {
		if l == (Limits{}) {
			return
		}
		x := old[name]
		if x == nil {
			x = &meter{whose: whose}
		}
		x.mu.Lock()
		x.requests.set(l.RPM, now)
		x.tokens.set(l.TPM, now)
		x.mu.Unlock()
		m.of[name] = x
	}
	for _, t := range list {
		one(t.Name, "tenant", t.Limits)
		for _, k := range t.Keys {
			one(wire.KeyName(t.Name, k.Name), "key", k.Limits)
		}
	}
}

// find are the meters that count a caller's requests: its tenant's and its key's,
// as far as there are limits. A request needs room in both.
func (m *meters) find(c caller) (list passes) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if x := m.of[c.tenant]; x != nil {
		list = append(list, x)
	}
	if x := m.of[wire.KeyName(c.tenant, c.key)]; x != nil && c.key != "" {
		list = append(list, x)
	}
	return list
}

// passes are the meters of one request. What it shows to the client is of the
// last that has the limit, or of the one that refuses.
type passes []*meter

// admit counts a request in, or refuses it. It tells the client what is left,
// in OpenAI's headers.
func (p passes) admit(h http.Header, now time.Time) *wire.Error {
	return p.all(h, "requests", 1, now)
}

// spend counts a request's tokens in, or refuses it.
func (p passes) spend(h http.Header, meta *wire.Meta, now time.Time) *wire.Error {
	return p.all(h, "tokens", float64(meta.InputTokens()+meta.MaxTokens), now)
}

// all takes n from each, or from none.
func (p passes) all(h http.Header, what string, n float64, now time.Time) *wire.Error {
	for i, m := range p {
		if wait := m.take(h, what, n, now); wait > 0 {
			for _, x := range p[:i] {
				x.give(what, n)
			}
			return m.over(h, wait, what)
		}
	}
	return nil
}

// meter counts what one tenant, or one key, asks for.
type meter struct {
	whose string // for a refusal: tenant or key

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

// bucket is the meter's of requests or of tokens.
func (m *meter) bucket(what string) *bucket {
	if what == "tokens" {
		return &m.tokens
	}
	return &m.requests
}

// take takes n out of a bucket and shows what is left, or says in what time it
// could.
func (m *meter) take(h http.Header, what string, n float64, now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.bucket(what)
	wait := b.take(n, now)
	b.show(h, strings.ToUpper(what[:1])+what[1:], now)
	return wait
}

// give puts back what was taken for a request that another limit refuses.
func (m *meter) give(what string, n float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.bucket(what)
	b.left = min(b.left+n, b.size)
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
func (m *meter) over(h http.Header, wait time.Duration, what string) *wire.Error {
	h["Retry-After"] = []string{strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10)}
	h["Retry-After-Ms"] = []string{strconv.FormatInt(wait.Milliseconds()+1, 10)}
	return wire.Errorf(wire.CodeRateLimited, "", "the %s's limit of %s %s a minute is reached: try again in %s",
		m.whose, h.Get("X-Ratelimit-Limit-"+what), what, wait.Round(time.Millisecond))
}

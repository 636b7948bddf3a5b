package observe

import (
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// use is what a pool's attempts use of its provider's limits.
type use struct {
	running  map[string]start // by tenant.job
	requests router.Window    // attempts started
	tokens   router.Window    // expected at the start, corrected at the end
	each     float64          // tokens that an attempt is expected to use
	word     [2]word          // the provider's own, of requests and tokens
}

// start is an attempt under way.
type start struct {
	n      int
	at     int64
	tokens int64
}

// word is what a provider said about a limit of its own.
type word struct {
	limit, left int64
	at          int64 // when it said so
	until       int64 // until when it counts: some of it is free again then
}

// forgotten is when an attempt of which no end was heard counts no more.
const forgotten = int64(time.Hour)

// expectedOutput is what an attempt is expected to write when the job says
// nothing; the router's own default.
const expectedOutput = 512

func expected(m *wire.Meta) int64 {
	out := int64(expectedOutput)
	if m.MaxTokens > 0 {
		out = min(out, m.MaxTokens)
	}
	return m.InputTokens() + out
}

// begin counts an attempt that starts.
func (u *use) begin(e *wire.Entry, at int64) {
	key := e.Meta.Tenant + "." + e.Meta.ID
	if s, ok := u.running[key]; ok && s.n == e.Attempt.N {
		return
	}
	s := start{n: e.Attempt.N, at: at, tokens: expected(&e.Meta)}
	u.running[key] = s
	u.requests.Add(at, 1)
	u.tokens.Add(at, s.tokens)
	if u.each == 0 {
		u.each = float64(s.tokens)
	}
	u.each += (float64(s.tokens) - u.each) / 16
}

// end counts what an attempt really used.
func (u *use) end(e *wire.Entry, at int64) {
	key := e.Meta.Tenant + "." + e.Meta.ID
	s, ok := u.running[key]
	if !ok || s.n != e.Attempt.N {
		return
	}
	delete(u.running, key)
	x := &e.Attempt.Usage
	u.tokens.Add(at, x.Input+x.CacheRead+x.CacheWrite+x.Output+x.Reasoning-s.tokens)
}

// expire forgets attempts whose end was never heard.
func (u *use) expire(now int64) {
	for k, s := range u.running {
		if now-s.at > forgotten {
			delete(u.running, k)
		}
	}
}

// hear takes in what the provider said of its limits with an answer. Of
// answers that overlap the latest counts.
func (u *use) hear(a *wire.Attempt, at int64) {
	if a.Limits == nil {
		return
	}
	said := at - max(a.LatencyMS-a.TTFTMS, 0)*int64(time.Millisecond)
	for i, l := range [...]wire.Limit{a.Limits.Requests, a.Limits.Tokens} {
		if w := &u.word[i]; l.Limit > 0 && said >= w.at {
			*w = word{limit: l.Limit, left: l.Left, at: said, until: said + max(l.ResetMS, 1)*int64(time.Millisecond)}
		}
	}
}

// limited reports whether starts of the pool must be counted.
func (p *pool) limited() bool {
	return p.limits != Limits{} || p.use.word[0].limit > 0 || p.use.word[1].limit > 0
}

// quotas are what is used of the limits by what has started: of the
// configured and the provider's own limit the one with less room.
func (p *pool) quotas(now int64) (requests, tokens router.Quota) {
	u := &p.use
	return tighter(u.requests, now, p.limits.Requests, &u.word[0]), tighter(u.tokens, now, p.limits.Tokens, &u.word[1])
}

func tighter(w router.Window, now, limit int64, said *word) router.Quota {
	var q router.Quota
	if limit > 0 {
		q = w.Quota(now, limit)
	}
	if said.limit <= 0 || now >= said.until {
		return q
	}
	own := router.Quota{Limit: said.limit, Used: said.limit - said.left + since(&w, said.at), Reset: said.until}
	if q.Limit == 0 || own.Limit-own.Used < q.Limit-q.Used {
		return own
	}
	return q
}

// since is what a window counted after a time, by whole seconds and never too
// low.
func since(w *router.Window, at int64) (n int64) {
	const second = int64(time.Second)
	slots := int64(len(w.Slots))
	for s := max(at/second, w.Last-slots+1, 0); s <= w.Last; s++ {
		n += max(w.Slots[s%slots], 0)
	}
	return n
}

package observe

import (
	"slices"
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
	later    []start          // what started after the older word
}

// start is an attempt under way.
type start struct {
	n      int
	work   uint64 // sequence of its work message
	at     int64
	tokens int64
}

// word is what a provider said about a limit of its own.
type word struct {
	limit, left int64
	at          int64 // when it said so
	until       int64 // until when it counts: some of it is free again then
	long        bool  // the provider counts by minutes or more, and not by seconds
}

// forgotten is when an attempt of which no end was heard counts no more.
const forgotten = int64(time.Hour)

// maxLater bounds what is remembered since a provider's last word.
const maxLater = 10_000

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
	s := start{n: e.Attempt.N, work: e.WorkSeq, at: at, tokens: expected(&e.Meta)}
	u.running[key] = s
	if u.word[0].limit|u.word[1].limit > 0 && len(u.later) < maxLater {
		u.later = append(u.later, s)
	}
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

// hear takes in what the provider said of its limits with an answer. It knew of
// the calls that began before; of answers that overlap the latest begun counts.
func (u *use) hear(a *wire.Attempt, at int64) {
	if a.Limits == nil {
		return
	}
	said := at - a.LatencyMS*int64(time.Millisecond)
	for i, l := range [...]wire.Limit{a.Limits.Requests, a.Limits.Tokens} {
		if w := &u.word[i]; l.Limit > 0 && said >= w.at {
			*w = word{limit: l.Limit, left: l.Left, at: said, until: said + max(l.ResetMS, 1)*int64(time.Millisecond),
				long: w.long || l.ResetMS >= longReset.Milliseconds()}
		}
	}
	known := max(u.word[0].at, u.word[1].at)
	for _, w := range u.word {
		if w.limit > 0 {
			known = min(known, w.at)
		}
	}
	u.later = slices.DeleteFunc(u.later, func(s start) bool { return s.at <= known })
}

// limited reports whether starts of the pool must be counted.
func (p *pool) limited() bool {
	return p.limits != Limits{} || p.use.word[0].limit > 0 || p.use.word[1].limit > 0
}

// quotas are what is used of the limits by what has started: of the
// configured and the provider's own limit the one with less room.
func (p *pool) quotas(now int64) (requests, tokens router.Quota) {
	u := &p.use
	var since [2]int64
	for _, s := range u.later {
		if s.at > u.word[0].at {
			since[0]++
		}
		if s.at > u.word[1].at {
			since[1] += s.tokens
		}
	}
	return tighter(&u.requests, now, p.limits.Requests, &u.word[0], since[0]), tighter(&u.tokens, now, p.limits.Tokens, &u.word[1], since[1])
}

// longReset tells a provider that counts by the minute, or longer, from one
// that counts by the second. The first's limit is held by our own count too.
const longReset = 10 * time.Second

func tighter(w *router.Window, now, limit int64, said *word, since int64) router.Quota {
	var q router.Quota
	if limit > 0 {
		q = w.Quota(now, limit)
	}
	if said.limit <= 0 || now-said.until > forgotten {
		return q
	}
	if said.long {
		q = less(q, w.Quota(now, said.limit))
	}
	if now < said.until {
		q = less(q, router.Quota{Limit: said.limit, Used: said.limit - said.left + since, Reset: said.until})
	}
	return q
}

// less is the quota with less room.
func less(a, b router.Quota) router.Quota {
	if a.Limit == 0 || b.Limit-b.Used < a.Limit-a.Used {
		return b
	}
	return a
}

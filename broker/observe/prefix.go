package observe

import (
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// prefixes remember where the beginning of a conversation was last read, and so
// is probably cached. A conversation is what one tenant asks of one route with
// one affinity key.
type prefixes struct {
	by    map[conversation]prefix
	order []conversation // in which they came; a conversation may be in it more than once
}

type conversation struct{ tenant, route, affinity string }

type prefix struct {
	pool   string
	tokens int64
	at     int64
}

const (
	prefixFor  = int64(5 * time.Minute) // that providers keep a prefix at least
	prefixMost = 20_000                 // conversations that are remembered
)

// note remembers an answer: its request and itself begin the next one.
func (p *prefixes) note(m *wire.Meta, a *wire.Attempt, at int64) {
	if m.Affinity == "" || a.Status != wire.Succeeded {
		return
	}
	if p.by == nil {
		p.by = map[conversation]prefix{}
	}
	k := conversation{m.Tenant, m.Route, m.Affinity}
	u := &a.Usage
	p.by[k] = prefix{pool: a.Pool, tokens: u.Input + u.CacheRead + u.CacheWrite + u.Output, at: at}
	p.order = append(p.order, k)
	for len(p.order) > prefixMost || len(p.order) > 0 && at-p.by[p.order[0]].at > prefixFor {
		if old, ok := p.by[p.order[0]]; ok && (at-old.at > prefixFor || len(p.order) > prefixMost) {
			delete(p.by, p.order[0])
		}
		p.order = p.order[1:]
	}
}

// Cached is where the beginning of a job's request is probably cached, and how
// many tokens of it; "" if nothing is known of that. It takes a lock, and asks
// only for jobs with an affinity key.
func (o *Observer) Cached(m *wire.Meta) (pool string, tokens int64) {
	if m.Affinity == "" {
		return "", 0
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	p, ok := o.state.prefixes.by[conversation{m.Tenant, m.Route, m.Affinity}]
	if !ok || time.Now().UnixNano()-p.at > prefixFor {
		return "", 0
	}
	return p.pool, p.tokens
}

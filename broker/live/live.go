package live

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

const (
	slot     = 2 * time.Second
	slots    = 30 // a minute
	rateOver = 5  // slots that rates are taken over
	recent   = 40 // attempts kept
	never    = int64(1) << 60
)

// Window is the time that percentiles, shares and spend are taken over.
const Window = slots * slot

// Snapshot is the last minute. Rates are per second over the last ten
// seconds, all else is over [Window].
type Snapshot struct {
	At     time.Time `json:"at"`
	Total  Figures   `json:"total"`
	Pools  []Figures `json:"pools"`  // by name
	Routes []Figures `json:"routes"` // by name
	Recent []Recent  `json:"recent"` // newest first
}

// Figures are those of everything, of a pool or of a route.
type Figures struct {
	Name string `json:"name,omitempty"`
	// Attempts and Jobs that ended, and output tokens, per second.
	Attempts float64 `json:"attempts_per_s"`
	Jobs     float64 `json:"jobs_per_s"`
	Tokens   float64 `json:"tokens_per_s"`
	// Ended is the number of attempts that ended; Success the share of them
	// that succeeded, of those that were not cancelled; -1 without any.
	Ended   uint64  `json:"ended"`
	Failed  uint64  `json:"failed"`
	Success float64 `json:"success"`
	// Spend of the known costs, and the attempts whose cost is not known.
	Spend   wire.NanoUSD `json:"spend_nano_usd"`
	Unknown uint64       `json:"unknown_cost"`
	Latency Spread       `json:"latency_ms"`
	TTFT    Spread       `json:"ttft_ms"`
}

// Spread are percentiles in milliseconds, to 6 %; 0 when nothing was measured.
type Spread struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// Recent is an attempt that ended.
type Recent struct {
	At         time.Time     `json:"at"`
	Tenant     string        `json:"tenant"`
	Job        string        `json:"job_id"`
	Route      string        `json:"route"`
	Strategy   string        `json:"strategy"`
	Pool       string        `json:"pool"`
	Model      string        `json:"model"`
	Attempt    int           `json:"attempt"`
	Candidates int           `json:"candidates"` // of the decision
	Excluded   int           `json:"excluded"`   // of them
	Status     wire.Status   `json:"status"`
	Error      wire.Code     `json:"error_code,omitempty"`
	LatencyMS  int64         `json:"latency_ms"`
	Cost       *wire.NanoUSD `json:"cost_nano_usd,omitempty"`
}

// cell is what one pool, or route, did in one slot.
type cell struct {
	attempts, jobs, ended, failed, succeeded, unknown uint64
	tokens                                            int64
	spend                                             wire.NanoUSD
	latency, ttft                                     router.Histogram
}

// second is one slot of the ring.
type second struct {
	at            int64 // the slot's number
	pools, routes map[string]*cell
}

// Meter folds records. It is safe for use by several goroutines.
type Meter struct {
	mu     sync.Mutex
	ring   [slots]second
	recent []Recent // a ring, too
	next   int
}

// Follow feeds a new meter with what the ledger stores of a tenant ("*": of
// all). The returned function ends that.
func Follow(nc *nats.Conn, subjects wire.Subjects, tenant string) (*Meter, func(), error) {
	m := &Meter{}
	sub, err := nc.Subscribe(subjects.Records(tenant, "*"), func(msg *nats.Msg) { m.Add(time.Now(), msg.Header) })
	if err != nil {
		return nil, nil, fmt.Errorf("follow the ledger: %w", err)
	}
	return m, func() { _ = sub.Unsubscribe() }, nil // fails only when the connection is closed
}

// Add folds the header of one record; one that ends neither an attempt nor a
// job counts for nothing.
func (m *Meter) Add(now time.Time, header map[string][]string) {
	v := header[wire.HeaderStatus]
	if len(v) == 0 || !wire.Status(v[0]).Terminal() && len(header[wire.HeaderInputTokens]) == 0 {
		return
	}
	rec, err := wire.DecodeRecord(header, nil)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.slot(now)
	route := cellOf(s.routes, rec.Entry.Meta.Route)
	if rec.Status.Terminal() && rec.Entry.Meta.Shadow == "" {
		route.jobs++
	}
	if a := rec.Entry.Attempt; rec.EndsAttempt() && a != nil {
		pool := cellOf(s.pools, a.Pool)
		pool.add(a, rec.Entry.Meta.Shadow != "")
		route.add(a, rec.Entry.Meta.Shadow != "")
		m.remember(now, &rec.Entry)
	}
}

// slot is the one of now, emptied if it held an older minute's figures.
func (m *Meter) slot(now time.Time) *second {
	n := now.UnixNano() / int64(slot)
	s := &m.ring[n%slots]
	if s.at != n || s.pools == nil {
		*s = second{at: n, pools: map[string]*cell{}, routes: map[string]*cell{}}
	}
	return s
}

func cellOf(in map[string]*cell, name string) *cell {
	c := in[name]
	if c == nil {
		c = &cell{}
		in[name] = c
	}
	return c
}

func (c *cell) add(a *wire.Attempt, shadow bool) {
	if a.Cost == nil {
		c.unknown++
	} else {
		c.spend += *a.Cost
	}
	if shadow {
		return // I2
	}
	c.attempts++
	c.tokens += a.Usage.Output + a.Usage.Reasoning
	switch a.Status {
	case wire.Cancelled:
		return
	case wire.Succeeded:
		c.succeeded++
	default:
		c.failed++
	}
	c.ended++
	c.latency.Add(0, float64(a.LatencyMS), never)
	if a.TTFTMS > 0 {
		c.ttft.Add(0, float64(a.TTFTMS), never)
	}
}

func (m *Meter) remember(now time.Time, e *wire.Entry) {
	a := e.Attempt
	r := Recent{At: now, Tenant: e.Meta.Tenant, Job: e.Meta.ID, Route: e.Meta.Route, Strategy: a.Strategy, Pool: a.Pool, Model: a.Model,
		Attempt: a.N, Status: a.Status, Error: a.ErrorCode, LatencyMS: a.LatencyMS, Cost: a.Cost}
	if a.Decision != nil {
		r.Candidates = len(a.Decision.Candidates)
		for i := range a.Decision.Candidates {
			if a.Decision.Candidates[i].Excluded != "" {
				r.Excluded++
			}
		}
	}
	if len(m.recent) < recent {
		m.recent = append(m.recent, r)
		return
	}
	m.recent[m.next] = r
	m.next = (m.next + 1) % recent
}

// Snapshot is the minute up to now.
func (m *Meter) Snapshot(now time.Time) Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := now.UnixNano() / int64(slot)
	pools, routes := map[string]*sum{}, map[string]*sum{}
	all := &sum{}
	for i := range m.ring {
		s := &m.ring[i]
		if s.pools == nil || last-s.at >= slots {
			continue
		}
		// The slot under way is not whole: rates are of those before it.
		counts := s.at < last && last-s.at <= rateOver
		for name, c := range s.pools {
			sumOf(pools, name).add(c, counts)
			all.add(c, counts)
		}
		for name, c := range s.routes {
			sumOf(routes, name).add(c, counts)
			all.jobs += boolTo(counts, c.jobs)
		}
	}
	out := Snapshot{At: now.UTC(), Total: all.figures(""), Pools: figuresOf(pools), Routes: figuresOf(routes), Recent: make([]Recent, 0, len(m.recent))}
	for i := range m.recent {
		out.Recent = append(out.Recent, m.recent[(m.next+2*len(m.recent)-1-i)%len(m.recent)])
	}
	return out
}

// sum adds cells up.
type sum struct {
	cell
	rateAttempts, rateTokens uint64
}

func sumOf(in map[string]*sum, name string) *sum {
	s := in[name]
	if s == nil {
		s = &sum{}
		in[name] = s
	}
	return s
}

func (s *sum) add(c *cell, counts bool) {
	s.rateAttempts += boolTo(counts, c.attempts)
	s.rateTokens += boolTo(counts, uint64(max(c.tokens, 0)))
	s.jobs += boolTo(counts, c.jobs)
	s.ended += c.ended
	s.failed += c.failed
	s.succeeded += c.succeeded
	s.unknown += c.unknown
	s.spend += c.spend
	merge(&s.latency, &c.latency)
	merge(&s.ttft, &c.ttft)
}

func merge(into, from *router.Histogram) {
	for i, w := range from.Buckets {
		into.Buckets[i] += w
	}
	into.Total += from.Total
}

func boolTo(counts bool, n uint64) uint64 {
	if counts {
		return n
	}
	return 0
}

func (s *sum) figures(name string) Figures {
	const over = float64(rateOver) * float64(slot) / float64(time.Second)
	f := Figures{Name: name, Attempts: float64(s.rateAttempts) / over, Jobs: float64(s.jobs) / over, Tokens: float64(s.rateTokens) / over,
		Ended: s.ended, Failed: s.failed, Success: -1, Spend: s.spend, Unknown: s.unknown, Latency: spread(&s.latency), TTFT: spread(&s.ttft)}
	if s.ended > 0 {
		f.Success = float64(s.succeeded) / float64(s.ended)
	}
	return f
}

func spread(h *router.Histogram) Spread {
	return Spread{h.Quantile(.5), h.Quantile(.95), h.Quantile(.99)}
}

func figuresOf(in map[string]*sum) []Figures {
	out := make([]Figures, 0, len(in))
	for name, s := range in {
		out = append(out, s.figures(name))
	}
	slices.SortFunc(out, func(a, b Figures) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

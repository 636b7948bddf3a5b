package observe

import (
	"cmp"
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// target names a model of a pool.
type target struct{ pool, model string }

// fold is all that is known. It is a plain value without lock, clock or I/O
// (I2); its owner serialises access.
type fold struct {
	setup    Setup
	pools    map[string]*pool
	tracks   map[target]*router.Track
	groups   [][]int // indexes of pools that are peers
	unseen   bool    // something that decisions should know is in no snapshot yet
	counting bool    // starts matter: some pool is limited, or its circuit not closed

	adaptive  [][]int // indexes of targets whose factors move together
	factors   map[target]int32
	adaptedAt int64 // period
	quality   map[target]Quality
	prefixes  prefixes

	self    string
	nodes   map[string]node
	known   bool // the list of nodes is complete
	drained map[string]bool

	statsAt int64 // when measurements were last summed up
}

// pool is what is known of a pool.
type pool struct {
	limits   Limits
	breaker  router.Breaker
	ejection router.Ejection
	until    int64 // rate limited by the provider's own word
	refusals int   // rate limit answers in a row
	use      use
	blame    blame
	stalled  bool
	ended    int64 // when an attempt last was
	probe    ledger.Probe
	pace     pace

	latency, ttft router.Histogram // of successes, for people
}

// How states move; the router's defaults, and what this package must know of
// them.
var (
	trackConfig   = router.TrackConfig{}
	breakerConfig = router.BreakerConfig{Probes: probes, HalfLife: breakerWindow}
	ejectConfig   = router.EjectConfig{}
)

const (
	probes        = 3
	breakerWindow = int64(10 * time.Second)
	shownHalfLife = int64(time.Minute)
)

func newFold(self string) *fold {
	return &fold{self: self, pools: map[string]*pool{}, tracks: map[target]*router.Track{}, nodes: map[string]node{},
		factors: map[target]int32{}, quality: map[target]Quality{}}
}

// set fits the fold to a setup.
func (f *fold) set(s Setup) {
	pools, tracks := map[string]*pool{}, map[target]*router.Track{}
	for _, p := range s.Table.Pools() {
		st := f.pools[p.Name]
		if st == nil {
			st = &pool{use: use{running: map[string]start{}}}
		}
		st.limits = s.Limits[p.Name]
		pools[p.Name] = st
	}
	for _, t := range s.Table.Targets() {
		k := target{s.Table.Pools()[t.Pool].Name, t.Model}
		if tracks[k] = f.tracks[k]; tracks[k] == nil {
			tracks[k] = &router.Track{}
		}
	}
	f.setup, f.pools, f.tracks, f.groups, f.statsAt, f.adaptive = s, pools, tracks, peers(s.Table), 0, adapting(s.Table)
	f.count()
}

// peers groups the pools that are candidates of the same routes, directly or
// by others in between.
func peers(t *router.Table) [][]int {
	root := make([]int, len(t.Pools()))
	for i := range root {
		root[i] = i
	}
	find := func(i int) int {
		for root[i] != i {
			root[i] = root[root[i]]
			i = root[i]
		}
		return i
	}
	for _, r := range t.Routes() {
		c := r.Candidates()
		for i := range c {
			root[find(c[i].Pool)] = find(c[0].Pool)
		}
	}
	byRoot := map[int]int{}
	var groups [][]int
	for i := range root {
		g, ok := byRoot[find(i)]
		if !ok {
			g = len(groups)
			byRoot[find(i)] = g
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], i)
	}
	return groups
}

// count notes whether starts matter.
func (f *fold) count() {
	f.counting = false
	for _, p := range f.pools {
		f.counting = f.counting || p.limited() || p.breaker.Circuit != router.Closed
	}
}

func first(h map[string][]string, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// record folds one record of the ledger, stored at the time. It reports
// whether something changed that decisions should soon know.
func (f *fold) record(m *ledger.Seen, at int64) bool {
	running := first(m.Header, wire.HeaderStatus) == string(wire.Running)
	p := f.pools[first(m.Header, wire.HeaderPool)]
	if p == nil || running && !f.counting {
		return false
	}
	rec, err := m.Record()
	if err != nil || rec.Entry.Attempt == nil || rec.Reason == wire.ReasonCancel {
		return false // I3
	}
	return f.entry(p, &rec.Entry, rec.EndsAttempt(), running, at)
}

// entry folds an entry of the ledger that ends or begins an attempt.
func (f *fold) entry(p *pool, e *wire.Entry, ends, begins bool, at int64) bool {
	before := p.breaker.Circuit
	switch {
	case ends:
		f.ended(p, e, at)
	case begins:
		p.use.begin(e, at)
		p.breaker = p.breaker.Step(breakerConfig, router.Event{Kind: router.AttemptStarted, At: at, Started: at})
	}
	if p.breaker.Circuit != before || !f.counting && p.limited() {
		f.count()
	}
	f.unseen = f.unseen || f.counting || at-f.statsAt > int64(statsEvery)
	return f.unseen
}

// ended folds the end of an attempt.
func (f *fold) ended(p *pool, e *wire.Entry, at int64) {
	a := e.Attempt
	p.ended = at
	f.adapt(at)
	f.prefixes.note(&e.Meta, a, at)
	p.use.end(e, at)
	p.use.hear(a, at)
	out, ok := router.OutcomeOf(a, at)
	ev := router.Event{Kind: router.AttemptIgnored, At: at, Started: at - a.LatencyMS*int64(time.Millisecond)}
	if a.RetryAfterMS > 0 {
		ev.RetryAfter = at + a.RetryAfterMS*int64(time.Millisecond)
	}
	if ok {
		p.pace.end(at, a.LatencyMS)
		if t := f.tracks[target{a.Pool, a.Model}]; t != nil {
			t.Add(trackConfig, out)
		}
		if ev.Kind = router.AttemptFailed; out.OK {
			ev.Kind = router.AttemptSucceeded
			p.blame = blame{}
			p.refusals = 0
			p.latency.Add(at, out.LatencyMS, shownHalfLife)
			if out.TTFTMS > 0 {
				p.ttft.Add(at, out.TTFTMS, shownHalfLife)
			}
		} else {
			f.unseen = p.blame.failed(e.Meta.Tenant+"."+e.Meta.ID, at) || f.unseen
		}
	}
	p.breaker = p.breaker.Step(breakerConfig, ev)
	if a.ErrorCode == wire.CodeRateLimited {
		p.refused(at, ev.RetryAfter)
	}
}

// refused takes the provider's word that it is called too often: until it
// wants to be called again, or for a second and then ever longer.
func (p *pool) refused(at, until int64) {
	if until == 0 {
		until = at + int64(time.Second)<<min(p.refusals, 4)
	}
	p.until = max(p.until, until)
	p.refusals++
}

// judge compares peers; it reports whether decisions should know.
func (f *fold) judge(now int64) bool {
	table := f.setup.Table
	news := now-f.statsAt > int64(statsEvery)
	for _, group := range f.groups {
		if len(group) < 2 {
			continue
		}
		states, vitals := make([]router.Ejection, len(group)), make([]router.Vital, len(group))
		for i, n := range group {
			states[i], vitals[i] = f.pools[table.Pools()[n].Name].ejection, f.vital(n, now)
		}
		router.Eject(ejectConfig, now, states, vitals)
		for i, n := range group {
			p := f.pools[table.Pools()[n].Name]
			news = news || p.ejection != states[i]
			if p.ejection = states[i]; p.ejection.Returned {
				f.forgive(n)
			}
		}
	}
	for _, p := range f.pools {
		p.use.expire(now)
		b := p.breaker.At(breakerConfig, now)
		news = news || b.Circuit != p.breaker.Circuit
	}
	return news
}

// vital is how a pool does of late: its models' vitals by their samples.
func (f *fold) vital(n int, now int64) (out router.Vital) {
	table := f.setup.Table
	var slow float64
	for _, t := range table.Targets() {
		if t.Pool != n {
			continue
		}
		v := f.tracks[target{table.Pools()[n].Name, t.Model}].Vital(trackConfig, now)
		out.Samples += v.Samples
		out.Success += v.Success * v.Samples
		slow += v.Slowdown * v.Samples
	}
	if out.Slowdown = 1; out.Samples > 0 {
		out.Success, out.Slowdown = out.Success/out.Samples, cmp.Or(slow/out.Samples, 1)
	}
	out.Slowdown = max(out.Slowdown, f.pools[table.Pools()[n].Name].pace.slowdown(now))
	return out
}

// forgive forgets what led to a pool's ejection.
func (f *fold) forgive(n int) {
	table := f.setup.Table
	f.pools[table.Pools()[n].Name].pace.forget()
	for _, t := range table.Targets() {
		if t.Pool == n {
			f.tracks[target{table.Pools()[n].Name, t.Model}].Return()
		}
	}
}

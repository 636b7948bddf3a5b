package whatif

import (
	"cmp"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sort"
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Model is what was learnt of providers and broker.
type Model struct {
	Profiles map[Target]*Profile
	// Hop is what it takes from a job's readiness to its start where nothing
	// stands before it: a play spends it before the router has the job. Settle from the last token to its end, Turn from there
	// to the start of the next in the pool's queue.
	Hop, Settle, Turn Series

	late Series // as Hop, but of jobs that may have waited
}

// Series are milliseconds at times, in their order.
type Series struct {
	at []int64
	ms []float64
}

func (s *Series) add(at int64, ms float64) { s.at, s.ms = append(s.at, at), append(s.ms, ms) }

// Len and those below sort by time.
func (s *Series) Len() int { return len(s.at) }

// Less implements sort.Interface.
func (s *Series) Less(i, j int) bool { return s.at[i] < s.at[j] }

// Swap implements sort.Interface.
func (s *Series) Swap(i, j int) {
	s.at[i], s.at[j] = s.at[j], s.at[i]
	s.ms[i], s.ms[j] = s.ms[j], s.ms[i]
}

// draw is one of those near a time, in nanoseconds; 0 without any.
func (s *Series) draw(rng *rand.Rand, at int64) int64 {
	if len(s.at) == 0 {
		return 0
	}
	return int64(1e6 * s.ms[near(rng, len(s.at), func(i int) bool { return s.at[i] < at })])
}

// Profile is how a target answers. Times are milliseconds.
type Profile struct {
	// First is the time to the first token, Each the time of a token after it,
	// of the fitted line.
	First, Each float64
	// Like names the target whose profile this is; Configured says that the
	// figures are a simulated pool's own.
	Like       Target
	Configured bool

	all   []sample     // by time
	sizes [sizes]sized // by the bits of the number of tokens behind the first
}

// sizes are the lengths that are told apart, up to wire.MaxTokens.
const sizes = 25

// maxOutput bounds an answer's tokens.
const maxOutput = wire.MaxTokens

// sized are successes of answers within a doubling of length, by time.
type sized struct {
	at    []int64
	ratio []float64 // of the time taken to the line's
}

// sample is a recorded attempt.
type sample struct {
	at                               int64 // its start
	status                           wire.Status
	code                             wire.Code
	http                             int
	taken                            float64 // of failures
	after                            int64   // nanoseconds that the provider asked to wait
	charged                          bool    // the input was
	written                          float64 // share of the answer that a failure had
	cacheRead, cacheWrite, reasoning float64 // shares of input, input, output
}

// Samples is the number of attempts behind the profile, and Failed how many of
// them failed.
func (p *Profile) Samples() (n, failed int) {
	for i := range p.all {
		if p.all[i].status != wire.Succeeded {
			failed++
		}
	}
	return len(p.all), failed
}

// Fit learns from what was recorded under a table, which says how many
// attempts a pool ran at once.
func Fit(list []Recorded, t *router.Table) *Model {
	m := &Model{Profiles: map[Target]*Profile{}}
	by := map[Target][]fitted{}
	for i := range list {
		r := &list[i]
		_, out := r.tokens()
		for k := range r.Attempts {
			a := &r.Attempts[k]
			if a.Status != wire.Cancelled && a.Status != wire.Expired {
				by[a.Target] = append(by[a.Target], fitted{a, out})
			}
		}
		m.learnBroker(r, t)
	}
	for target, attempts := range by {
		m.Profiles[target] = fit(target, attempts)
	}
	for target, attempts := range slots(list) {
		if i := t.PoolIndex(target); i >= 0 {
			m.learnTurns(attempts, max(t.Pools()[i].Concurrency, 1))
		}
	}
	m.learnHops()
	m.sort()
	return m
}

func (m *Model) sort() {
	for _, s := range []*Series{&m.Hop, &m.Settle, &m.Turn} {
		sort.Stable(s)
	}
}

// learnBroker learns what the broker itself takes, from jobs of one attempt.
func (m *Model) learnBroker(r *Recorded, t *router.Table) {
	if len(r.Attempts) != 1 || r.Status != wire.Succeeded {
		return
	}
	a := &r.Attempts[0]
	settle := r.Finished - r.ready() - int64(a.Queue+a.Taken) - 2*half
	m.Settle.add(r.Finished, max(0, float64(settle)/1e6))
	i := t.PoolIndex(a.Pool)
	if i < 0 || a.Crowded || a.Depth >= t.Pools()[i].Concurrency {
		return
	}
	if allowance := t.Pools()[i].Allowance(r.Class); allowance > a.Depth+1 && allowance > t.Pools()[i].Concurrency {
		m.Hop.add(r.Submitted, millis(a.Queue))
	} else { // it may have waited for the room that it found
		m.late.add(r.Submitted, millis(a.Queue))
	}
}

// fewHops is below how many hops those count, of the jobs that may have waited,
// that were quicker than all but a tenth.
const fewHops = 20

func (m *Model) learnHops() {
	if m.Hop.Len() < fewHops && m.late.Len() > 0 {
		v := slices.Sorted(slices.Values(m.late.ms))
		for i, ms := range m.late.ms {
			if ms <= v[len(v)/10] {
				m.Hop.add(m.late.at[i], ms)
			}
		}
	}
	m.late = Series{}
}

// slot is an attempt in its pool.
type slot struct {
	*Attempt
	began int64
	first bool // of its job: when it began is known exactly
}

// slots are the attempts by pool, in the order in which they began.
func slots(list []Recorded) map[string][]slot {
	out := map[string][]slot{}
	for i := range list {
		r := &list[i]
		for k := range r.Attempts {
			a := &r.Attempts[k]
			s := slot{Attempt: a, began: a.Ended - int64(a.Taken) - half, first: k == 0}
			if s.first {
				s.began = r.ready() + int64(a.Queue) + half
			}
			out[a.Pool] = append(out[a.Pool], s)
		}
	}
	for _, l := range out {
		slices.SortStableFunc(l, func(a, b slot) int { return cmp.Compare(a.began, b.began) })
	}
	return out
}

// learnTurns learns from a pool's attempts how long a slot is empty although
// somebody waits for it: with c slots, the i-th start follows on the end before
// it that is c places back.
func (m *Model) learnTurns(list []slot, c int) {
	ends := make([]int64, len(list))
	for i := range list {
		ends[i] = list[i].Ended
	}
	slices.Sort(ends)
	for i := c; i < len(list); i++ {
		s, turn := &list[i], list[i].began-ends[i-c]
		waited := s.first && s.Depth >= c && turn < int64(s.Queue)-int64(5*time.Millisecond)
		if waited && turn > -4*half {
			m.Turn.add(s.began, max(float64(turn)/1e6, 0))
		}
	}
}

func millis(d time.Duration) float64 { return float64(int64(d)+half) / 1e6 }

// fitted is an attempt, and how long its job's answer is.
type fitted struct {
	*Attempt
	whole int64
}

func fit(t Target, list []fitted) *Profile {
	p := &Profile{Like: t}
	slices.SortStableFunc(list, func(a, b fitted) int {
		return cmp.Or(cmp.Compare(a.Ended-int64(a.Taken), b.Ended-int64(b.Taken)), cmp.Compare(a.Ended, b.Ended))
	})
	var tokens, taken []float64
	for _, a := range list {
		p.all = append(p.all, sampleOf(a))
		if a.Status == wire.Succeeded {
			tokens = append(tokens, float64(after(a.Usage.Output+a.Usage.Reasoning)))
			taken = append(taken, millis(a.Taken))
		}
	}
	p.First, p.Each = straight(tokens, taken)
	for i, k := 0, 0; i < len(list); i++ {
		if list[i].Status == wire.Succeeded {
			s := &p.sizes[bits.Len64(uint64(tokens[k]))]
			s.at = append(s.at, p.all[i].at)
			s.ratio = append(s.ratio, taken[k]/p.usual(tokens[k]))
			k++
		}
	}
	return p
}

// after is the number of tokens behind the first.
func after(output int64) int64 { return min(max(output-1, 0), maxOutput) }

// usual is the line's time for so many tokens behind the first.
func (p *Profile) usual(tokens float64) float64 { return max(p.First+p.Each*tokens, 0.5) }

func sampleOf(a fitted) sample {
	u := &a.Usage
	in, out := u.Input+u.CacheRead+u.CacheWrite, u.Output+u.Reasoning
	return sample{at: a.Ended - int64(a.Taken), status: a.Status, code: a.Code, http: a.HTTP, taken: millis(a.Taken), charged: in > 0,
		written: min(share(out, a.whole), 1), cacheRead: share(u.CacheRead, in), cacheWrite: share(u.CacheWrite, in), reasoning: share(u.Reasoning, out)}
}

func share(part, of int64) float64 {
	if of <= 0 {
		return 0
	}
	return float64(part) / float64(of)
}

// straight is the line through (x, y) that half of the points lie above:
// its slope is the median of those between points half the list apart, in the
// order of x (Theil and Sen's, over pairs that are far apart). Neither is below
// 0.
func straight(x, y []float64) (at0, slope float64) {
	n := len(x)
	if n == 0 {
		return 0, 0
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool { return x[order[i]] < x[order[j]] })
	var slopes []float64
	for i := range n / 2 {
		a, b := order[i], order[i+n-n/2]
		if dx := x[b] - x[a]; dx > 0 {
			slopes = append(slopes, (y[b]-y[a])/dx)
		}
	}
	slope = max(median(slopes), 0)
	rest := make([]float64, n)
	for i := range rest {
		rest[i] = y[i] - slope*x[i]
	}
	return max(median(rest), 0), slope
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// Configured are the figures of a simulated pool.
type Configured struct {
	TTFT            time.Duration
	TokensPerSecond float64 // 0: all at once
	ErrorShare      float64
	Errors          []Fault // each as often
	// CacheShare of the input is read from a cache, ReasoningShare of the output
	// is reasoning.
	CacheShare, ReasoningShare float64
}

// Fault is a way to fail.
type Fault struct {
	Code    wire.Code
	HTTP    int
	After   time.Duration // that it asks to wait
	Answers bool          // after the answer was made, and charged
}

// configuredSamples is in how many steps a configured share of errors is kept.
const configuredSamples = 1000

// Configure is the profile of a simulated pool that was never used.
func Configure(t Target, c Configured) *Profile {
	p := &Profile{Like: t, Configured: true, First: float64(c.TTFT) / 1e6}
	if c.TokensPerSecond > 0 {
		p.Each = 1000 / c.TokensPerSecond
	}
	for i := range configuredSamples {
		s := sample{status: wire.Succeeded, cacheRead: c.CacheShare, reasoning: c.ReasoningShare}
		if k := int(c.ErrorShare * configuredSamples); i < k && len(c.Errors) > 0 {
			f := c.Errors[i*len(c.Errors)/k]
			s.status, s.code, s.http, s.after, s.charged = wire.Failed, f.Code, f.HTTP, int64(f.After), f.Answers
			if f.Answers {
				s.written, s.taken = 1, -1
			}
		}
		p.all = append(p.all, s)
	}
	return p
}

// window is how many recorded attempts, nearest in time, an attempt draws from.
const window = 100

// fewSamples is below how many successes of one length its neighbours help.
const fewSamples = 20

// near is a random index of a list in the order of time, of those that are
// nearest to a moment.
func near(rng *rand.Rand, n int, before func(i int) bool) int {
	at := sort.Search(n, func(i int) bool { return !before(i) })
	from := min(max(at-window/2, 0), max(n-window, 0))
	return from + rng.IntN(min(window, n-from))
}

// drawn is what becomes of an attempt.
type drawn struct {
	status      wire.Status
	code        wire.Code
	http        int
	taken, ttft int64 // nanoseconds
	after       int64
	usage       wire.Usage
}

// draw makes an attempt at a time, of a job with so many tokens.
func (p *Profile) draw(rng *rand.Rand, at, input, output int64) drawn {
	i := rng.IntN(len(p.all))
	if !p.Configured { // whose samples have no time
		i = near(rng, len(p.all), func(i int) bool { return p.all[i].at < at })
	}
	s := &p.all[i]
	d := drawn{status: s.status, code: s.code, http: s.http, after: s.after}
	written := output
	taken := s.taken
	if s.status == wire.Succeeded || s.taken < 0 {
		tokens := after(output)
		ratio := p.ratio(rng, at, tokens)
		taken = p.usual(float64(tokens)) * ratio
		d.ttft = int64(1e6 * min(max(p.First*ratio, 1), taken))
	}
	if s.status != wire.Succeeded {
		written = int64(s.written * float64(output))
		if !s.charged {
			input = 0
		}
	}
	d.taken = max(int64(1e6*taken), 0)
	u := &d.usage
	u.CacheRead, u.CacheWrite = int64(s.cacheRead*float64(input)), int64(s.cacheWrite*float64(input))
	u.Input = input - u.CacheRead - u.CacheWrite
	u.Reasoning = int64(s.reasoning * float64(written))
	u.Output = written - u.Reasoning
	return d
}

// ratio is how much longer than usual such an answer takes: as one of like
// length did.
func (p *Profile) ratio(rng *rand.Rand, at, tokens int64) float64 {
	size := bits.Len64(uint64(tokens))
	best := -1
	for d := range len(p.sizes) { // the own size, then the neighbours
		for _, k := range [...]int{size - d, size + d} {
			if k >= 0 && k < len(p.sizes) && (best < 0 || len(p.sizes[k].at) > len(p.sizes[best].at)) {
				best = k
			}
		}
		if best >= 0 && len(p.sizes[best].at) >= fewSamples {
			break
		}
	}
	s := &p.sizes[best]
	if len(s.at) == 0 {
		return 1
	}
	return s.ratio[near(rng, len(s.at), func(i int) bool { return s.at[i] < at })]
}

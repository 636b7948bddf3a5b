package router

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

// sim is a small world in simulated time: routers that see the depth of pools
// as it was at their last look plus their own dispatches since, pools that
// run so many jobs at once, and folds that follow every outcome. All times
// are in milliseconds.
type sim struct {
	rng     *rand.Rand
	pools   []simPool
	routers []*simRouter
	table   *Table
	now     float64
	events  eventQueue
	waiting []simJob // has no room anywhere yet
	done    []simJob
	failed  int
	// react feeds outcomes to breakers and ejection.
	react     bool
	every     float64 // between two looks of a router
	tracks    []Track
	breakers  []Breaker
	ejections []Ejection
}

type simPool struct {
	concurrency, running, depth, most int
	speed                             float64 // mean service time of a job of size 1
	slow, fails                       float64 // times slower, share that fails
	queue                             []simJob
	busy                              float64 // slot-milliseconds
}

type simJob struct {
	at, dispatched, started, ended, size float64
	router                               int
	tried                                []string
}

// simRouter has its own view of the pools.
type simRouter struct {
	fixture
	seen []int32
}

type event struct {
	at   float64
	kind func()
}

type eventQueue []event

func (q eventQueue) Len() int           { return len(q) }
func (q eventQueue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q eventQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)        { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func (s *sim) after(ms float64, do func()) { heap.Push(&s.events, event{s.now + ms, do}) }

func newSim(t *testing.T, strategy string, routers int, pools ...simPool) *sim {
	s := &sim{rng: rand.New(rand.NewPCG(7, 7)), pools: pools, every: 100}
	var specs []Pool
	weights := make([]int, len(pools))
	for i, p := range pools {
		specs = append(specs, Pool{Name: fmt.Sprintf("p%d", i), Concurrency: p.concurrency})
		weights[i] = p.concurrency
	}
	for range routers {
		f := newFixture(t, specs, specOf(strategy, weights...))
		f.in.Sequence, f.in.Random = s.rng.Uint64(), s.rng.Uint64()
		f.in.Stats = make([]Stats, len(pools))
		s.routers = append(s.routers, &simRouter{fixture: *f, seen: make([]int32, len(pools))})
		s.table = f.table
	}
	s.tracks, s.breakers, s.ejections = make([]Track, len(pools)), make([]Breaker, len(pools)), make([]Ejection, len(pools))
	return s
}

// look renews a router's view, each router's at different moments.
func (s *sim) look(r *simRouter) {
	now := int64(s.now * 1e6)
	for i := range s.pools {
		r.load[i].Depth = int32(s.pools[i].depth)
		if s.react {
			s.breakers[i].Fill(BreakerConfig{}, now, &r.load[i])
			s.ejections[i].Fill(EjectConfig{}, now, &r.load[i])
		}
		r.in.Stats[i] = s.tracks[i].Stats(TrackConfig{}, now)
	}
	s.after(s.every, func() { s.look(r) })
}

// judge ejects outliers twice a second.
func (s *sim) judge() {
	now := int64(s.now * 1e6)
	vitals := make([]Vital, len(s.pools))
	for i := range s.pools {
		vitals[i] = s.tracks[i].Vital(TrackConfig{}, now)
	}
	Eject(EjectConfig{}, now, s.ejections, vitals)
	for i, e := range s.ejections {
		if e.Returned {
			s.tracks[i].Return()
		}
	}
	s.after(500, s.judge)
}

// run plays arrivals at a rate per second until the time.
func (s *sim) run(rate, until float64) {
	var arrive func()
	arrive = func() {
		j := simJob{at: s.now, size: 0.5 + s.rng.ExpFloat64()/2, router: s.rng.IntN(len(s.routers))}
		s.dispatch(j)
		if s.now < until {
			s.after(s.rng.ExpFloat64()*1000/rate, arrive)
		}
	}
	for i, r := range s.routers {
		s.after(float64(i)*s.every/float64(len(s.routers)), func() { s.look(r) })
	}
	s.after(500, s.judge)
	s.after(0, arrive)
	for s.now < until {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.kind()
	}
}

func (s *sim) dispatch(j simJob) {
	r := s.routers[j.router]
	r.in.Now = int64(s.now * 1e6)
	r.in.Progress.Tried = j.tried
	if r.next() == "-" {
		s.waiting = append(s.waiting, j)
		return
	}
	i := r.route.Candidates()[r.out.Choice].Pool
	r.load[i].Depth++
	if r.load[i].Circuit == HalfOpen {
		r.load[i].Probes--
	}
	p := &s.pools[i]
	p.depth++
	j.dispatched = s.now
	if p.running < p.concurrency {
		s.start(i, j)
	} else {
		p.queue = append(p.queue, j)
	}
}

func (s *sim) start(i int, j simJob) {
	p := &s.pools[i]
	p.running++
	p.most = max(p.most, p.running)
	j.started = s.now
	took := p.speed * j.size * math.Max(p.slow, 1) * (0.9 + 0.2*s.rng.Float64())
	failing := s.rng.Float64() < p.fails
	if failing {
		took = p.speed * 0.1
	}
	if s.react {
		at := int64(s.now * 1e6)
		s.breakers[i] = s.breakers[i].Step(BreakerConfig{}, Event{Kind: AttemptStarted, At: at, Started: at})
	}
	s.after(took, func() { s.end(i, j, !failing) })
}

func (s *sim) end(i int, j simJob, ok bool) {
	p := &s.pools[i]
	p.running--
	p.depth--
	p.busy += s.now - j.started
	j.ended = s.now
	at := int64(s.now * 1e6)
	s.tracks[i].Add(TrackConfig{}, Outcome{At: at, OK: ok, LatencyMS: s.now - j.started, Output: int64(100 * j.size)})
	if s.react {
		kind := map[bool]EventKind{true: AttemptSucceeded, false: AttemptFailed}[ok]
		s.breakers[i] = s.breakers[i].Step(BreakerConfig{}, Event{Kind: kind, At: at, Started: int64(j.started * 1e6)})
	}
	if len(p.queue) > 0 {
		next := p.queue[0]
		p.queue = p.queue[1:]
		s.start(i, next)
	}
	switch {
	case ok:
		s.done = append(s.done, j)
	case len(j.tried) >= 4:
		s.failed++
	default:
		j.tried = append(slices.Clone(j.tried), fmt.Sprintf("p%d", i))
		s.dispatch(j)
	}
	if n := len(s.waiting); n > 0 { // the oldest goes first
		next := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.dispatch(next)
	}
}

// percentile of the waits or completion times of jobs that ended in [from, to).
func (s *sim) percentile(q, from, to float64, value func(j *simJob) float64) float64 {
	var list []float64
	for i := range s.done {
		if j := &s.done[i]; j.ended >= from && j.ended < to {
			list = append(list, value(j))
		}
	}
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(int(q*float64(len(list))), len(list)-1)]
}

func waited(j *simJob) float64 { return j.started - j.at }
func took(j *simJob) float64   { return j.ended - j.at }

// utilisation is the lowest and the highest share of busy slots.
func (s *sim) utilisation() (lowest, highest float64) {
	lowest = 1
	for i := range s.pools {
		u := s.pools[i].busy / (s.now * float64(s.pools[i].concurrency))
		lowest, highest = min(lowest, u), max(highest, u)
	}
	return lowest, highest
}

// eightPools have four speeds, from scale to four times that, and
// concurrencies from 8 to 32.
func eightPools(scale float64) []simPool {
	var pools []simPool
	for i := range 8 {
		pools = append(pools, simPool{concurrency: 8 + 8*(i%4), speed: scale * float64(1+i/2)})
	}
	return pools
}

// Four routers, eight pools of different speed: least connections uses them
// alike although every view is up to 5 % of a call old, and waits less than
// turns or chance do. (Older views cost more, and so do small pools: where a
// slot is a quarter of a pool, depths cannot be more alike than that.)
func TestSimLeastConnections(t *testing.T) {
	capacity := 0.0
	for _, p := range eightPools(1000) {
		capacity += float64(p.concurrency) / p.speed * 1000
	}
	waits := map[string]float64{}
	for _, strategy := range []string{"least_connections", "power_of_two", "round_robin", "random"} {
		s := newSim(t, strategy, 4, eightPools(1000)...)
		s.progress()
		s.every = 50
		s.run(0.9*capacity, 600_000)
		lowest, highest := s.utilisation()
		waits[strategy] = s.percentile(0.99, 60_000, 600_000, waited)
		t.Logf("%-18s wait p50 %5.1f p99 %6.1f ms, completion p50 %5.0f p99 %5.0f ms, utilisation %.2f to %.2f, %d waiting", strategy,
			s.percentile(0.5, 60_000, 600_000, waited), waits[strategy], s.percentile(0.5, 60_000, 600_000, took),
			s.percentile(0.99, 60_000, 600_000, took), lowest, highest, len(s.waiting))
		for i, p := range s.pools {
			if p.most > p.concurrency {
				t.Errorf("%s: p%d ran %d at once", strategy, i, p.most)
			}
		}
		if strategy == "least_connections" && highest-lowest > 0.05 {
			t.Errorf("utilisation from %.3f to %.3f", lowest, highest)
		}
	}
	if waits["least_connections"] > waits["random"] || waits["least_connections"] > waits["round_robin"] {
		t.Errorf("p99 waits: %v", waits)
	}
}

// Eight pools of which the slowest takes five times as long as the fastest, and
// of 4 to 12 slots: least connections uses them alike, at any load. (Without
// the lead of loadScorer the fast ones are used 8 to 10 points less.)
func TestSimFivefold(t *testing.T) {
	slots := []int{6, 10, 6, 12, 8, 6, 8, 4}
	var pools []simPool
	capacity := 0.0
	for i, n := range slots {
		p := simPool{concurrency: n, speed: 1000 + 4000*float64(i)/7}
		pools = append(pools, p)
		capacity += float64(p.concurrency) / p.speed * 1000
	}
	for _, load := range []float64{0.3, 0.6, 0.9} {
		s := newSim(t, "least_connections", 4, slices.Clone(pools)...)
		s.progress()
		s.every = 10
		s.run(load*capacity, 400_000)
		lowest, highest := s.utilisation()
		t.Logf("load %.0f %%: utilisation from %.1f to %.1f %%, p99 wait %.0f ms", 100*load, 100*lowest, 100*highest, s.percentile(0.99, 60_000, 400_000, waited))
		if highest-lowest > 0.05 {
			t.Errorf("utilisation from %.3f to %.3f", lowest, highest)
		}
	}
}

func (s *sim) progress() {
	for _, r := range s.routers {
		r.in.Progress = &wire.Progress{}
	}
}

// A pool that dies, slows down tenfold or fails 30 % of calls between 20 s and
// 40 s: no job fails, p99 is back to normal within 10 s, and the pool is used
// again within 30 s of its recovery.
func TestSimTrouble(t *testing.T) {
	for name, trouble := range map[string]func(p *simPool){
		"dies":       func(p *simPool) { p.fails = 1 },
		"slows down": func(p *simPool) { p.slow = 10 },
		"fails":      func(p *simPool) { p.fails = 0.3 },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSim(t, "least_connections", 4, eightPools(100)...)
			s.progress()
			s.react = true
			s.after(20_000, func() { trouble(&s.pools[3]) })
			s.after(40_000, func() { s.pools[3].fails, s.pools[3].slow = 0, 0 })
			usedAgain := 0.0
			var watch func()
			watch = func() {
				if s.now > 40_000 && usedAgain == 0 && s.pools[3].running > s.pools[3].concurrency/4 {
					usedAgain = s.now
				}
				s.after(100, watch)
			}
			s.after(0, watch)
			s.run(240, 80_000)
			normal := s.percentile(0.99, 10_000, 20_000, took)
			during := s.percentile(0.99, 30_000, 40_000, took)
			t.Logf("p99 %.0f ms before, %.0f ms in the first 10 s, %.0f ms from then on; used again after %.1f s; %d failed",
				normal, s.percentile(0.99, 20_000, 30_000, took), during, (usedAgain-40_000)/1000, s.failed)
			if s.failed > 0 || len(s.waiting) > 0 {
				t.Errorf("%d jobs failed, %d wait", s.failed, len(s.waiting))
			}
			if during > 1.3*normal {
				t.Errorf("p99 is %.0f ms, was %.0f", during, normal)
			}
			if usedAgain == 0 || usedAgain > 70_000 {
				t.Errorf("used again at %.0f ms", usedAgain)
			}
		})
	}
}

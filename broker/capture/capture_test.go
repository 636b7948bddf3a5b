package capture

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// world is pools, routes and what is known of them, and changes at random.
type world struct {
	rng    *rand.Rand
	table  *router.Table
	load   []router.Load
	stats  []router.Stats
	spare  []router.Stats
	now    int64
	turn   uint64
	zone   *time.Location
	change []int32
}

func newWorld(t testing.TB, rng *rand.Rand, pools, routes int) *world {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{rng: rng, zone: zone, now: time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC).UnixNano(), turn: uint64(rng.Uint32())}
	w.configure(t, pools, routes)
	return w
}

func (w *world) configure(t testing.TB, pools, routes int) {
	t.Helper()
	var ps []router.Pool
	for i := range pools {
		ps = append(ps, router.Pool{Name: fmt.Sprintf("p%d", i), Region: []string{"eu", "us"}[i%2], Concurrency: 4 + i, Tenants: nil, Labels: map[string]string{"gdpr": "yes"}})
	}
	var strategies []string
	for _, s := range router.Strategies() {
		strategies = append(strategies, s.Name)
	}
	var rs []router.RouteSpec
	for i := range routes {
		r := router.RouteSpec{Name: fmt.Sprintf("r%d", i), Strategy: strategies[w.rng.IntN(len(strategies))]}
		for k := range pools {
			c := router.CandidateSpec{Pool: ps[k].Name, Model: fmt.Sprintf("m%d", k%3), Weight: 1 + k, Quality: 1 / float64(1+k), Price: &wire.Price{Version: "v", Input: wire.Rate(1000 + k), Output: 3000}}
			if i%3 == 1 && k%2 == 0 {
				c.Schedule = &router.Schedule{Location: w.zone, Windows: []router.Hours{{From: 60, To: 1380}}}
			}
			r.Candidates = append(r.Candidates, c)
		}
		rs = append(rs, r)
	}
	table, err := router.NewTable(ps, rs)
	if err != nil {
		t.Fatal(err)
	}
	w.table, w.load, w.stats, w.spare, w.change = table, make([]router.Load, pools), nil, nil, nil
}

// step changes what is known a little, as a router sees it.
func (w *world) step() {
	rng := w.rng
	w.now += rng.Int64N(int64(20 * time.Millisecond))
	for range rng.IntN(3) {
		i := rng.IntN(len(w.load))
		l := &w.load[i]
		l.Depth += int32(rng.IntN(3))
		switch rng.IntN(12) {
		case 0:
			*l = router.Load{Circuit: router.HalfOpen, Probes: 2, OpenUntil: w.now + 1, LimitedUntil: w.now - 5}
		case 1:
			l.Requests = router.Quota{Limit: 600, Used: rng.Int64N(600), Reset: w.now + 1e9}
			l.Tokens = router.Quota{Limit: 6000, Used: -3}
		case 2:
			l.Draining, l.Down, l.Unhealthy, l.Ejected = rng.IntN(2) == 0, rng.IntN(2) == 0, rng.IntN(2) == 0, rng.IntN(2) == 0
		case 3:
			*l = router.Load{}
		}
		w.change = append(w.change, int32(i))
	}
	if rng.IntN(10) == 0 {
		old := w.stats
		w.stats = make([]router.Stats, rng.IntN(len(w.table.Targets())+1))
		for i := range w.stats {
			fill(rng, reflect.ValueOf(&w.stats[i]).Elem())
		}
		if rng.IntN(3) == 0 {
			w.stats, w.spare = w.spare, old // as they were
		}
	}
}

// fill sets some of the numbers of a value.
func fill(rng *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(rng, v.Field(i))
		}
	case reflect.Float64:
		if rng.IntN(3) > 0 {
			v.SetFloat(rng.ExpFloat64() * 100)
		}
	case reflect.Int32, reflect.Int64:
		v.SetInt(int64(rng.Int32()))
	case reflect.Bool:
		v.SetBool(rng.IntN(2) == 0)
	case reflect.Uint8:
		v.SetUint(rng.Uint64N(3))
	}
}

// input is that of a job, and the job as its record has it.
func (w *world) input() (*router.Input, *wire.Meta) {
	rng := w.rng
	w.turn++
	job := &wire.Meta{ID: "j", Tenant: "acme", Class: wire.Standard, BodyBytes: 100 + rng.IntN(1000), Affinity: fmt.Sprint(rng.IntN(9)), Needs: wire.Needs(rng.IntN(4) << 1)}
	in := &router.Input{Meta: job, Progress: &wire.Progress{Tried: []string{"p1"}}, Now: w.now, Sequence: w.turn, Random: rng.Uint64(), Stats: w.stats, Needs: router.Capability(job.Needs)}
	if rng.IntN(2) == 0 {
		return in, job
	}
	short := *job
	short.MaxTokens = 77
	in.Meta, in.Tier, in.Aged, in.Needs = &short, "gold", rng.IntN(2) == 0, router.Streaming
	in.Require, in.Prefer = []router.Label{{Name: "gdpr", Value: "yes"}}, []router.Label{{Name: "a", Value: ""}, {Name: "gdpr", Value: "no"}}
	in.Barred = []router.Reason{router.Eligible, router.OverBudget}
	in.InputTokens, in.OutputTokens, in.CachedPool, in.CachedTokens = 12, 0, "p0", 9
	return in, job
}

// noted is a decision that a Writer has noted.
type noted struct {
	mark     string
	capture  *router.Capture
	decision *wire.Decision
	job      *wire.Meta
	progress *wire.Progress
}

// note makes a decision and notes it.
func (w *world) note(t testing.TB, out *Writer) noted {
	t.Helper()
	routes := w.table.Routes()
	route := routes[w.rng.IntN(len(routes))]
	in, job := w.input()
	var r router.Result
	w.table.Decide(route, w.load, in, &r)
	n := noted{decision: r.Decision(route, w.load, in), capture: w.table.Capture(route, w.load, in), job: job, progress: in.Progress}
	n.mark = out.Note(w.table, w.load, w.change, route, in, job)
	w.change = w.change[:0]
	return n
}

// read finds a decision in what was kept.
func read(t testing.TB, periods map[string][][]byte, n *noted) (*router.Capture, error) {
	t.Helper()
	m, err := ParseMark(n.mark)
	if err != nil {
		t.Fatal(err)
	}
	r := NewReader(m.N)
	for _, b := range periods[m.Period] {
		if done, err := r.Block(b); err != nil {
			return nil, err
		} else if done {
			break
		}
	}
	return r.Capture(n.job, n.progress)
}

// TestEveryNoteIsRead: whatever changes between decisions, each is read as it
// was noted and decides the same, also with blocks that come twice (I1, I3).
func TestEveryNoteIsRead(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	for round := range 6 {
		w := newWorld(t, rng, 1+rng.IntN(20), 1+rng.IntN(6))
		periods := map[string][][]byte{}
		out := NewWriter("run", func(b Block) bool {
			periods[b.Period] = append(periods[b.Period], b.Data)
			if rng.IntN(4) == 0 {
				periods[b.Period] = append(periods[b.Period], b.Data)
			}
			return true
		})
		var all []noted
		for i := range 120 {
			w.step()
			if rng.IntN(40) == 0 {
				w.configure(t, 1+rng.IntN(20), 1+rng.IntN(6))
			}
			if rng.IntN(50) == 0 {
				w.now += int64(20 * time.Hour) // a night, and the end of winter time
			}
			all = append(all, w.note(t, out))
			if i%7 == 0 {
				out.Seal()
			}
			if i%49 == 0 {
				out.Break() // all is sealed
			}
		}
		out.Seal()
		seen := map[string]bool{}
		for i := range all {
			n := &all[i]
			if seen[n.mark] {
				t.Fatalf("seed %d: mark %s twice", seed, n.mark)
			}
			seen[n.mark] = true
			got, err := read(t, periods, n)
			if err != nil {
				t.Fatalf("seed %d, round %d, decision %d (%s): %v", seed, round, i, n.mark, err)
			}
			if a, b := text(t, got), text(t, n.capture); a != b {
				t.Fatalf("seed %d, round %d, decision %d:\n got %s\nwant %s", seed, round, i, a, b)
			}
			if _, differs, err := router.Verify(got, n.decision); err != nil || len(differs) > 0 {
				t.Fatalf("seed %d: %v %q", seed, err, differs)
			}
		}
	}
}

func text(t testing.TB, c *router.Capture) string {
	t.Helper()
	v := *c
	if !slices.ContainsFunc(v.Offsets, func(o int) bool { return o != 0 }) {
		v.Offsets = nil // no offsets are offsets of 0
	}
	b, err := json.Marshal(&v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestValues: every field of a Load and of Stats is written.
func TestValues(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	var wasLoad loadValues
	var wasStats statsValues
	in := &input{}
	for range 2000 {
		var l router.Load
		var s router.Stats
		fill(rng, reflect.ValueOf(&l).Elem())
		fill(rng, reflect.ValueOf(&s).Elem())
		lv, sv := valuesOf(&l), measuresOf(&s)
		if lv.load() != l || sv.stats() != s {
			t.Fatalf("%+v is not %+v, or %+v not %+v", lv.load(), l, sv.stats(), s)
		}
		in.b = appendStats(appendLoad(nil, &wasLoad, &lv), &wasStats, &sv)
		in.load(&wasLoad)
		in.stats(&wasStats)
		if wasLoad != lv || wasStats != sv || in.bad || len(in.b) > 0 {
			t.Fatalf("%v is not %v, or %v not %v", wasLoad, lv, wasStats, sv)
		}
	}
}

// TestLoss: a block that is lost is told from one that is read wrongly, and
// only its period suffers.
func TestLoss(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(3, 4)), 3, 2)
	periods, sealed := map[string][][]byte{}, 0
	out := NewWriter("run", func(b Block) bool {
		if sealed++; sealed == 3 {
			return false // and said so
		}
		if sealed != 6 { // lost without a word
			periods[b.Period] = append(periods[b.Period], b.Data)
		}
		return true
	})
	var all []noted
	for range 80 {
		w.step()
		all = append(all, w.note(t, out))
		if len(all)%10 == 0 {
			out.Seal()
		}
	}
	for i := range all {
		_, err := read(t, periods, &all[i])
		lost := i/10 == 2 || i/10 >= 5
		if lost && !errors.Is(err, ErrLost) || !lost && err != nil {
			t.Errorf("decision %d (%s): %v", i, all[i].mark, err)
		}
	}
	if all[29].mark[:6] == all[30].mark[:6] {
		t.Errorf("%s and %s are of one period", all[29].mark, all[30].mark)
	}
}

// TestPeriods: a period ends by its time and by its size, and a block by its
// own size.
func TestPeriods(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(5, 6)), 8, 1)
	sizes, largest := map[string]int{}, 0
	out := NewWriter("run", func(b Block) bool {
		sizes[b.Period] += len(b.Data)
		largest = max(largest, len(b.Data))
		return true
	})
	for range 6000 {
		w.step()
		w.now -= int64(9 * time.Millisecond)
		w.note(t, out)
	}
	out.Seal()
	if len(sizes) < 3 || len(sizes) > 20 || largest > blockBytes+8<<10 {
		t.Errorf("%d periods, blocks up to %d bytes", len(sizes), largest)
	}
	for name, n := range sizes {
		if n > periodBytes+2*blockBytes {
			t.Errorf("period %s has %d bytes", name, n)
		}
	}
}

func TestParseMark(t *testing.T) {
	for _, bad := range []string{"", "a.b", "a.b.c", "a.b.-1", "a.*.1", "a..1", "a.b.1.2", "a b.c.1"} {
		if m, err := ParseMark(bad); err == nil {
			t.Errorf("%q is %+v", bad, m)
		}
	}
	if m, err := ParseMark("x1.2z.30"); err != nil || m != (Mark{"x1", "2z", 30}) {
		t.Errorf("%+v %v", m, err)
	}
}

// FuzzRead: no block, however garbled, does harm.
func FuzzRead(f *testing.F) {
	w := newWorld(f, rand.New(rand.NewPCG(9, 9)), 3, 2)
	out := NewWriter("run", func(b Block) bool { f.Add(b.Data, uint64(5)); return true })
	for range 30 {
		w.step()
		w.note(f, out)
	}
	out.Seal()
	f.Add([]byte{format, 0, kindLoad, 0xff, 0xff, 0xff, 0xff, 0x7f}, uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, n uint64) {
		r := NewReader(n)
		for range 2 {
			if _, err := r.Block(data); err != nil {
				break
			}
		}
		if c, err := r.Capture(&wire.Meta{}, &wire.Progress{}); err == nil {
			_, _, _ = router.Replay(c)
		}
	})
}

// BenchmarkNote is a decision of a busy router: one pool has changed since the
// last, all have every 50 decisions, the measurements every 1,000.
func BenchmarkNote(b *testing.B) {
	for _, pools := range []int{8, 16, 1000} {
		b.Run(fmt.Sprint(pools), func(b *testing.B) {
			w := newWorld(b, rand.New(rand.NewPCG(1, 2)), pools, 1)
			size := 0
			out := NewWriter("a1b2c3d4", func(x Block) bool { size += len(x.Data); return true })
			route := w.table.Routes()[0]
			job := &wire.Meta{}
			in := &router.Input{Meta: job}
			all := make([]int32, pools)
			for i := range all {
				all[i] = int32(i)
			}
			one := make([]int32, 1)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				changed := one
				one[0] = int32(i % pools)
				w.load[one[0]].Depth++
				if i%50 == 0 {
					changed = all
					for k := range w.load {
						w.load[k].Depth = int32(w.rng.IntN(10))
					}
				}
				if i%1000 == 0 {
					in.Stats = make([]router.Stats, pools)
					for k := range in.Stats {
						x := float64(200 + w.rng.IntN(30))
						in.Stats[k] = router.Stats{Success: 1, Samples: x, PeakEWMA: x, TTFT: router.Quantiles{Mean: x, P50: x, P90: x, P95: x, P99: x}}
					}
				}
				in.Now += 100_000
				in.Sequence++
				in.Random = w.rng.Uint64()
				out.Note(w.table, w.load, changed, route, in, job)
			}
			out.Seal()
			b.ReportMetric(float64(size)/float64(b.N), "bytes/op")
		})
	}
}

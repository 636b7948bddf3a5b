package rollout

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/router"
)

var spec = Spec{Name: "v2", Steps: []int{5, 50, 100}, Every: 10 * time.Minute, MinSamples: 50, MaxErrors: 0.05, MaxSlowdown: 0.5}

func at(d time.Duration) int64 { return int64(1_000_000*time.Second) + int64(d) }

func shifting(step int) State { return State{Phase: Shifting, Step: step, Began: at(0), Since: at(0)} }

// well are vitals of a version that does as it should.
func well(n float64) Vitals {
	return Vitals{Samples: n, Errors: 0.01, Median: 100, Fresh: int(n)}
}

func TestNext(t *testing.T) {
	bad, slow, few := well(60), well(60), well(49)
	bad.Errors, slow.Median, few.Errors = 0.17, 151, 1
	chance, sudden := well(60), well(400) // 7 % of 60 may be chance
	chance.Errors, sudden.Recent = 0.07, 0.15
	for _, c := range []struct {
		name        string
		state       State
		blue, green Vitals
		after       time.Duration
		phase       Phase
		step        int
		news        bool
	}{
		{"too early", shifting(0), well(900), well(60), 9 * time.Minute, Shifting, 0, false},
		{"too few", shifting(0), well(900), well(49), time.Hour, Shifting, 0, false},
		{"a step", shifting(0), well(900), well(50), 10 * time.Minute, Shifting, 1, true},
		{"the next", shifting(1), well(900), well(50), 10 * time.Minute, Shifting, 2, true},
		{"the last has passed", shifting(2), Vitals{}, well(50), 10 * time.Minute, Done, 2, true},
		{"more errors", shifting(1), well(900), bad, time.Second, RolledBack, 1, true},
		{"more errors, but of few", shifting(1), well(900), few, time.Second, Shifting, 1, false},
		{"errors, and nothing to compare with", shifting(2), Vitals{}, bad, time.Second, RolledBack, 2, true},
		{"by chance", shifting(1), well(60), chance, time.Second, Shifting, 1, false},
		{"of late", shifting(1), well(900), sudden, time.Second, RolledBack, 1, true},
		{"errors as blue has them", shifting(1), bad, bad, time.Second, Shifting, 1, false},
		{"slower", shifting(1), well(900), slow, time.Second, RolledBack, 1, true},
		{"slower than few", shifting(1), well(10), slow, time.Second, Shifting, 1, false},
		{"paused", State{Phase: Paused, Step: 1, Since: at(0)}, well(900), well(60), time.Hour, Paused, 1, false},
		{"paused and bad", State{Phase: Paused, Step: 1, Since: at(0)}, well(900), bad, time.Hour, RolledBack, 1, true},
		{"done", State{Phase: Done, Step: 2}, well(900), bad, time.Hour, Done, 2, false},
		{"rolled back", State{Phase: RolledBack, Step: 1}, well(900), well(60), time.Hour, RolledBack, 1, false},
		{"not begun", State{}, well(900), well(60), time.Hour, "", 0, false},
	} {
		s, news := Next(&spec, c.state, c.blue, c.green, at(c.after))
		if s.Phase != c.phase || s.Step != c.step || news != c.news {
			t.Errorf("%s: %+v, %v", c.name, s, news)
		}
		if news && s.Since != at(c.after) || !news && s != c.state {
			t.Errorf("%s: %+v", c.name, s)
		}
		if (s.Phase == RolledBack) && news && s.Reason == "" {
			t.Errorf("%s: no reason", c.name)
		}
	}
	zero := spec
	zero.Steps = []int{0, 100}
	if s, news := Next(&zero, shifting(0), well(9), Vitals{}, at(time.Hour)); !news || s.Step != 1 {
		t.Errorf("a step of nothing needs no samples: %+v", s)
	}
}

func TestShare(t *testing.T) {
	for _, c := range []struct {
		s    State
		want int
	}{{State{}, 0}, {shifting(0), 5}, {shifting(1), 50}, {shifting(9), 100}, {shifting(-1), 5}, {State{Phase: Paused, Step: 1}, 50}, {State{Phase: Done}, 100}, {State{Phase: RolledBack, Step: 2}, 0}} {
		if got := c.s.Share(&spec); got != c.want {
			t.Errorf("%+v: %d%%, want %d%%", c.s, got, c.want)
		}
	}
	if s := shifting(0); s.Share(&Spec{}) != 0 {
		t.Error("a share without steps")
	}
}

func TestApply(t *testing.T) {
	for _, c := range []struct {
		from Phase
		do   Action
		want Phase
	}{
		{Shifting, Pause, Paused}, {Paused, Resume, Shifting}, {Shifting, Switch, Done}, {RolledBack, Switch, Done}, {Done, Back, RolledBack}, {Paused, Back, RolledBack},
		{RolledBack, Start, Shifting}, {"", Start, Shifting}, {Done, Pause, ""}, {Shifting, Resume, ""}, {Shifting, "explode", ""},
	} {
		s, err := State{Phase: c.from, Step: 1, Began: 5, Since: 6}.Apply(c.do, 7)
		if c.want == "" {
			if err == nil || s.Phase != c.from || s.Since != 6 {
				t.Errorf("%s of %s: %+v", c.do, c.from, s)
			}
			continue
		}
		if err != nil || s.Phase != c.want || s.Since != 7 || (c.do == Start) != (s.Began == 7) || (c.do == Start) != (s.Step == 0) {
			t.Errorf("%s of %s: %+v, %v", c.do, c.from, s, err)
		}
	}
}

// TestNoFalseAlarm: a version that is like the old one, with many errors, comes
// through.
func TestNoFalseAlarm(t *testing.T) {
	back := 0
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		s := shifting(0)
		tracks := map[bool]*track{false: {}, true: {}}
		for now := at(0); now < at(2*time.Hour) && s.Phase == Shifting; now += int64(200 * time.Millisecond) {
			green := rnd.IntN(100) < s.Share(&spec)
			tracks[green].add(&spec, &s, router.Outcome{At: now, OK: rnd.Float64() >= 0.08, LatencyMS: 100 * rnd.ExpFloat64()})
			s, _ = Next(&spec, s, tracks[false].vitals(&spec, &s, now), tracks[true].vitals(&spec, &s, now), now)
		}
		if s.Phase != Done {
			back++
		}
	}
	if back > 2 {
		t.Errorf("%d of 40 rolled back", back)
	}
}

// TestJourney: outcomes in, steps out: a good version arrives, one that fails
// or slows down goes back within seconds of its traffic, one that is like the
// old one never does.
func TestJourney(t *testing.T) {
	for _, c := range []struct {
		name         string
		errors, slow float64
		from         time.Duration // when green becomes so
		phase        Phase
		by           time.Duration
	}{
		{"good", 0.02, 1, 0, Done, 31 * time.Minute},
		{"fails", 0.4, 1, 12 * time.Minute, RolledBack, 14 * time.Minute},
		{"slow", 0.02, 2, 12 * time.Minute, RolledBack, 25 * time.Minute},
		{"fails from the start", 0.5, 1, 0, RolledBack, 3 * time.Minute},
	} {
		rnd := rand.New(rand.NewPCG(7, 7))
		s := shifting(0)
		tracks := map[bool]*track{false: {}, true: {}}
		now := at(0)
		for ; now < at(2*time.Hour) && s.Phase == Shifting; now += int64(50 * time.Millisecond) { // 20 a second
			green := rnd.IntN(100) < s.Share(&spec)
			errors, slow := 0.02, 1.0
			if green && now >= at(c.from) {
				errors, slow = c.errors, c.slow
			}
			tracks[green].add(&spec, &s, router.Outcome{At: now, OK: rnd.Float64() >= errors, LatencyMS: 100 * slow * (0.5 + rnd.Float64())})
			s, _ = Next(&spec, s, tracks[false].vitals(&spec, &s, now), tracks[true].vitals(&spec, &s, now), now)
		}
		if took := time.Duration(now - at(0)); s.Phase != c.phase || took > c.by || took < c.from {
			t.Errorf("%s: %s after %s (%s)", c.name, s.Phase, took, s.Reason)
		}
		if c.name == "fails" && !strings.Contains(s.Reason, "green's attempts fail") {
			t.Error(s.Reason)
		}
	}
}

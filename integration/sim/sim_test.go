package sim

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	seeds = flag.Int("seeds", 2000, "how many seeds TestSeeds plays")
	first = flag.Uint64("first", 1, "the first of them")
)

// tape is the choices of a run: those of a seed, or edited ones, which go on as
// chance has it, always the same.
type tape struct {
	rng  *rand.Rand
	cut  []uint32
	next int
}

func (t *tape) choose(n int) int {
	if t.next == len(t.cut) {
		t.cut = append(t.cut, t.rng.Uint32())
	}
	v := t.cut[t.next]
	t.next++
	return int(v % uint32(n))
}

// play runs a tape and returns the violation, and what happened.
func play(g guards, t *tape) (story []string, err error) {
	w := newWorld(g, t.choose)
	err = w.run()
	return w.trace, err
}

func ofSeed(seed uint64) *tape { return &tape{rng: rand.New(rand.NewPCG(seed, 0))} }

func edited(cut []uint32) *tape {
	return &tape{rng: rand.New(rand.NewPCG(0, 1)), cut: append([]uint32{}, cut...)}
}

// invariant is the name of the one that is violated.
func invariant(err error) string { return invariants.FindString(fmt.Sprint(err)) }

var invariants = regexp.MustCompile(`I[1-6]:`)

// shrink cuts pieces out of a failing tape for as long as the same invariant
// is violated.
func shrink(g guards, cut []uint32, why error) []uint32 {
	fails := func(c []uint32) bool {
		_, err := play(g, edited(c))
		return invariant(err) == invariant(why)
	}
	for size := max(len(cut)/2, 1); size > 0; size /= 2 {
		for at := 0; at+size <= len(cut); {
			shorter := append(append([]uint32{}, cut[:at]...), cut[at+size:]...)
			if fails(shorter) {
				cut = shorter
			} else {
				at += size
			}
		}
	}
	return cut
}

// TestSeeds plays many seeds. A failing one is shrunk, and its story told.
func TestSeeds(t *testing.T) {
	start, steps := time.Now(), 0
	for seed := *first; seed < *first+uint64(*seeds); seed++ {
		tp := ofSeed(seed)
		_, err := play(guards{}, tp)
		steps += len(tp.cut)
		if err == nil {
			continue
		}
		short := shrink(guards{}, tp.cut, err)
		story, why := play(guards{}, edited(short))
		t.Fatalf("seed %d: %v\nshrunk from %d to %d choices: %v\n%s", seed, err, len(tp.cut), len(short), why, strings.Join(story, "\n"))
	}
	t.Logf("%d seeds from %d, %d choices, %.0f seeds a minute", *seeds, *first, steps, float64(*seeds)/time.Since(start).Minutes())
}

// TestSeedsRepeat: a seed is always the same story.
func TestSeedsRepeat(t *testing.T) {
	for seed := range uint64(20) {
		a, _ := play(guards{}, ofSeed(seed))
		b, _ := play(guards{}, ofSeed(seed))
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatalf("seed %d tells two stories", seed)
		}
	}
}

// TestOvertake: that a claim of the living is waited for saves work, but
// nothing rests on it; presence may be wrong.
func TestOvertake(t *testing.T) {
	for seed := range uint64(300) {
		if _, err := play(guards{overtake: true}, ofSeed(seed)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestGuards: without any one guard some seed finds a violation, and a short
// story of it.
func TestGuards(t *testing.T) {
	for name, g := range map[string]guards{
		"claim":       {claimBlind: true},
		"end":         {endBlind: true},
		"ack of work": {ackEarly: true},
		"ack of job":  {moveEarly: true},
		"enter":       {enter: true},
		"again":       {notAgain: true},
		"insert":      {insertBlind: true},
		"position":    {skipAhead: true},
		"old copy":    {forgetful: true},
		"recall":      {recallBlind: true},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed < 3000; seed++ {
				tp := ofSeed(seed)
				if _, err := play(g, tp); err != nil {
					short := shrink(g, tp.cut, err)
					story, why := play(g, edited(short))
					t.Logf("seed %d: %v\nafter shrinking from %d to %d choices: %v, in %d lines", seed, err, len(tp.cut), len(short), why, len(story))
					return
				}
			}
			t.Error("no seed notices that it is gone")
		})
	}
}

package observe

import (
	"math/rand/v2"
	"testing"
	"time"
)

// play simulates a pool with slots that are always taken: attempts take what
// each says, from one call to the next, and slowdown is asked every half second.
func play(p *pace, from, to int64, slots int, each func() time.Duration, asked func(at int64, slowdown float64)) {
	running := make([]int64, slots) // when each ends
	took := make([]time.Duration, slots)
	for i := range running {
		took[i] = each()
		running[i] = from + int64(float64(took[i])*float64(i+1)/float64(slots))
	}
	for now := from; now < to; now += int64(10 * time.Millisecond) {
		for i := range running {
			if now >= running[i] {
				p.end(now, took[i].Milliseconds())
				took[i] = each()
				running[i] = now + int64(took[i])
			}
		}
		if now%int64(time.Second) == 0 {
			p.look(now, slots)
		}
		if now%int64(500*time.Millisecond) == 0 {
			asked(now, p.slowdown(now))
		}
	}
}

// A pool whose calls take ten times longer is seen to be slow before the first
// of them has ended; one whose calls differ widely is not.
func TestPace(t *testing.T) {
	second := int64(time.Second)
	start := 1000 * second
	for _, slots := range []int{4, 16, 100} {
		var p pace
		play(&p, start, start+60*second, slots, func() time.Duration { return time.Second }, func(at int64, s float64) {
			if s > 1.7 {
				t.Errorf("%d slots: slowdown %.1f after %d s of even calls", slots, s, (at-start)/second)
			}
		})
		seen := int64(0)
		play(&p, start+60*second, start+69*second, slots, func() time.Duration { return 10 * time.Second }, func(at int64, s float64) {
			if s > 3 && seen == 0 {
				seen = at - start - 60*second
			}
		})
		// The first ten seconds of play stagger the ends, so some come in time.
		if seen == 0 || seen > 7*second {
			t.Errorf("%d slots: slow calls seen after %s", slots, time.Duration(seen))
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	var p pace
	worst := 0.0
	play(&p, start, start+600*second, 16, func() time.Duration { // log-normal, as answers' lengths are
		return time.Duration(float64(time.Second) * min(8, 0.3+r.ExpFloat64()))
	}, func(_ int64, s float64) { worst = max(worst, s) })
	if worst > 2.5 {
		t.Errorf("calls of mixed lengths look %.1f times slower than usual", worst)
	}
}

// What is not known is not slow: no look, no end, a look that was missed.
func TestPaceKnowsLittle(t *testing.T) {
	second := int64(time.Second)
	var p pace
	p.look(1000*second, 16)
	if s := p.slowdown(1100 * second); s != 1 {
		t.Errorf("without an end: %.1f", s)
	}
	for i := range int64(100) {
		p.end(1100*second+i*second/10, 1000)
	}
	p.look(1110*second, 1)
	if s := p.slowdown(1400 * second); s != 1 {
		t.Errorf("after five minutes without a look: %.1f", s)
	}
	p.look(1400*second, 16)
	p.move(1402 * second)
	p.forget()
	if s := p.slowdown(1402 * second); s != 1 {
		t.Errorf("after it was let back: %.1f", s)
	}
}

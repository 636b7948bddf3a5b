package dispatch

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestDues: noted deadlines come out in order; those without room are not
// forgotten, the search begins again when the first of them is due.
func TestDues(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	o := &overdue{most: 100}
	var kept, left []int64
	for n := range 150 {
		at := 1 + rng.Int64N(1000)
		o.note(due{at: at, seq: uint64(n)})
		if n < 100 {
			kept = append(kept, at)
		} else {
			left = append(left, at)
		}
	}
	if o.again != slices.Min(left) {
		t.Errorf("begins again at %d, want %d", o.again, slices.Min(left))
	}
	slices.Sort(kept)
	for _, want := range kept {
		if x := heap.Pop(&o.noted).(due); x.at != want {
			t.Fatalf("%d came out, want %d", x.at, want)
		}
	}
}
